"""The loss without logits, on the torch path: its numbers, its memory, and every way it is called."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from lilift_kernels import linear_cross_entropy, workspace_bytes
from lilift_kernels import linear_cross_entropy as public
from lilift_kernels import linear_cross_entropy_operators as operators
from lilift_kernels import linear_cross_entropy_torch as torch_path
from lilift_kernels import vocabulary_tiles as tiles
from lilift_kernels.loss_options import LossOptions

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


def small_case(dtype: torch.dtype, *, n: int = 40, v: int = 301, d: int = 24, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, d, generator=generator).to(dtype)
    weight = (torch.randn(v, d, generator=generator) / 2).to(dtype)
    bias = torch.randn(v, generator=generator).to(dtype)
    labels = torch.randint(0, v, (n,), generator=generator)
    labels[torch.rand(n, generator=generator) < 0.5] = -100
    return hidden, weight, bias, labels


def leaves(*tensors: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
    return [tensor.detach().to(dtype or tensor.dtype).clone().requires_grad_() for tensor in tensors]


def relative(found: Tensor, exact: Tensor) -> float:
    return ((found.double() - exact).norm() / exact.norm()).item()


@pytest.fixture
def tiny_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 7 rows against tiles of 16 columns, so that small cases cross every boundary."""
    monkeypatch.setattr(tiles, "CPU_ROWS", 7)
    monkeypatch.setattr(tiles, "CPU_TILE_BYTES", 1)
    monkeypatch.setattr(tiles, "SMALLEST_TILE", 16)


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


def test_memory_does_not_grow_with_the_vocabulary(allocation_watch: Any) -> None:
    n, v, d = 300, 40_000, 8
    hidden, weight, labels = torch.randn(n, d), torch.randn(v, d), torch.arange(n)
    with allocation_watch:
        torch_path.losses_and_gradient(
            hidden, weight, None, labels, None, torch.ones(()), LossOptions(label_smoothing=0.1), with_gradient=True
        )
    assert allocation_watch.largest <= tiles.CPU_TILE_BYTES < 4 * n * v / 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_workspace_announced_is_the_workspace_used(dtype: torch.dtype, allocation_watch: Any) -> None:
    n, v, d = 1100, 2000, 256
    hidden, weight, labels = torch.randn(n, d).to(dtype), torch.randn(v, d).to(dtype), torch.arange(n)
    with allocation_watch:
        results = torch_path.losses_and_gradient(
            hidden, weight, None, labels, None, torch.ones(()), LossOptions(), with_gradient=True
        )
    used = allocation_watch.peak - sum(result.nbytes for result in results)
    announced = workspace_bytes(n, v, d)
    assert used <= 1.02 * announced
    if dtype == torch.bfloat16:
        assert used >= 0.98 * announced


def test_a_frozen_head_gets_no_gradient_computed() -> None:
    hidden, weight, _, labels = small_case(torch.float32)
    (ours,) = leaves(hidden)
    with mock.patch.object(operators, "weight_gradient", side_effect=AssertionError("computed")):
        linear_cross_entropy(ours, weight, labels).backward()
    assert ours.grad is not None
    assert weight.grad is None


def test_a_trained_head_on_frozen_states() -> None:
    hidden, weight, _, labels = small_case(torch.float64)
    ours, exact = leaves(weight)[0], leaves(weight)[0]
    linear_cross_entropy(hidden, ours, labels).backward()
    torch.nn.functional.cross_entropy(hidden @ exact.T, labels).backward()
    torch.testing.assert_close(ours.grad, exact.grad)


def test_tied_embedding_and_head_add_their_gradients() -> None:
    _, weight, _, _ = small_case(torch.float64)
    tokens, labels = torch.tensor([3, 7, 3]), torch.tensor([7, 3, 9])
    ours, exact = leaves(weight)[0], leaves(weight)[0]
    linear_cross_entropy(ours[tokens] * 2, ours, labels).backward()
    torch.nn.functional.cross_entropy((exact[tokens] * 2) @ exact.T, labels).backward()
    torch.testing.assert_close(ours.grad, exact.grad)


def test_evaluation_makes_no_gradient() -> None:
    hidden, weight, _, labels = small_case(torch.float32)
    hidden.requires_grad_()
    seen: list[bool] = []
    real = torch_path.losses_and_gradient

    def spy(*args: Any, with_gradient: bool) -> Any:
        seen.append(with_gradient)
        return real(*args, with_gradient=with_gradient)

    with mock.patch.object(torch_path, "losses_and_gradient", spy):
        with torch.no_grad():
            quiet = linear_cross_entropy(hidden, weight, labels)
        loud = linear_cross_entropy(hidden, weight, labels)
    assert seen == [False, True]
    assert not quiet.requires_grad
    assert torch.equal(quiet, loud)


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


def test_strided_hidden_states() -> None:
    hidden, weight, _, labels = small_case(torch.float64)
    plain = linear_cross_entropy(hidden, weight, labels)
    wide = torch.zeros(hidden.shape[1], 2 * hidden.shape[0], dtype=hidden.dtype)
    wide[:, ::2] = hidden.T
    strided = wide[:, ::2].T.requires_grad_()
    loss = linear_cross_entropy(strided, weight.T.contiguous().T, labels)
    torch.testing.assert_close(loss, plain)
    assert torch.autograd.grad(loss, strided)[0].shape == hidden.shape


def test_autocast_casts_as_linear_does() -> None:
    hidden, weight, bias, labels = small_case(torch.float32)
    tensors = leaves(hidden, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(tensors[0], tensors[1], labels, bias=tensors[2])
    loss.backward()
    rounded = [tensor.bfloat16() for tensor in (hidden, weight, bias)]
    torch.testing.assert_close(loss, linear_cross_entropy(rounded[0], rounded[1], labels, bias=rounded[2]))
    assert all(tensor.grad is not None and tensor.grad.dtype == torch.float32 for tensor in tensors)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(reentrant: bool) -> None:
    hidden, weight, _, labels = small_case(torch.float64)
    plain, saved = leaves(hidden, hidden)
    linear_cross_entropy(plain.tanh(), weight, labels).backward()

    def block(states: Tensor) -> Tensor:
        return linear_cross_entropy(states.tanh(), weight, labels)

    checkpoint(block, saved, use_reentrant=reentrant).backward()
    assert torch.equal(plain.grad, saved.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("with_rows", [True, False])
def test_fake_tensors_go_through_forward_and_backward(with_rows: bool) -> None:
    with FakeTensorMode():
        hidden = torch.randn(6, 5, 8, dtype=torch.bfloat16, requires_grad=True)
        weight = torch.randn(100, 8, dtype=torch.bfloat16, requires_grad=True)
        if with_rows:
            labels, rows = torch.zeros(7, dtype=torch.int64), torch.zeros(7, dtype=torch.int64)
            loss = linear_cross_entropy(hidden, weight, labels, rows=rows)
        else:
            loss = linear_cross_entropy(hidden, weight, torch.zeros(6, 5, dtype=torch.int64))
        loss.backward()
        assert loss.shape == ()
        assert hidden.grad is not None
        assert weight.grad is not None
        assert (hidden.grad.shape, hidden.grad.dtype) == (hidden.shape, torch.bfloat16)
        assert weight.grad.shape == weight.shape


def test_compiled_whole_with_changing_lengths() -> None:
    torch._dynamo.reset()

    def step(states: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        return linear_cross_entropy(states * 2, head, targets) * 3

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (12, 40):
        hidden, weight, _, labels = small_case(torch.float32, n=n)
        ours, plain = leaves(hidden, hidden)
        first, second = compiled(ours, weight, labels), step(plain, weight, labels)
        first.backward()
        second.backward()
        torch.testing.assert_close(first, second)
        torch.testing.assert_close(ours.grad, plain.grad)


def test_the_operators_keep_their_declared_schema_and_shapes() -> None:
    hidden, weight, bias, labels = small_case(torch.float32)
    tail = (-100, 3.0, 1.0, 0.1, 0.0)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(
        operators.forward_operator, (hidden, weight, bias, labels, None, torch.ones(()), *tail, True), test_utils=checks
    )
    ones = torch.ones(len(labels))
    torch.library.opcheck(operators.weight_operator, (hidden, weight, bias, labels, None, ones, ones, *tail), test_utils=checks)


@pytest.mark.parametrize("wrong", [-1, 301, 10**9])
def test_a_label_out_of_range_is_named(wrong: int) -> None:
    hidden, weight, _, labels = small_case(torch.float32)
    labels[17] = wrong
    with pytest.raises(IndexError, match=rf"label {wrong} at position 17 .* 0\.\.300"):
        linear_cross_entropy(hidden, weight, labels)


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


def test_rows_out_of_range_or_named_twice_are_refused() -> None:
    hidden, weight, _, _ = small_case(torch.float32)
    with pytest.raises(IndexError, match=r"0\.\.39"):
        linear_cross_entropy(hidden, weight, torch.zeros(2, dtype=torch.int64), rows=torch.tensor([0, 40]))
    with pytest.raises(IndexError, match="row 3 is named more than once"):
        linear_cross_entropy(hidden, weight, torch.zeros(2, dtype=torch.int64), rows=torch.tensor([3, 3]))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"reduction": "average"}, ValueError),
        ({"softcap": 0.0}, ValueError),
        ({"label_smoothing": 1.5}, ValueError),
        ({"z_loss": -1.0}, ValueError),
        ({"num_items": 3, "reduction": "sum"}, ValueError),
        ({"bias": torch.zeros(3)}, ValueError),
        ({"weight": torch.zeros(5, 7)}, ValueError),
        ({"weight": torch.zeros(0, 4)}, ValueError),
        ({"weight": torch.zeros(5, 4, dtype=torch.bfloat16)}, TypeError),
        ({"labels": torch.zeros(3)}, TypeError),
        ({"labels": torch.zeros(2, dtype=torch.int64)}, ValueError),
        ({"rows": torch.zeros(2, dtype=torch.int64)}, ValueError),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_arguments_that_do_not_fit_are_refused(change: dict[str, Any], error: type[Exception]) -> None:
    arguments: dict[str, Any] = {
        "hidden": torch.zeros(3, 4),
        "weight": torch.zeros(5, 4),
        "labels": torch.zeros(3, dtype=torch.int64),
    }
    with pytest.raises(error):
        public(**(arguments | change))
