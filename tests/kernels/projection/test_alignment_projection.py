"""The alignment projection on the torch path: its numbers, its gradients, and what it saves for backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from lilift_kernels import project_into
from lilift_kernels.projection import projection_torch as torch_path
from tests.kernels.projection.projection_cases import WIDTHS, Case, grads


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


def test_the_buffer_is_written_in_place_and_only_at_the_slots() -> None:
    case = Case()
    states, w1, b1, w2, b2, *_, base = (case.states, *case.parameters, case.base)
    out = base.clone()
    result = project_into(states, case.rows, case.slots, w1, b1, w2, b2, out=out)
    assert result.data_ptr() == out.data_ptr()
    untouched = torch.ones(len(base), dtype=torch.bool).index_fill(0, case.slots, False)
    assert torch.equal(out[untouched], base[untouched])
    assert not torch.equal(out[case.slots], base[case.slots])


def test_padded_states_are_never_read() -> None:
    case = Case((2, 4))
    case.states[0, 2:] = float("nan")
    leaves = case.leaves()
    result = case.ours(*leaves)
    result.sum().backward()
    assert result.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads(leaves))


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
