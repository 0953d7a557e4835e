"""Starts several processes of a run with torchrun's own launcher, for `lilift recipe run --processes N`."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence

from lilift.processes.joining import too_few_gpus
from lilift.processes.torchrun_environment import LAUNCHED_BY_LILIFT
from lilift.recipe.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, TrainingError
from lilift.recipe.interrupt import AGAIN, KEPT

_EXIT_CODES = {2: EXIT_INTERRUPTED, 15: EXIT_TERMINATED}


def launch(count: int, arguments: Sequence[str], *, on_gpus: bool) -> int:
    """Run this command in several processes of this machine, and wait for them.

    Args:
        count: their number.
        arguments: the command line of each, without `lilift`.
        on_gpus: whether each process needs a GPU of its own.

    Returns:
        The exit code of the process that failed first, or 0. That process has printed why.

    Raises:
        EnvironmentUnfit: there are fewer GPUs than processes.
        TrainingError: a process was killed.
    """
    import torch
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if on_gpus and (cards := torch.cuda.device_count()) < count:
        raise too_few_gpus(count, cards, f"use --processes {cards}")
    # torchrun reports failures and signals in lines of its own, and its modules set their own levels. lilift prints one line.
    torchruns = logging.getLogger("torch.distributed.elastic")
    torchruns.propagate = False
    torchruns.addHandler(logging.NullHandler())
    os.environ[LAUNCHED_BY_LILIFT] = "1"
    try:
        with tempfile.TemporaryDirectory(prefix="lilift-") as logs:
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=count,
                run_id=uuid.uuid4().hex,
                rdzv_backend="c10d",
                rdzv_endpoint="localhost:0",
                max_restarts=0,
                logs_specs=DefaultLogsSpecs(logs),
                local_addr="localhost",
            )
            elastic_launch(config, sys.executable)("-m", "lilift", *arguments)
    except SignalException as stopped:
        return _EXIT_CODES.get(int(stopped.sigval), EXIT_TERMINATED)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0:
            raise TrainingError(
                f"process {rank} (pid {failure.pid}) was killed by signal {-failure.exitcode}, so lilift ended the others; "
                f"{KEPT}",
                remedy=AGAIN,
            ) from None
        return int(failure.exitcode)
    finally:
        os.environ.pop(LAUNCHED_BY_LILIFT, None)
    return 0
