"""The projection on a GPU (``pytest -m gpu``): bf16 and fp16 against float64, and bit for bit run after run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lilift_kernels import project_into
from tests.kernels.triton_cases import (
    DEVICE,
    NEEDS_A_GPU,
    TOLERANCE,
    Projection,
    busy_gpu,
    leaf,
    on_a_gpu,
    relative,
    rows_far_apart,
)  # fmt: skip

pytestmark = NEEDS_A_GPU


@pytest.mark.parametrize("layers", [2, 1])
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_projection_no_less_exact_than_torch_in_the_same_type(dtype: torch.dtype, layers: int) -> None:
    case = Projection(layers=layers)
    ours, theirs = case.leaves(dtype), case.leaves(dtype)
    exact = [leaf(tensor, torch.float64) for tensor in ours]
    results = [case.ours(*ours), case.reference(*theirs), case.reference(*exact)]
    for result in results:
        result.backward(torch.linspace(-3, 3, result.numel(), device=DEVICE).view_as(result).cos().to(result.dtype))
    found = [results[0], *(tensor.grad for tensor in ours)]
    plain = [results[1], *(tensor.grad for tensor in theirs)]
    true = [results[2], *(tensor.grad for tensor in exact)]
    for our, their, right in zip(found, plain, true, strict=True):
        assert our is not None
        # A kernel's result passes through up to three values rounded to the type.
        assert relative(our, right) <= relative(their, right) + 3 * TOLERANCE[dtype]  # type: ignore[arg-type]


def test_projection_of_nothing_and_of_everything() -> None:
    case = Projection(count=0)
    leaves = case.leaves(torch.float32)
    result = case.ours(*leaves)
    torch.testing.assert_close(result, case.reference(*case.leaves(torch.float32)))
    result.sum().backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in leaves)
    everything = Projection(layers=1, count=60)
    states, w1, b1, *_, base = everything.leaves(torch.float32)
    result = project_into(states, None, everything.slots[:60], w1, b1, out=base.clone())
    torch.testing.assert_close(result[everything.slots[:60]], torch.nn.functional.linear(states, w1, b1), rtol=1e-4, atol=1e-5)


def test_projection_with_parameters_in_fp32_and_states_in_half() -> None:
    case = Projection()
    leaves = case.leaves(torch.float32)
    result = case.ours(leaves[0].half(), *leaves[1:-1], leaves[-1].half())
    result.float().sum().backward()
    plain = case.leaves(torch.float32)
    expected = case.reference(*plain)
    expected.sum().backward()
    assert relative(result, expected.double()) < 2e-3
    for our, their in zip(leaves, plain, strict=True):
        assert our.grad is not None
        assert their.grad is not None
        assert our.grad.dtype == torch.float32
        assert relative(our.grad, their.grad.double()) < 4e-3


def test_a_frozen_projection_equals_the_trained_one() -> None:
    case = Projection()
    leaves = case.leaves(torch.float32)
    with torch.no_grad():
        frozen = case.ours(*leaves)
    assert torch.equal(frozen, case.ours(*leaves))


def test_projection_of_states_beyond_31_bits(tmp_path: Path) -> None:
    case = Projection(e=16, h=16, d=16, count=20)
    far = rows_far_apart(20, 16, tmp_path).copy_(case.states[:20])
    rows = torch.arange(19, -1, -1, device=DEVICE)
    results = []
    for states in (case.states[:20].half(), far):
        parameters = [leaf(parameter, torch.float16) for parameter in case.parameters[:4]]
        result = project_into(states, rows, case.slots, *parameters, out=case.base.half())
        results.append((result.detach(), *torch.autograd.grad(result.float().square().sum(), parameters)))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


@on_a_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_projection_is_bitwise_equal_run_after_run_and_exact_at_full_size(dtype: torch.dtype) -> None:
    case = Projection(e=2048, h=4096, d=4096, states=3000, count=2001)
    results, exact = [], [leaf(tensor, torch.float64) for tensor in case.leaves(dtype)]
    upstream = torch.randn(case.base.shape, device=DEVICE, dtype=dtype)
    for _ in range(5):
        leaves = case.leaves(dtype)
        with busy_gpu():
            result = case.ours(*leaves)
            gradients = torch.autograd.grad(result, leaves, upstream)
        results.append((result.detach(), *gradients))
    for again in results[1:]:
        assert all(torch.equal(first, second) for first, second in zip(results[0], again, strict=True))
    true = case.reference(*exact)
    for found, right in zip(results[0], (true, *torch.autograd.grad(true, exact, upstream.double())), strict=True):
        assert relative(found, right.detach()) < (1e-2 if dtype == torch.bfloat16 else 2e-3)
