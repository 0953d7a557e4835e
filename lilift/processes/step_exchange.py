"""What processes exchange in an optimizer step: the sum of their gradients, and the numbers that all must agree on.

Gradients are summed in float32. torch's own average would divide after it has summed, and a sum in float16 overflows. lilift
divides each loss by the tokens of all processes beforehand, so that the sum is the gradient of the whole step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lilift.processes.joined_processes import Processes

BUCKET_BYTES = 32 << 20
"""Largest buffer for gradients; more of them go in several parts."""
_FLOAT_BYTES = 4
_NEVER = 2.0**52  # a budget that no batch reaches


@dataclass(frozen=True)
class Report:
    """What a process tells the others in a step.

    Attributes:
        stop: the number of the signal that asked it to stop; 0: none did.
        budget: the number of tokens at once that fits into its memory; None if memory never ran out.
        peak_mib: its peak of memory.
    """

    stop: int = 0
    budget: int | None = None
    peak_mib: float = 0.0


@dataclass(frozen=True)
class Agreed:
    """What all processes know after a step.

    Attributes:
        tokens: real positions of all processes.
        stop: the number of the signal that asked a process to stop; 0: none did.
        budget: the smallest number of tokens at once that fits into memory; None if memory ran out nowhere.
        peak_mib: the highest peak of memory.
    """

    tokens: int
    stop: int
    budget: int | None
    peak_mib: float


class StepExchange:
    """The exchange of one stage.

    Args:
        processes: the processes of the run.
        parameters: the trained parameters, in the same order everywhere.
        report: what this process tells the others at the end of its part of a step.
    """

    def __init__(self, processes: Processes, parameters: Sequence[nn.Parameter], report: Callable[[], Report] = Report) -> None:
        self._processes, self._parameters, self._report = processes, parameters, report
        self._device = parameters[0].device
        largest = max(BUCKET_BYTES // _FLOAT_BYTES, *(parameter.numel() for parameter in parameters), 1)
        total = sum(parameter.numel() for parameter in parameters)
        self._buffer = torch.empty(min(largest, total), device=self._device)
        self._have_gradients: list[bool] | None = None
        self._gathered: Tensor | None = None

    def sum_gradients(self) -> None:
        """Replace each gradient by the sum of those of all processes. Every process must come here once a step.

        Raises:
            ProcessLost: a process has ended or does not come.
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # a GPU that hangs must be seen here, where a missing process is named
        self._processes.meet()
        with self._processes.losses_named():
            summed = self._with_gradients()
            bucket: list[nn.Parameter] = []
            size = 0
            for parameter in summed:
                if size + parameter.numel() > self._buffer.numel():
                    self._sum(bucket)
                    bucket, size = [], 0
                bucket.append(parameter)
                size += parameter.numel()
            self._sum(bucket)

    def agree(self, loss: Tensor, norm: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        """The loss of the whole step, and the gradient's norm as the first process computed it.

        Nothing here waits for the device; `agreed` does.
        """
        report = self._report()
        budget = _NEVER if report.budget is None else report.budget
        own = torch.tensor([0.0, 0.0, tokens, report.stop, budget, report.peak_mib], dtype=torch.float64).to(self._device)
        own[0], own[1] = loss.detach(), norm.detach()
        gathered = [torch.empty_like(own) for _ in range(self._processes.size)]
        with self._processes.losses_named():
            dist.all_gather(gathered, own)
        self._gathered = torch.stack(gathered)  # [N, 6]
        return self._gathered[:, 0].sum().to(loss.dtype), self._gathered[0, 1].to(norm.dtype)

    def agreed(self) -> Agreed:
        """The other numbers of the last step."""
        assert self._gathered is not None
        rows = self._gathered.tolist()
        budget = min(row[4] for row in rows)
        return Agreed(
            tokens=int(sum(row[2] for row in rows)),
            stop=int(max(row[3] for row in rows)),
            budget=None if budget == _NEVER else int(budget),
            peak_mib=max(row[5] for row in rows),
        )

    def take_from_first(self) -> None:
        """Give the parameters the values that they have in the first process."""
        with self._processes.losses_named(), torch.no_grad():
            for parameter in self._parameters:
                dist.broadcast(parameter, src=0)

    def _with_gradients(self) -> list[nn.Parameter]:
        """The parameters that have a gradient in some process. Where a process had no rows, its gradients are zero."""
        if self._have_gradients is None:
            mask = torch.tensor([parameter.grad is not None for parameter in self._parameters], dtype=torch.int32)
            mask = mask.to(self._device)
            dist.all_reduce(mask, op=dist.ReduceOp.MAX)
            self._have_gradients = [bool(value) for value in mask.tolist()]
        summed = []
        for parameter, has_gradient in zip(self._parameters, self._have_gradients, strict=True):
            assert has_gradient or parameter.grad is None
            if has_gradient:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                summed.append(parameter)
        return summed

    def _sum(self, parameters: Sequence[nn.Parameter]) -> None:
        if not parameters:
            return
        sizes = [parameter.numel() for parameter in parameters]
        whole = self._buffer[: sum(sizes)]
        parts = torch.split(whole, sizes)
        for part, parameter in zip(parts, parameters, strict=True):
            assert parameter.grad is not None
            part.copy_(parameter.grad.reshape(-1))
        dist.all_reduce(whole, op=dist.ReduceOp.SUM)
        for part, parameter in zip(parts, parameters, strict=True):
            assert parameter.grad is not None
            parameter.grad.copy_(part.view_as(parameter.grad))


def exchange_bytes(trained_parameters: int, processes: int) -> int:
    """Bytes that each process sends in a step, in a ring: float32 gradients, 2 (N - 1) / N times.

    Args:
        trained_parameters: their number.
        processes: N.
    """
    return round(trained_parameters * _FLOAT_BYTES * 2 * (processes - 1) / processes)


def buffer_bytes(trained_parameters: int) -> int:
    """Memory of the buffer that the gradients are summed in, unless a single weight matrix is larger than 32 MiB."""
    return min(trained_parameters * _FLOAT_BYTES, BUCKET_BYTES)
