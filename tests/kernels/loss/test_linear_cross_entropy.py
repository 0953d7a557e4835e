"""The loss without logits, on the torch path: its numbers."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from lilift_kernels import linear_cross_entropy
from lilift_kernels.loss import loss_torch as torch_path
from lilift_kernels.loss import vocabulary_tiles as tiles
from lilift_kernels.loss.loss_options import LossOptions
from tests.kernels.loss_cases import leaves, relative, small_case

OPTIONS: list[dict[str, Any]] = [
    {},
    {"softcap": 3.0},
    {"label_smoothing": 0.1},
    {"z_loss": 0.01},
    {"logit_scale": 0.25},
    {"softcap": 3.0, "label_smoothing": 0.2, "z_loss": 0.01, "logit_scale": 2.0},
]
# What our error may exceed torch's by, relative L2: sums of a thousand terms in fp32, and one rounding more or less elsewhere.
TOLERANCE = {torch.float64: 1e-14, torch.float32: 3e-7, torch.bfloat16: 2e-4, torch.float16: 5e-5}


@pytest.mark.usefixtures("tiny_tiles")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_no_less_exact_than_torch_in_the_same_type(dtype: torch.dtype, options: dict[str, Any], reference_loss: Any) -> None:
    *tensors, labels = small_case(dtype)
    ours, theirs, exact = leaves(*tensors), leaves(*tensors), leaves(*tensors, dtype=torch.float64)
    our_loss = linear_cross_entropy(ours[0], ours[1], labels, bias=ours[2], **options)
    upcast = dtype in (torch.float16, torch.bfloat16)
    their_loss = reference_loss(theirs[0], theirs[1], labels, bias=theirs[2], upcast=upcast, **options)
    exact_loss = reference_loss(exact[0], exact[1], labels, bias=exact[2], **options)
    for loss in (our_loss, their_loss, exact_loss):
        loss.backward()
    assert relative(our_loss, exact_loss) <= relative(their_loss, exact_loss) + TOLERANCE[dtype]
    for our, their, true in zip(ours, theirs, exact, strict=True):
        assert our.grad is not None
        assert our.grad.dtype == dtype
        assert relative(our.grad, true.grad) <= relative(their.grad, true.grad) + TOLERANCE[dtype]


@pytest.mark.usefixtures("tiny_tiles")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradcheck(options: dict[str, Any], reduction: str) -> None:
    hidden, weight, bias, labels = small_case(torch.float64, n=9, v=21, d=5)

    def loss(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return linear_cross_entropy(h, w, labels, bias=b, reduction=reduction, **options)  # type: ignore[call-overload]

    assert torch.autograd.gradcheck(loss, leaves(hidden, weight, bias))


@hypothesis_settings(max_examples=80)
@given(data=st.data())
def test_any_shape_labels_and_options(data: st.DataObject, reference_loss: Any) -> None:
    n, v, d = data.draw(st.integers(0, 30)), data.draw(st.integers(1, 70)), data.draw(st.integers(1, 9))
    labels = torch.tensor(data.draw(st.lists(st.integers(-1, v - 1), min_size=n, max_size=n)), dtype=torch.int64)
    ignored = data.draw(st.sampled_from([-1, -100, 0, v + 5]))
    labels[labels == -1] = ignored
    options = {
        "ignore_index": ignored,
        "softcap": data.draw(st.sampled_from([None, 0.7, 30.0])),
        "logit_scale": data.draw(st.sampled_from([1.0, 0.1, -2.0])),
        "label_smoothing": data.draw(st.sampled_from([0.0, 0.3, 1.0])),
        "z_loss": data.draw(st.sampled_from([0.0, 0.1])),
    }
    reduction = data.draw(st.sampled_from(["mean", "sum", "none"]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64) * 2 for s in ((n, d), (v, d), (v,))]
    if not data.draw(st.booleans()):
        tensors = tensors[:2]
    ours, exact = leaves(*tensors), leaves(*tensors)
    sizes = {
        "CPU_ROWS": data.draw(st.integers(1, 40)),
        "CPU_TILE_BYTES": 1,
        "SMALLEST_TILE": data.draw(st.sampled_from([1, 8, 64])),
    }
    with mock.patch.multiple(tiles, **sizes):
        loss = linear_cross_entropy(
            ours[0],
            ours[1],
            labels,
            bias=ours[2] if len(ours) > 2 else None,
            reduction=reduction,
            **options,  # type: ignore[arg-type]
        )
        upstream = torch.randn(loss.shape, generator=generator, dtype=torch.float64)
        loss.backward(upstream)
    true = reference_loss(exact[0], exact[1], labels, bias=exact[2] if len(exact) > 2 else None, reduction=reduction, **options)
    true.backward(upstream)
    torch.testing.assert_close(loss, true, rtol=1e-10, atol=1e-10)
    for our, their in zip(ours, exact, strict=True):
        torch.testing.assert_close(our.grad, their.grad, rtol=1e-9, atol=1e-10)


def test_rows_the_model_is_sure_of_keep_an_exact_gradient() -> None:
    # p_y is 1 - 1e-6 and nearer to 1: softmax minus one-hot cancels in fp32, the probability of being wrong does not.
    weight = torch.eye(8)
    labels = torch.arange(6)
    hidden = weight[:6] * torch.linspace(14, 22, 6)[:, None] + 0.1 * torch.randn(
        6, 8, generator=torch.Generator().manual_seed(1)
    )
    (ours,) = leaves(hidden)
    linear_cross_entropy(ours, weight, labels, reduction="sum").backward()
    (exact,) = leaves(hidden, dtype=torch.float64)
    torch.nn.functional.cross_entropy(exact @ weight.double().T, labels, reduction="sum").backward()
    assert ours.grad is not None
    assert exact.grad is not None
    error = (ours.grad.double() - exact.grad).norm(dim=1) / exact.grad.norm(dim=1)
    assert error.max() < 1e-5
    losses = linear_cross_entropy(hidden, weight, labels, reduction="none").double()
    true = torch.nn.functional.cross_entropy(hidden.double() @ weight.double().T, labels, reduction="none")
    assert ((losses - true).abs() / true).max() < 1e-5


def test_rows_given_by_the_caller_equal_ignored_labels() -> None:
    hidden, weight, _, labels = small_case(torch.float32)
    masked, chosen = leaves(hidden, hidden)
    kept = (labels != -100).nonzero().squeeze(1)
    first = linear_cross_entropy(masked, weight, labels)
    shuffled = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))]
    second = linear_cross_entropy(chosen.reshape(2, -1, hidden.shape[1]), weight, labels[shuffled], rows=shuffled)
    first.backward()
    second.backward()
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(masked.grad, chosen.grad)


def test_an_ignored_label_among_given_rows_counts_nothing() -> None:
    hidden, weight, _, labels = small_case(torch.float32)
    masked, chosen = leaves(hidden, hidden)
    linear_cross_entropy(masked, weight, labels).backward()
    linear_cross_entropy(chosen, weight, labels, rows=torch.arange(len(labels))).backward()
    torch.testing.assert_close(masked.grad, chosen.grad)


def test_ignored_rows_are_never_read() -> None:
    hidden, weight, _, labels = small_case(torch.float32)
    hidden[labels == -100] = float("nan")
    (ours,) = leaves(hidden)
    loss = linear_cross_entropy(ours, weight, labels)
    loss.backward()
    assert loss.isfinite()
    assert ours.grad is not None
    assert (ours.grad[labels == -100] == 0).all()
    assert ours.grad.isfinite().all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_all_ignored_is_zero(dtype: torch.dtype, n: int, reduction: Any) -> None:
    hidden, weight, bias = leaves(torch.randn(n, 4), torch.randn(11, 4), torch.randn(11), dtype=dtype)
    loss = linear_cross_entropy(hidden, weight, torch.full((n,), -100), bias=bias, reduction=reduction, z_loss=0.1)
    assert loss.shape == ((n,) if reduction == "none" else ())
    assert (loss == 0).all()
    loss.sum().backward()
    for tensor in (hidden, weight, bias):
        assert tensor.grad is not None
        assert (tensor.grad == 0).all()


@pytest.mark.usefixtures("tiny_tiles")
def test_runs_are_bitwise_equal() -> None:
    hidden, weight, bias, labels = small_case(torch.bfloat16)
    results = []
    for _ in range(2):
        tensors = leaves(hidden, weight, bias)
        loss = linear_cross_entropy(tensors[0], tensors[1], labels, bias=tensors[2])
        loss.backward()
        results.append([loss, *(tensor.grad for tensor in tensors)])
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


def test_backward_twice_gives_the_same_gradient() -> None:
    hidden, weight, _, labels = small_case(torch.float32)
    (ours,) = leaves(hidden)
    loss = linear_cross_entropy(ours, weight, labels) * 3
    (first,) = torch.autograd.grad(loss, ours, retain_graph=True)
    (second,) = torch.autograd.grad(loss, ours, retain_graph=True)
    (third,) = torch.autograd.grad(loss, ours)
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_a_second_derivative_is_refused() -> None:
    hidden, weight, _, labels = small_case(torch.float64)
    (ours,) = leaves(hidden)
    upstream = torch.ones((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(linear_cross_entropy(ours, weight, labels), ours, upstream, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_num_items_adds_micro_batches_up_to_the_batch() -> None:
    hidden, weight, _, labels = small_case(torch.float64)
    count = int((labels != -100).sum())
    whole = linear_cross_entropy(hidden, weight, labels)
    for items in (count, torch.tensor(count)):
        parts = [linear_cross_entropy(hidden[s], weight, labels[s], num_items=items) for s in (slice(0, 9), slice(9, None))]
        torch.testing.assert_close(sum(parts), whole)


def test_log_sum_exp_is_returned_without_gradient() -> None:
    hidden, weight, _, labels = small_case(torch.float64)
    (ours,) = leaves(hidden)
    loss, lse = linear_cross_entropy(ours.view(2, 20, -1), weight, labels.view(2, 20), return_lse=True)
    exact = (hidden @ weight.T).logsumexp(1).masked_fill(labels == -100, 0.0)
    torch.testing.assert_close(lse, exact.view(2, 20))
    assert loss.requires_grad
    assert not lse.requires_grad


def test_fp16_survives_a_small_factor_under_a_loss_scale() -> None:
    hidden, weight, _, labels = small_case(torch.float16)
    (ours,) = leaves(hidden)
    (exact,) = leaves(hidden, dtype=torch.float64)
    scale, items = 2.0**20, 2_000_000
    (linear_cross_entropy(ours, weight, labels, num_items=items) * scale).backward()
    kept = labels != -100
    loss = torch.nn.functional.cross_entropy(exact[kept] @ weight.double().T, labels[kept], reduction="sum")
    (loss / items * scale).backward()
    assert ours.grad is not None
    assert relative(ours.grad, exact.grad) < 1e-3  # type: ignore[arg-type]


def test_a_label_out_of_range_that_is_not_looked_for_gives_nan_in_its_own_row() -> None:
    hidden, weight, _, labels = small_case(torch.float32)
    labels[17] = 301
    losses, _, gradient = torch_path.losses_and_gradient(
        hidden, weight, None, labels, None, torch.ones(()), LossOptions(), with_gradient=True
    )
    for result in (losses, gradient.sum(1)):
        assert result.isnan().nonzero().flatten().tolist() == [17]


@pytest.mark.usefixtures("tiny_tiles")
def test_a_state_that_is_no_number_shows_in_its_own_row_alone() -> None:
    hidden, weight, bias, labels = small_case(torch.float32, n=20)
    labels[:] = torch.arange(20)
    hidden[3, 5], hidden[7, 0] = float("nan"), float("inf")
    (ours,) = leaves(hidden)
    losses = linear_cross_entropy(ours, weight, labels, bias=bias, reduction="none")
    losses.sum().backward()
    assert ours.grad is not None
    for result in (losses, ours.grad.sum(1)):
        assert result.isnan().nonzero().flatten().tolist() == [3, 7]
