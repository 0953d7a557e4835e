"""Numbers of the loss's Triton kernels, on a GPU (``pytest -m gpu``) or in the interpreter (``test_triton.py``)."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from lilift_kernels import dispatch, linear_cross_entropy
from tests.kernels.triton_cases import (
    DEVICE,
    INTERPRETED,
    NEEDS_A_GPU,
    TOLERANCE,
    busy_gpu,
    case,
    leaf,
    on_a_gpu,
    relative,
)  # fmt: skip

pytestmark = NEEDS_A_GPU

OPTIONS: list[dict[str, Any]] = [
    {},
    {"softcap": 3.0, "z_loss": 0.01},
    {"label_smoothing": 0.1, "logit_scale": 0.5},
]


@pytest.mark.usefixtures("small_cut")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_loss_no_less_exact_than_torch_in_the_same_type(
    dtype: torch.dtype, options: dict[str, Any], reference_loss: Any
) -> None:
    hidden, weight, bias, labels = case(dtype)
    ours, theirs, exact = leaf(hidden), leaf(hidden), leaf(hidden, torch.float64)
    losses = linear_cross_entropy(ours, weight, labels, bias=bias, reduction="none", **options)
    plain = reference_loss(theirs, weight, labels, bias=bias, reduction="none", upcast=dtype != torch.float32, **options)
    true = reference_loss(exact, weight.double(), labels, bias=bias.double(), reduction="none", **options)
    upstream = torch.randn(losses.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    for result in (losses, plain, true):
        result.backward(upstream.to(result.dtype))
    assert relative(losses, true) <= relative(plain, true) + 1e-6
    assert ours.grad is not None
    assert exact.grad is not None
    assert theirs.grad is not None
    assert relative(ours.grad, exact.grad) <= relative(theirs.grad, exact.grad) + TOLERANCE[dtype]
    assert (ours.grad[labels == -100] == 0).all()


@pytest.mark.skipif(not INTERPRETED, reason="every shape would be compiled anew, for minutes")
@hypothesis_settings(max_examples=12)
@given(data=st.data())
def test_loss_of_any_shape_labels_and_options(data: st.DataObject, reference_loss: Any) -> None:
    from lilift_kernels.loss import loss_triton as triton_loss
    from lilift_kernels.tiles import LossCut

    n, v, d = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 90)), data.draw(st.integers(1, 40))
    labels = torch.tensor(data.draw(st.lists(st.integers(-1, v - 1), min_size=n, max_size=n)), device=DEVICE)
    ignored = data.draw(st.sampled_from([-1, -100, 0, v + 5]))
    labels[labels == -1] = ignored
    options: dict[str, Any] = {
        "ignore_index": ignored,
        "logit_scale": data.draw(st.sampled_from([1.0, 0.1, -2.0])),
        "z_loss": data.draw(st.sampled_from([0.0, 0.1])),
        "reduction": data.draw(st.sampled_from(["mean", "sum", "none"])),
        **data.draw(st.sampled_from([{}, {"softcap": 0.7}, {"softcap": 30.0}, {"label_smoothing": 0.3}])),
    }
    cut = LossCut(data.draw(st.integers(1, 40)), data.draw(st.integers(1, 90)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    hidden, weight, bias = (torch.randn(shape, generator=generator).to(DEVICE) * 2 for shape in ((n, d), (v, d), (v,)))
    ours, exact = leaf(hidden), leaf(hidden, torch.float64)
    with mock.patch.object(triton_loss, "loss_cut", return_value=cut):
        loss = linear_cross_entropy(ours, weight, labels, bias=bias, **options)
    true = reference_loss(exact, weight.double(), labels, bias=bias.double(), **options)
    upstream = torch.randn(loss.shape, generator=generator).to(DEVICE)
    loss.backward(upstream)
    true.backward(upstream.double())
    torch.testing.assert_close(loss.double(), true, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=2e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 700, 129), (130, 2, 64), (3, 129, 7)], ids=str)
def test_loss_with_its_own_cut(shape: tuple[int, int, int], reference_loss: Any) -> None:
    hidden, weight, bias, labels = case(torch.float32, n=shape[0], v=shape[1], d=shape[2])
    labels[:1] = shape[1] - 1
    ours, exact = leaf(hidden), leaf(hidden, torch.float64)
    loss, lse = linear_cross_entropy(ours, weight, labels, bias=bias, return_lse=True)
    true = reference_loss(exact, weight.double(), labels, bias=bias.double())
    loss.backward()
    true.backward()
    sums = torch.nn.functional.linear(exact, weight.double(), bias.double()).logsumexp(1)
    torch.testing.assert_close(loss.double(), true, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(lse.double(), sums.masked_fill(labels == -100, 0.0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=1e-6)  # type: ignore[union-attr]


def test_rows_the_model_is_sure_of_keep_an_exact_gradient() -> None:
    weight = torch.eye(32, device=DEVICE)
    labels = torch.arange(6, device=DEVICE)
    noise = 0.1 * torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    hidden = weight[:6] * torch.linspace(14, 22, 6, device=DEVICE)[:, None] + noise.to(DEVICE)
    ours, exact = leaf(hidden), leaf(hidden, torch.float64)
    losses = linear_cross_entropy(ours, weight, labels, reduction="none")
    true = torch.nn.functional.cross_entropy(exact @ weight.double().T, labels, reduction="none")
    losses.sum().backward()
    true.sum().backward()
    assert ((losses.double() - true).abs() / true).max() < 1e-5
    assert ours.grad is not None
    assert exact.grad is not None
    assert ((ours.grad.double() - exact.grad).norm(dim=1) / exact.grad.norm(dim=1)).max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_rows_where_a_wrong_token_is_nearly_certain_are_as_exact_as_in_torch(dtype: torch.dtype) -> None:
    if INTERPRETED and dtype == torch.bfloat16:
        pytest.skip("the interpreter rounds bf16 towards zero")
    generator = torch.Generator().manual_seed(2)
    weight = (torch.randn(301, 64, generator=generator) / 8).to(dtype)
    hidden = (torch.randn(24, 64, generator=generator) + 20 * weight[100:124].float()).to(dtype).to(DEVICE)
    weight, labels = weight.to(DEVICE), torch.arange(24, device=DEVICE)
    ours, theirs, exact = leaf(hidden), leaf(hidden), leaf(hidden, torch.float64)
    linear_cross_entropy(ours, weight, labels, reduction="sum").backward()
    torch.nn.functional.cross_entropy((theirs @ weight.T).float(), labels, reduction="sum").backward()
    torch.nn.functional.cross_entropy(exact @ weight.double().T, labels, reduction="sum").backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert exact.grad is not None
    assert relative(ours.grad, exact.grad) <= 1.02 * relative(theirs.grad, exact.grad)


@pytest.mark.usefixtures("small_cut")
def test_masked_tokens_and_huge_logits() -> None:
    hidden, weight, bias, labels = case(torch.float32, n=12, v=140)
    bias[:128] = -float("inf")  # the whole first slice
    bias[130] = 300.0
    labels[:] = torch.randint(128, 140, (12,), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    ours, exact = leaf(hidden), leaf(hidden, torch.float64)
    loss = linear_cross_entropy(ours, weight, labels, bias=bias)
    true = torch.nn.functional.cross_entropy(torch.nn.functional.linear(exact, weight.double(), bias.double()), labels)
    loss.backward()
    true.backward()
    torch.testing.assert_close(loss.double(), true, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=1e-6)  # type: ignore[union-attr]


@pytest.mark.usefixtures("small_cut")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_logits_that_grow_from_slice_to_slice(dtype: torch.dtype) -> None:
    hidden, weight, _, labels = case(dtype, n=12)
    bias = torch.linspace(-200, 20, 301, device=DEVICE).to(dtype)  # the reference is raised in every slice
    labels[:] = torch.arange(289, 301, device=DEVICE)
    ours, exact = leaf(hidden), leaf(hidden, torch.float64)
    losses = linear_cross_entropy(ours, weight, labels, bias=bias, reduction="none")
    logits = torch.nn.functional.linear(exact, weight.double(), bias.double())
    true = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    losses.sum().backward()
    true.sum().backward()
    torch.testing.assert_close(losses.double(), true, rtol=1e-4, atol=1e-5)
    assert ours.grad is not None
    assert exact.grad is not None
    assert relative(ours.grad, exact.grad) < (1e-5 if dtype == torch.float32 else 1e-3)


def test_a_state_that_is_no_number_shows_in_its_own_row_alone() -> None:
    hidden, weight, bias, labels = case(torch.float32, n=20)
    labels[:] = torch.arange(20, device=DEVICE)
    hidden[3, 5], hidden[7, 0] = float("nan"), float("inf")
    ours = leaf(hidden)
    losses = linear_cross_entropy(ours, weight, labels, bias=bias, reduction="none")
    losses.sum().backward()
    assert ours.grad is not None
    for result in (losses, ours.grad.sum(1)):
        assert result.isnan().nonzero().flatten().tolist() == [3, 7]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_loss_agrees_with_the_torch_path(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, _, labels = case(dtype)
    results = []
    for setting in ("triton", "torch"):
        monkeypatch.setenv(dispatch.SETTING, setting)
        ours = leaf(hidden)
        loss = linear_cross_entropy(ours[:70], weight, labels[:70], num_items=1000)
        (loss * 512).backward()
        results.append((loss, ours.grad))
    tolerance = 1e-5 if dtype == torch.float32 else 2e-3
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance / 10)


@on_a_gpu
@pytest.mark.parametrize("shape", [(3000, 32_000, 2048), (700, 128_256, 4096), (300, 270_000, 8192)], ids=str)
def test_loss_is_bitwise_equal_run_after_run_and_exact_at_full_size(shape: tuple[int, int, int]) -> None:
    n, v, d = shape
    if torch.cuda.mem_get_info()[0] < 3 * 2 * v * d + 2**31:
        pytest.skip("the GPU has too little free memory")
    hidden = torch.randn(n, d, device=DEVICE, dtype=torch.bfloat16) * 2
    weight = torch.randn(v, d, device=DEVICE, dtype=torch.bfloat16) / d**0.5
    labels = torch.randint(0, v, (n,), device=DEVICE)
    labels[-1] = v - 1
    labels[torch.rand(n, device=DEVICE) < 0.3] = -100
    results = []
    for _ in range(10):
        ours = leaf(hidden)
        with busy_gpu():
            loss = linear_cross_entropy(ours, weight, labels)
            loss.backward()
        results.append((loss.detach(), ours.grad))
    for loss, gradient in results[1:]:
        assert torch.equal(loss, results[0][0])
        assert gradient is not None
        assert torch.equal(gradient, results[0][1])  # type: ignore[arg-type]
    kept = labels != -100
    chosen = kept.nonzero().squeeze(1)[-64:]  # float64 of everything would take minutes
    gradient = results[0][1]
    assert gradient is not None
    assert relative(gradient[chosen].double() * kept.sum(), exact_gradient(hidden[chosen], weight, labels[chosen])) < 2e-3


def exact_gradient(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Of the summed loss in float64, a part of the head at a time."""
    parts = weight.split(8192)
    logits = torch.cat([hidden.double() @ part.double().T for part in parts], 1)
    error = logits.softmax(1)
    error[torch.arange(len(labels), device=labels.device), labels] -= 1
    products = [some @ part.double() for some, part in zip(error.split(8192, 1), parts, strict=True)]
    return torch.stack(products).sum(0)
