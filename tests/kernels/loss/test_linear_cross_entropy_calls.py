"""The loss without logits, on the torch path: its memory, and every way it is called."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from lilift_kernels import linear_cross_entropy, workspace_bytes
from lilift_kernels.loss import loss_operators as operators
from lilift_kernels.loss import loss_torch as torch_path
from lilift_kernels.loss import vocabulary_tiles as tiles
from lilift_kernels.loss.loss_options import LossOptions
from tests.kernels.loss_cases import leaves, small_case


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


def test_rows_out_of_range_or_named_twice_are_refused() -> None:
    hidden, weight, _, _ = small_case(torch.float32)
    with pytest.raises(IndexError, match=r"0\.\.39"):
        linear_cross_entropy(hidden, weight, torch.zeros(2, dtype=torch.int64), rows=torch.tensor([0, 40]))
    with pytest.raises(IndexError, match="row 3 appears more than once"):
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
        linear_cross_entropy(**(arguments | change))
