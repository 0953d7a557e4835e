"""Every way to call the loss's Triton kernels, on a GPU (``pytest -m gpu``) or in the interpreter (``test_triton.py``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lilift_kernels import linear_cross_entropy
from lilift_kernels.loss.loss_options import LossOptions
from tests.kernels.triton_cases import DEVICE, INTERPRETED, NEEDS_A_GPU, case, leaf, on_a_gpu, rows_far_apart

pytestmark = NEEDS_A_GPU


@pytest.mark.usefixtures("small_cut")
@pytest.mark.parametrize("with_gradient", [True, False])
def test_rows_given_by_the_caller(with_gradient: bool) -> None:
    hidden, weight, _, labels = case(torch.float32)
    hidden[::6] = float("nan")  # the ignored ones: never read
    kept = (labels != -100).nonzero().squeeze(1).flip(0)
    masked, chosen = leaf(hidden), leaf(hidden)
    with torch.set_grad_enabled(with_gradient):
        first = linear_cross_entropy(masked, weight, labels)
        second = linear_cross_entropy(chosen, weight, labels[kept], rows=kept)
    torch.testing.assert_close(first, second)
    if with_gradient:
        first.backward()
        second.backward()
        torch.testing.assert_close(masked.grad, chosen.grad)


@pytest.mark.parametrize("n", [0, 5])
def test_all_ignored_is_zero(n: int) -> None:
    hidden, weight, _, _ = case(torch.float16, n=n)
    for rows in (None, torch.arange(n, device=DEVICE)):
        ours = leaf(hidden)
        loss = linear_cross_entropy(ours, weight, torch.full((n,), -100, device=DEVICE), rows=rows)
        loss.backward()
        assert loss == 0
        assert ours.grad is not None
        assert (ours.grad == 0).all()


def test_a_label_out_of_range_that_is_not_looked_for_gives_nan_in_its_own_row() -> None:
    from lilift_kernels.loss import loss_triton as triton_loss

    hidden, weight, _, labels = case(torch.float32, n=20)
    labels[17] = 2**40
    scale = torch.ones((), device=DEVICE)
    losses, _, gradient = triton_loss.losses_and_gradient(
        hidden, weight, None, labels, None, scale, LossOptions(), with_gradient=True
    )
    for result in (losses, gradient.sum(1)):
        assert result.isnan().nonzero().flatten().tolist() == [17]


def test_smoothing_under_a_softcap_is_left_to_torch(reference_loss: Any) -> None:
    hidden, weight, _, labels = case(torch.float32)
    options = {"softcap": 3.0, "label_smoothing": 0.1}
    loss = linear_cross_entropy(hidden, weight, labels, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(loss, reference_loss(hidden, weight, labels, **options))


def test_a_trained_head_gets_its_gradient() -> None:
    hidden, weight, _, labels = case(torch.float32)
    ours, exact = leaf(weight), leaf(weight)
    linear_cross_entropy(hidden, ours, labels).backward()
    torch.nn.functional.cross_entropy(hidden @ exact.T, labels).backward()
    torch.testing.assert_close(ours.grad, exact.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("where", ["hidden", "weight"])
def test_offsets_beyond_31_bits(where: str, tmp_path: Path) -> None:
    close = dict(zip(("hidden", "weight", "bias", "labels"), case(torch.float16, n=20, v=20, d=16), strict=True))
    far = {**close, where: rows_far_apart(20, 16, tmp_path).copy_(close[where])}
    close["labels"][-1] = far["labels"][-1] = 19
    results = []
    for arguments in (close, far):
        ours = arguments["hidden"].detach().requires_grad_()
        loss = linear_cross_entropy(ours, arguments["weight"], arguments["labels"])
        results.append((loss.detach(), *torch.autograd.grad(loss, ours)))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_strided_arguments_with_and_without_a_gradient() -> None:
    hidden, weight, bias, labels = case(torch.float32, n=20, v=40)
    plain = linear_cross_entropy(hidden, weight, labels, bias=bias)
    wide = hidden.new_zeros(hidden.shape[1], 2 * hidden.shape[0])
    wide[:, ::2] = hidden.T
    strided = wide[:, ::2].T.requires_grad_()
    loss = linear_cross_entropy(strided, weight.T.contiguous().T, labels, bias=bias)
    assert torch.equal(loss, plain)  # with and without a gradient the same
    (gradient,) = torch.autograd.grad(loss, strided)
    ours = leaf(hidden)
    assert torch.equal(gradient, torch.autograd.grad(linear_cross_entropy(ours, weight, labels, bias=bias), ours)[0])


@on_a_gpu
def test_labels_out_of_range_are_named_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, _, labels = case(torch.float16)
    labels[7] = weight.shape[0]
    assert linear_cross_entropy(hidden, weight, labels).isnan()
    monkeypatch.setenv("LILIFT_KERNELS_DEBUG", "1")
    with pytest.raises(IndexError, match="label 301 at position 7"):
        linear_cross_entropy(hidden, weight, labels)


def test_compiled_around_and_checkpointed() -> None:
    torch._dynamo.reset()
    hidden, weight, _, labels = case(torch.float32)

    def step(states: Tensor) -> Tensor:
        return checkpoint(lambda part: linear_cross_entropy(part.tanh(), weight, labels), states, use_reentrant=False) * 3

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager" if INTERPRETED else "inductor")
    ours, plain = leaf(hidden), leaf(hidden)
    first, second = compiled(ours), step(plain)
    first.backward()
    second.backward()
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(ours.grad, plain.grad)


def test_autocast_reaches_the_kernels() -> None:
    hidden, weight, bias, labels = case(torch.float32)
    dtype = torch.float16 if DEVICE == "cuda" else torch.bfloat16
    ours = leaf(hidden)
    with torch.autocast(DEVICE, dtype):
        loss = linear_cross_entropy(ours, weight, labels, bias=bias)
    loss.backward()
    rounded = linear_cross_entropy(hidden.to(dtype), weight.to(dtype), labels, bias=bias.to(dtype))
    assert torch.equal(loss, rounded)
    assert ours.grad is not None
    assert ours.grad.dtype == torch.float32


@on_a_gpu
def test_a_call_with_rows_does_not_wait_for_the_gpu() -> None:
    hidden, weight, _, labels = case(torch.bfloat16)
    kept = (labels != -100).nonzero().squeeze(1)
    chosen = labels[kept]

    def call() -> None:
        linear_cross_entropy(leaf(hidden), weight, chosen, rows=kept).backward()

    call()  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@on_a_gpu
def test_a_call_is_captured_in_a_graph() -> None:
    hidden, weight, _, labels = case(torch.bfloat16)
    ours = leaf(hidden)
    first = torch.autograd.grad(linear_cross_entropy(ours, weight, labels), ours)[0]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        (captured,) = torch.autograd.grad(linear_cross_entropy(ours, weight, labels), ours)
    graph.replay()
    torch.testing.assert_close(captured, first)


def test_an_autotuned_cut_gives_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lilift_kernels import autotuning
    from lilift_kernels.loss import loss_triton

    hidden, weight, _, labels = case(torch.float32, n=20)

    def both() -> list[Tensor]:
        ours = leaf(hidden)
        loss = linear_cross_entropy(ours, weight, labels)
        return [loss, *torch.autograd.grad(loss, ours)]

    plain, taken = both(), []
    monkeypatch.setattr(loss_triton, "CANDIDATE_ROWS", (8,))
    monkeypatch.setattr(autotuning, "_known", {})
    monkeypatch.setattr(autotuning, "_timed", lambda _, candidates, run: taken.append(run(candidates[-1])) or candidates[-1])
    monkeypatch.setenv(autotuning.SETTING, "1")
    monkeypatch.setenv(autotuning.PLACE, str(tmp_path / "kernels.json"))
    for _ in range(2):
        for tuned, right in zip(both(), plain, strict=True):
            torch.testing.assert_close(tuned, right, rtol=1e-4, atol=1e-5)
    assert len(taken) == 1  # timed once
    assert [cut.rows for cut in autotuning._known[tmp_path / "kernels.json"].values()] == [8]
