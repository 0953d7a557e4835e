"""The alignment projection on the torch path: numbers, gradients, what it saves, and every way it is called."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from lilift_kernels import project_into
from lilift_kernels.projection import projection_torch as torch_path
from lilift_kernels.projection.projection_operators import backward_operator, forward_operator

WIDTHS = {"e": 6, "h": 11, "d": 5}


class Case:
    """Two ragged rows, packed as ``[text][bos][soft ...][eos][text]`` into a buffer of B * T rows."""

    def __init__(self, lengths: tuple[int, ...] = (3, 4), *, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def randn(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        e, h, d = WIDTHS.values()
        longest = max((*lengths, 1))
        self.span = longest + 4
        self.states = randn(len(lengths), longest, e)
        self.parameters = [randn(h, e), randn(h), randn(d, h), randn(d), randn(d), randn(d)]
        self.base = randn(len(lengths) * self.span, d)

        def index(places: list[int]) -> Tensor:
            return torch.tensor(places, dtype=torch.int64)

        self.rows = index([row * longest + i for row, length in enumerate(lengths) for i in range(length)])
        self.bos_slots = index([row * self.span + 1 for row in range(len(lengths))])
        self.slots = index([row * self.span + 2 + i for row, length in enumerate(lengths) for i in range(length)])
        self.eos_slots = index([row * self.span + 2 + length for row, length in enumerate(lengths)])

    def leaves(self) -> list[Tensor]:
        return [tensor.clone().requires_grad_() for tensor in (self.states, *self.parameters, self.base)]

    def ours(self, states: Tensor, *tensors: Tensor) -> Tensor:
        w1, b1, w2, b2, bos, eos, base = tensors
        return project_into(
            states,
            self.rows,
            self.slots,
            w1,
            b1,
            w2,
            b2,
            out=base.clone(),
            bos=bos,
            bos_slots=self.bos_slots,
            eos=eos,
            eos_slots=self.eos_slots,
        )

    def reference(self, states: Tensor, *tensors: Tensor) -> Tensor:
        w1, b1, w2, b2, bos, eos, base = tensors
        soft = functional.linear(functional.gelu(functional.linear(states.flatten(0, 1)[self.rows], w1, b1)), w2, b2)
        out = base.index_copy(0, self.slots, soft.to(base.dtype))
        out = out.index_copy(0, self.bos_slots, bos.to(base.dtype).expand(len(self.bos_slots), -1))
        return out.index_copy(0, self.eos_slots, eos.to(base.dtype).expand(len(self.eos_slots), -1))


def backward(result: Tensor) -> None:
    result.backward(torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result).cos())


def test_gradcheck_of_both_kinds() -> None:
    case = Case()
    assert torch.autograd.gradcheck(case.ours, case.leaves())
    rows, slots = case.rows, case.slots

    def single(states: Tensor, w1: Tensor, b1: Tensor, base: Tensor) -> Tensor:
        return project_into(states, rows, slots, w1, b1, out=base.clone())

    states, *_, base = case.leaves()
    w1, b1 = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    assert torch.autograd.gradcheck(single, [states, w1.requires_grad_(), b1.requires_grad_(), base])


@hypothesis_settings(max_examples=40)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_any_ragged_batch(lengths: list[int], seed: int) -> None:
    case = Case(tuple(lengths), seed=seed)
    ours, exact = case.leaves(), case.leaves()
    result, expected = case.ours(*ours), case.reference(*exact)
    torch.testing.assert_close(result, expected)
    backward(result)
    backward(expected)
    for our, their in zip(ours, exact, strict=True):
        torch.testing.assert_close(our.grad, their.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_no_less_exact_than_torch_in_the_same_type(dtype: torch.dtype) -> None:
    case = Case((30, 17), dtype=dtype)
    ours, theirs = case.leaves(), case.leaves()
    exact = [tensor.detach().double().requires_grad_() for tensor in ours]
    results = [case.ours(*ours), case.reference(*theirs), case.reference(*exact)]
    for result in results:
        backward(result)
    for our, their, true in zip(
        [results[0], *grads(ours)], [results[1], *grads(theirs)], [results[2], *grads(exact)], strict=True
    ):
        assert (our.double() - true).norm() <= (their.double() - true).norm() * 1.05 + 1e-6 * true.norm()


def grads(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.grad for tensor in tensors if tensor.grad is not None]


def test_the_buffer_is_written_in_place_and_only_at_the_slots() -> None:
    case = Case()
    states, w1, b1, w2, b2, *_, base = (case.states, *case.parameters, case.base)
    out = base.clone()
    result = project_into(states, case.rows, case.slots, w1, b1, w2, b2, out=out)
    assert result.data_ptr() == out.data_ptr()
    untouched = torch.ones(len(base), dtype=torch.bool).index_fill(0, case.slots, False)
    assert torch.equal(out[untouched], base[untouched])
    assert not torch.equal(out[case.slots], base[case.slots])


def test_all_rows_without_an_index() -> None:
    case = Case((4, 4))
    _, _, w2, b2, *_ = case.parameters
    first = torch.randn(2, 4, 11, dtype=torch.float64, requires_grad=True)
    result = project_into(first, None, case.slots, w2, b2, out=case.base.clone())
    torch.testing.assert_close(result[case.slots], functional.linear(first.flatten(0, 1), w2, b2))
    result.sum().backward()
    assert first.grad is not None


def test_padded_states_are_never_read() -> None:
    case = Case((2, 4))
    case.states[0, 2:] = float("nan")
    leaves = case.leaves()
    result = case.ours(*leaves)
    result.sum().backward()
    assert result.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads(leaves))


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


def saved_sizes(compute: Any, *known: Tensor) -> int:
    """Bytes that a forward pass keeps for backward, beyond the tensors ``known`` to be there anyway."""
    seen = {tensor.untyped_storage()._cdata: tensor for tensor in known}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in seen and tensor.is_floating_point():
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = compute()
    size = sum(tensor.nbytes for tensor in kept.values())
    del result
    return size


def test_saves_one_activation_where_eager_saves_three() -> None:
    case = Case((20, 11), dtype=torch.float32)
    leaves = case.leaves()
    leaves[0].requires_grad_(False)
    leaves[-1].requires_grad_(False)
    ours = saved_sizes(lambda: case.ours(*leaves), *leaves)
    eager = saved_sizes(lambda: case.reference(*leaves), *leaves)
    assert ours == 31 * WIDTHS["h"] * 4
    assert ours <= 0.6 * eager


def test_a_frozen_projection_saves_nothing() -> None:
    case = Case(dtype=torch.float32)
    leaves = case.leaves()
    for tensor in leaves[:5]:
        tensor.requires_grad_(False)
    assert saved_sizes(lambda: case.ours(*leaves), *leaves) == 0
    with torch.no_grad():
        assert not case.ours(*case.leaves()).requires_grad


def test_without_gradients_one_activation_at_a_time_is_held(allocation_watch: Any) -> None:
    case = Case((20, 11), dtype=torch.float32)
    w1, b1, w2, b2, *_ = case.parameters
    states = case.states.flatten(0, 1)
    with allocation_watch:
        torch_path.project(states, case.rows, case.slots, w1, b1, w2, b2, case.base, saves=False)
    assert allocation_watch.peak == 31 * sum(WIDTHS.values()) * 4


@pytest.mark.parametrize("trained", range(8))
def test_a_single_trained_tensor_gets_the_same_gradient(trained: int) -> None:
    case = Case()
    everything, alone = case.leaves(), case.leaves()
    for place, tensor in enumerate(alone):
        tensor.requires_grad_(place == trained)
    backward(case.ours(*everything))
    backward(case.ours(*alone))
    torch.testing.assert_close(alone[trained].grad, everything[trained].grad)


def test_backward_twice_gives_the_same_gradient() -> None:
    case = Case()
    leaves = case.leaves()
    loss = case.ours(*leaves).square().sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    second = torch.autograd.grad(loss, leaves)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_second_derivative_is_refused() -> None:
    case = Case()
    leaves = case.leaves()
    (gradient,) = torch.autograd.grad(case.ours(*leaves).square().sum(), leaves[1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


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
