"""The Triton kernels' numbers: on a GPU (``pytest -m gpu``), or in the interpreter, where ``test_triton.py`` runs them.

The interpreter is slow, about 20 ms for each program, so shapes are as small as cross every boundary. It rounds bf16 towards
zero, which doubles the error of what is stored in it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lilift_kernels import dispatch, linear_cross_entropy, project_into
from lilift_kernels.loss_options import LossOptions

pytest.importorskip("triton", reason="triton is not installed")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="no GPU, and not in the interpreter"),
]

on_a_gpu = pytest.mark.skipif(INTERPRETED, reason="the interpreter runs one program after the other, in the host's own time")

if INTERPRETED:
    # With numpy 2.4 the interpreter cannot turn a scalar argument into a loop's bound (triton-lang/triton issue 9171).
    from triton.runtime import interpreter

    _patch = interpreter._patch_lang_tensor

    def _patch_with_index(tensor: Any, scope: Any) -> None:
        _patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = _patch_with_index
    # It copies whole storages to the host and back, also those that are there; one of these tests has gigabytes of holes.
    interpreter.GridExecutor._init_args_hst = lambda _, arguments, named: (arguments, named)
    interpreter.GridExecutor._restore_args_dev = lambda *_: None

OPTIONS: list[dict[str, Any]] = [
    {},
    {"softcap": 3.0, "z_loss": 0.01},
    {"label_smoothing": 0.1, "logit_scale": 0.5},
]
# Relative L2 that our error may exceed that of torch in the same type by.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-4, torch.bfloat16: 3e-3 if INTERPRETED else 3e-4}


@pytest.fixture(autouse=True)
def insist_on_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.SETTING, "triton")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks of rows, three tiles of the vocabulary, several blocks of each, of sizes that differ between the products."""
    from lilift_kernels import linear_cross_entropy_triton as triton_loss
    from lilift_kernels.tiles import Blocks, LossPlan

    plan = LossPlan(64, 128, Blocks(16, 64, 32, 4, 2), Blocks(32, 32, 64, 4, 2))
    monkeypatch.setattr(triton_loss, "loss_plan", lambda *_, **__: plan)


def case(dtype: torch.dtype, *, n: int = 75, v: int = 301, d: int = 40, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, d, generator=generator).to(dtype)
    weight = (torch.randn(v, d, generator=generator) / 2).to(dtype)
    bias = torch.randn(v, generator=generator).to(dtype)
    labels = torch.randint(0, v, (n,), generator=generator)
    labels[::6] = -100
    return tuple(tensor.to(DEVICE) for tensor in (hidden, weight, bias, labels))


def leaf(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return tensor.detach().to(dtype or tensor.dtype).clone().requires_grad_()


def relative(found: Tensor, exact: Tensor) -> float:
    return ((found.double() - exact).norm() / exact.norm()).item()


@pytest.mark.usefixtures("small_blocks")
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
    from lilift_kernels import linear_cross_entropy_triton as triton_loss
    from lilift_kernels.tiles import Blocks, LossPlan

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
    plan = LossPlan(32, 64, Blocks(16, 32, 16, 4, 2), Blocks(32, 16, 32, 4, 2))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    hidden, weight, bias = (torch.randn(shape, generator=generator).to(DEVICE) * 2 for shape in ((n, d), (v, d), (v,)))
    ours, exact = leaf(hidden), leaf(hidden, torch.float64)
    with mock.patch.object(triton_loss, "loss_plan", return_value=plan):
        loss = linear_cross_entropy(ours, weight, labels, bias=bias, **options)
    true = reference_loss(exact, weight.double(), labels, bias=bias.double(), **options)
    upstream = torch.randn(loss.shape, generator=generator).to(DEVICE)
    loss.backward(upstream)
    true.backward(upstream.double())
    torch.testing.assert_close(loss.double(), true, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=2e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 700, 129), (130, 2, 64), (3, 129, 7)], ids=str)
def test_loss_with_the_tables_own_blocks(shape: tuple[int, int, int], reference_loss: Any) -> None:
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


@pytest.mark.usefixtures("small_blocks")
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
    from lilift_kernels import linear_cross_entropy_triton as triton_loss

    hidden, weight, _, labels = case(torch.float32, n=20)
    labels[17] = 2**40
    scale = torch.ones((), device=DEVICE)
    losses, _, gradient = triton_loss.losses_and_gradient(
        hidden, weight, None, labels, None, scale, LossOptions(), with_gradient=True
    )
    for result in (losses, gradient.sum(1)):
        assert result.isnan().nonzero().flatten().tolist() == [17]


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


def test_masked_tokens_and_huge_logits() -> None:
    hidden, weight, bias, labels = case(torch.float32, n=12, v=140)
    bias[:128] = -float("inf")  # the whole first block
    bias[130] = 300.0
    labels[:] = torch.randint(128, 140, (12,), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    ours, exact = leaf(hidden), leaf(hidden, torch.float64)
    loss = linear_cross_entropy(ours, weight, labels, bias=bias)
    true = torch.nn.functional.cross_entropy(torch.nn.functional.linear(exact, weight.double(), bias.double()), labels)
    loss.backward()
    true.backward()
    torch.testing.assert_close(loss.double(), true, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=1e-6)  # type: ignore[union-attr]


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


def rows_far_apart(rows: int, width: int, folder: Path) -> Tensor:
    """Rows of fp16 whose last ones lie more than 2 ** 31 elements after the first; on a CPU in a file with holes."""
    stride = 2**27 + 16
    size = (rows - 1) * stride + width
    if INTERPRETED:
        storage = torch.from_file(str(folder / "holes"), shared=True, size=size, dtype=torch.float16)
    else:
        if torch.cuda.mem_get_info()[0] < 3 * size:
            pytest.skip("the GPU has too little free memory")
        storage = torch.empty(size, dtype=torch.float16, device=DEVICE)
    return storage.as_strided((rows, width), (stride, 1))


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
def test_nothing_waits_for_the_gpu() -> None:
    hidden, weight, _, labels = case(torch.bfloat16)
    case_of_projection = Projection()
    leaves = case_of_projection.leaves(torch.bfloat16)

    def both() -> None:
        ours = leaf(hidden)
        linear_cross_entropy(ours, weight, labels).backward()
        case_of_projection.ours(*leaves).sum().backward()

    both()  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        both()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_autotuned_kernels_give_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lilift_kernels import alignment_projection_triton, autotuning, linear_cross_entropy_triton
    from lilift_kernels.tiles import Blocks

    hidden, weight, _, labels = case(torch.float32, n=20)
    projection = Projection(count=9)

    def both() -> list[Tensor]:
        ours, leaves = leaf(hidden), projection.leaves(torch.float32)
        loss = linear_cross_entropy(ours, weight, labels)
        result = projection.ours(*leaves)
        return [loss, *torch.autograd.grad(loss, ours), result, *torch.autograd.grad(result.square().sum(), leaves)]

    plain = both()
    other = {4: (Blocks(32, 32, 32, 4, 2),)}
    for module in (alignment_projection_triton, linear_cross_entropy_triton):
        monkeypatch.setattr(module, "CANDIDATES", other)
    taken = []
    monkeypatch.setattr(autotuning, "_known", {})
    monkeypatch.setattr(autotuning, "_timed", lambda _, candidates, run: taken.append(run(candidates[-1])) or candidates[-1])
    monkeypatch.setenv(autotuning.SETTING, "1")
    monkeypatch.setenv(autotuning.PLACE, str(tmp_path / "kernels.json"))
    for _ in range(2):
        for tuned, right in zip(both(), plain, strict=True):
            torch.testing.assert_close(tuned, right, rtol=1e-4, atol=1e-5)
    assert len(taken) == 4  # logits and gradient of the loss, forward and backward of the projection; once each
    kernels = {key.partition(" on ")[0].rsplit(" ", 1)[0] for key in autotuning._known[tmp_path / "kernels.json"]}
    assert kernels == {"loss, logits", "loss, gradient", "projection", "projection, backward"}


@contextmanager
def busy_gpu() -> Iterator[None]:
    """Other work in another stream, so that programs start in another order each time."""
    stream = torch.cuda.Stream()
    square = torch.randn(2048, 2048, device=DEVICE)
    with torch.cuda.stream(stream):
        for _ in range(random.randrange(1, 30)):
            torch.mm(square, square)
    yield
    stream.synchronize()


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


class Projection:
    """A projection whose rows and slots are scattered, and its reference."""

    def __init__(self, *, e: int = 40, h: int = 70, d: int = 33, layers: int = 2, count: int = 37, states: int = 60) -> None:
        generator = torch.Generator().manual_seed(0)

        def randn(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(DEVICE)

        def index(size: int, offset: int) -> Tensor:
            return torch.randperm(size, generator=generator)[:count].add(offset).to(DEVICE)

        self.layers = layers
        self.states, self.base = randn(states, e), randn(states + 20, d)
        self.rows, self.slots = index(states, 0), index(states + 10, 5)
        self.boundary = torch.tensor([0, 3], device=DEVICE), torch.tensor([1, 2], device=DEVICE)
        width = h if layers == 2 else d
        self.parameters = [randn(width, e) / e**0.5, randn(width)]
        if layers == 2:
            self.parameters += [randn(d, h) / h**0.5, randn(d)]
        self.parameters += [randn(d), randn(d)]

    def leaves(self, dtype: torch.dtype) -> list[Tensor]:
        return [leaf(tensor, dtype) for tensor in (self.states, *self.parameters, self.base)]

    def ours(self, states: Tensor, *tensors: Tensor) -> Tensor:
        *layers, bos, eos, base = tensors
        return project_into(
            states,
            self.rows,
            self.slots,
            *layers,
            out=base.clone(),
            bos=bos,
            bos_slots=self.boundary[0],
            eos=eos,
            eos_slots=self.boundary[1],
        )

    def reference(self, states: Tensor, *tensors: Tensor) -> Tensor:
        w1, b1, *rest, bos, eos, base = tensors
        soft = torch.nn.functional.linear(states[self.rows], w1, b1)
        if rest:
            soft = torch.nn.functional.linear(torch.nn.functional.gelu(soft), *rest)
        out = base.index_copy(0, self.slots, soft)
        return out.index_copy(0, self.boundary[0], bos.expand(2, -1)).index_copy(0, self.boundary[1], eos.expand(2, -1))


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
