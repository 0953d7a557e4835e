"""Every way to call the alignment projection on the torch path, and the arguments that it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from lilift_kernels import project_into
from lilift_kernels.projection.projection_operators import backward_operator, forward_operator
from tests.kernels.projection.projection_cases import WIDTHS, Case, grads


def test_all_rows_without_an_index() -> None:
    case = Case((4, 4))
    _, _, w2, b2, *_ = case.parameters
    first = torch.randn(2, 4, 11, dtype=torch.float64, requires_grad=True)
    result = project_into(first, None, case.slots, w2, b2, out=case.base.clone())
    torch.testing.assert_close(result[case.slots], functional.linear(first.flatten(0, 1), w2, b2))
    result.sum().backward()
    assert first.grad is not None


def test_parameters_keep_their_own_type() -> None:
    case = Case(dtype=torch.float32)
    leaves = case.leaves()
    result = case.ours(case.states.bfloat16(), *leaves[1:-1], leaves[-1].bfloat16())
    assert result.dtype == torch.bfloat16
    result.sum().backward()
    exact = case.reference(*case.leaves())
    assert (result - exact).abs().max() < 0.1
    assert all(gradient.dtype == torch.float32 for gradient in grads(leaves))
    assert len(grads(leaves)) == 7


def test_autocast_computes_in_its_type() -> None:
    case = Case(dtype=torch.float32)
    leaves = case.leaves()
    with torch.autocast("cpu", torch.bfloat16):
        result = case.ours(*leaves)
        expected = case.reference(*case.leaves())
    assert torch.equal(result, expected)
    result.sum().backward()
    assert len(grads(leaves)) == 8


def test_fake_tensors_go_through_forward_and_backward() -> None:
    case = Case()
    real = case.leaves()
    with FakeTensorMode() as mode:
        leaves = [mode.from_tensor(tensor) for tensor in real]
        for name in ("rows", "slots", "bos_slots", "eos_slots"):
            setattr(case, name, mode.from_tensor(getattr(case, name)))
        case.ours(*leaves).sum().backward()
        assert [gradient.shape for gradient in grads(leaves)] == [tensor.shape for tensor in leaves]


def test_compiled_whole() -> None:
    torch._dynamo.reset()
    case = Case()
    ours, plain = case.leaves(), case.leaves()

    def step(*tensors: Tensor) -> Tensor:
        return case.ours(*tensors).square().sum()

    first, second = torch.compile(step, fullgraph=True, backend="aot_eager")(*ours), step(*plain)
    first.backward()
    second.backward()
    torch.testing.assert_close(first, second)
    for our, their in zip(ours, plain, strict=True):
        torch.testing.assert_close(our.grad, their.grad)


def test_the_operators_keep_their_declared_schema_and_shapes() -> None:
    case = Case()
    w1, b1, w2, b2, *_ = case.parameters
    states = case.states.flatten(0, 1)
    checks = ("test_schema", "test_faketensor")
    arguments = (states, case.rows, case.slots, w1, b1, w2, b2, case.base.clone(), True)
    torch.library.opcheck(forward_operator, arguments, test_utils=checks)
    pre_activation = torch.randn(len(case.slots), WIDTHS["h"], dtype=torch.float64)
    torch.library.opcheck(
        backward_operator,
        (case.base, case.slots, states, case.rows, w1, w2, pre_activation, True, True, True, True, True),
        test_utils=checks,
    )


@pytest.mark.parametrize("name", ["rows", "slots", "bos_slots", "eos_slots"])
def test_an_index_out_of_range_is_refused(name: str) -> None:
    case = Case()
    getattr(case, name)[0] = 10_000
    with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
        case.ours(*case.leaves()[:-1], case.base)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"out": torch.zeros(9)}, ValueError),
        ({"out": torch.zeros(5, 18).T}, ValueError),
        ({"out": torch.zeros(18, 5, dtype=torch.int64)}, TypeError),
        ({"states": torch.zeros(2, 4, 7)}, ValueError),
        ({"slots": torch.zeros(3, dtype=torch.int64)}, ValueError),
        ({"slots": torch.zeros(2)}, TypeError),
        ({"b1": torch.zeros(3)}, ValueError),
        ({"w2": torch.zeros(5, 12)}, ValueError),
        ({"b2": torch.zeros(6)}, ValueError),
        ({"w2": None}, ValueError),
        ({"w2": None, "b2": None}, ValueError),
        ({"bos": torch.zeros(5)}, ValueError),
        ({"eos": torch.zeros(4), "eos_slots": torch.zeros(1, dtype=torch.int64)}, ValueError),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_arguments_that_do_not_fit_are_refused(change: dict[str, Any], error: type[Exception]) -> None:
    index = torch.tensor([0, 1])
    arguments: dict[str, Any] = {
        "states": torch.zeros(2, 4, 6),
        "rows": index,
        "slots": index,
        "w1": torch.zeros(11, 6),
        "b1": torch.zeros(11),
        "w2": torch.zeros(5, 11),
        "b2": torch.zeros(5),
        "out": torch.zeros(18, 5),
    }
    project_into(**arguments)
    with pytest.raises(error):
        project_into(**(arguments | change))
