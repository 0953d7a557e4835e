#!/usr/bin/env bash
# Date:     2026-11-28
# Version:  torch 2.13.0 (CPU build), Python 3.11
# Input:    two torchrun agents (--nnodes 2 --max-restarts 3 --rdzv-backend c10d). The second one is killed with its worker, the
#           first worker then fails, and the second agent is started again with the same command.
# Expected: both agents meet again and start their workers again. Restarts after a lost node are what --max-restarts is for.
# Seen:     both agents end with 1. The agent that is new waits for MASTER_ADDR until its time is over (usually a DistStoreError says
#           so). An agent that stays keeps the address of the first meeting and writes it nowhere again (`_bootstrap_store_info` in
#           dynamic_rendezvous.py). With TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 both end with 0.
# Why it matters: a machine that was replaced cannot take part in a run again, although --max-restarts is set. The run ends at the
#           moment when it should go on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5
cat > worker.py <<'PY'
"""Runs until another agent was lost, and then fails; ends well once the agents have met again."""
import os
import pathlib
import sys
import time

place = pathlib.Path(sys.argv[1])
(place / f"started-{os.getpid()}").touch()
if (place / "lost").exists():
    sys.exit(0)
while not (place / "lost").exists():
    time.sleep(0.2)
sys.exit(1)
PY
cat > meet_again.py <<'PY'
"""Loses the second of two agents and starts it again; prints the exit codes of both."""
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time


def trial(settings: dict[str, str]) -> list[int]:
    place = pathlib.Path(tempfile.mkdtemp())
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-conf", "read_timeout=45"]
    command += ["--rdzv-id", "again", "--local-addr", "localhost", "worker.py", str(place)]

    def start(name: str) -> subprocess.Popen[bytes]:
        output = (place / f"{name}.txt").open("wb")
        environment = os.environ | settings
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)

    def wait_for(workers: int) -> None:
        until = time.monotonic() + 300
        while len(list(place.glob("started-*"))) < workers:
            assert time.monotonic() < until, "the workers did not start"
            time.sleep(0.2)

    first = start("first")
    while socket.socket().connect_ex(("localhost", port)):  # the agent that comes first keeps the store
        assert first.poll() is None
        time.sleep(0.2)
    second = start("second")
    wait_for(2)
    workers = subprocess.run(["pgrep", "-P", str(second.pid)], capture_output=True, text=True, check=False).stdout.split()
    for process in [str(second.pid), *workers]:
        subprocess.run(["kill", "-9", process], check=False)
    second.wait()
    (place / "lost").touch()
    again = start("again")
    return [first.wait(400), again.wait(400)]


if __name__ == "__main__":
    usual, not_shared = trial({}), trial({"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"})
    print("as it is:                               ", usual)
    print("TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1:   ", not_shared)
    assert usual == [1, 1], "another end now"
    assert not_shared == [0, 0], "another end now"
PY
venv/bin/python meet_again.py
echo "as described"
