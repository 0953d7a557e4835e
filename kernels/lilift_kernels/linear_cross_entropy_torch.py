"""Linear cross-entropy in plain torch: chunks of rows against tiles of the vocabulary, never the full logits.

One sweep over the head gives a chunk's losses and its gradient. Following the online softmax (Milakov and Gimelshein, arXiv
1805.02867) and attention with keys = values = head (Dao et al., arXiv 2205.14135), a tile's exponentials multiply the tile
itself, and the running sum is rescaled whenever the running maximum grows. The label's own logit stays out of maximum, sum
and product: what remains is the probability of being wrong, so rows the model is sure of keep a gradient with full relative
    precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lilift_kernels.loss_options import LossOptions

# Bytes that a chunk of rows and a tile of the head may take together, and the rows of a chunk. On a CPU the tile is small
# enough for the outer caches to hold; on a GPU the fallback prefers large products.
CPU_TILE_BYTES, CPU_ROWS = 12 * 2**20, 512
GPU_TILE_BYTES, GPU_ROWS = 64 * 2**20, 1024
SMALLEST_TILE = 256


@dataclass(frozen=True)
class Chunking:
    """How the work is cut: ``rows`` rows against ``columns`` columns of the vocabulary at a time."""

    rows: int
    columns: int

    def tiles(self, vocabulary: int) -> Iterator[slice]:
        for start in range(0, vocabulary, self.columns):
            yield slice(start, min(start + self.columns, vocabulary))

    def chunks(self, rows: int) -> Iterator[slice]:
        for start in range(0, rows, self.rows):
            yield slice(start, min(start + self.rows, rows))


def chunking(rows: int, vocabulary: int, width: int, *, on_gpu: bool) -> Chunking:
    """Rows per chunk and columns per tile, so that a tile of logits and a tile of the head stay within the budget."""
    budget, most_rows = (GPU_TILE_BYTES, GPU_ROWS) if on_gpu else (CPU_TILE_BYTES, CPU_ROWS)
    chunk_rows = max(1, min(rows, most_rows))
    columns = budget // (4 * (chunk_rows + width))
    columns = max(SMALLEST_TILE, columns - columns % SMALLEST_TILE)
    return Chunking(chunk_rows, max(1, min(columns, vocabulary)))


def losses_and_gradient(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    rows: Tensor | None,
    scale: Tensor,
    options: LossOptions,
    *,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, log-sum-exps and, if asked for, the gradient of each loss by its own hidden state.

    Args:
        hidden: [M, D], any strides.
        weight: [V, D]; bias: [V] or None.
        labels: [N]; rows: [N], the row of ``hidden`` each label belongs to, or None for row i with label i (N == M).
        scale: a scalar that multiplies losses and gradients.

    Returns:
        losses [N] and log-sum-exps [N] in fp32 (fp64 for fp64 input), 0 where ignored; gradient [N, D] in the type of
        ``hidden``, or empty.

    Raises:
        IndexError: a label or a row is out of range (on a GPU a label out of range gives a loss of NaN instead).
    """
    accumulate = accumulation_type(hidden.dtype)
    losses = torch.zeros(labels.shape, dtype=accumulate, device=hidden.device)
    log_sums = torch.zeros_like(losses)
    gradient = hidden.new_zeros((labels.shape[0], hidden.shape[1]) if with_gradient else (0,))
    kept, sources = compact(labels, rows, options.ignore_index)
    cut = chunking(kept.shape[0], weight.shape[0], weight.shape[1], on_gpu=hidden.is_cuda)
    column_sum = _column_sum(weight, cut, accumulate) if with_gradient and _needs_column_sum(options) else None
    for chunk in cut.chunks(kept.shape[0]):
        index = kept[chunk]
        target = _targets(labels[index], weight.shape[0], options.ignore_index)
        state = _sweep(
            hidden.index_select(0, sources[chunk]).to(product_type(hidden)),
            weight,
            bias,
            target.labels,
            cut,
            options,
            with_gradient=with_gradient,
        )
        loss = state.loss(options, weight.shape[0]) * scale
        losses[index] = target.mask_(loss, poison=True)
        log_sums[index] = target.mask_(state.log_sum())
        if with_gradient:
            rows_gradient = state.gradient(weight[target.labels].to(accumulate), column_sum, options, weight.shape[0])
            gradient[index] = target.mask_(rows_gradient.mul_(scale), poison=True).to(hidden.dtype)
            del rows_gradient
        del state  # before the next chunk's takes its place
    return losses, log_sums, gradient


def weight_gradient(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    rows: Tensor | None,
    log_sums: Tensor,
    upstream: Tensor,
    options: LossOptions,
) -> tuple[Tensor, Tensor]:
    """Gradient by the head [V, D] and by the bias [V] (empty without one), for a loss whose row i counts ``upstream[i]`` times.

    Tile by tile of the vocabulary: the logits are computed a second time, their softmax comes from the saved ``log_sums``,
    and the tile of the gradient is complete once every chunk of rows has been through.
    """
    accumulate = accumulation_type(hidden.dtype)
    gradient = torch.empty_like(weight, memory_format=torch.contiguous_format)
    bias_gradient = weight.new_empty(weight.shape[0] if bias is not None else 0)
    kept, sources = compact(labels, rows, options.ignore_index)
    cut = chunking(kept.shape[0], weight.shape[0], weight.shape[1], on_gpu=hidden.is_cuda)
    if kept.shape[0] == 0:
        return gradient.zero_(), bias_gradient.zero_()
    # Errors are multiplied as 16-bit numbers on a GPU: keep the upstream gradient (a loss scale, say) out of their range.
    largest = upstream.abs().amax().clamp_min(torch.finfo(accumulate).tiny)
    factors = upstream / largest * options.logit_scale
    for tile in cut.tiles(weight.shape[0]):
        columns = weight[tile].to(product_type(hidden))
        total = torch.zeros(columns.shape, dtype=accumulate, device=hidden.device)  # [C, D]
        bias_total = total.new_zeros(columns.shape[0])
        for chunk in cut.chunks(kept.shape[0]):
            index = kept[chunk]
            target = _targets(labels[index], weight.shape[0], options.ignore_index)
            states = hidden.index_select(0, sources[chunk]).to(columns.dtype)
            error = _logit_errors(
                _logits(states, columns, _slice(bias, tile), options),
                log_sums[index].unsqueeze(1),
                (target.labels - tile.start).unsqueeze(1),
                options,
                weight.shape[0],
            )
            error *= target.mask_(factors[index], poison=True).unsqueeze(1)
            _add_product(total, error.t().to(states.dtype), states)
            bias_total += error.sum(0)
            del states, error
        gradient[tile] = total.mul_(largest).to(gradient.dtype)
        if bias is not None:
            bias_gradient[tile] = bias_total.mul_(largest).to(bias_gradient.dtype)
        del columns, total
    return gradient, bias_gradient


def accumulation_type(dtype: torch.dtype) -> torch.dtype:
    """The type sums are kept in: fp32, or fp64 for fp64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def product_type(hidden: Tensor) -> torch.dtype:
    """The type of the operands of matrix products.

    A GPU multiplies 16-bit numbers and sums in fp32; elsewhere torch rounds the result of a 16-bit product, so the operands are
    widened first, one tile at a time.
    """
    return hidden.dtype if hidden.is_cuda else accumulation_type(hidden.dtype)


def compact(labels: Tensor, rows: Tensor | None, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The positions [K] in ``labels`` that are worked on, and the rows [K] of ``hidden`` that they read.

    With ``rows`` given the caller has already left ignored positions out, so all are taken: nothing depends on the data.
    """
    if rows is not None:
        return torch.arange(labels.shape[0], device=labels.device), rows
    kept = (labels != ignore_index).nonzero().squeeze(1)
    return kept, kept


@dataclass(frozen=True)
class _Targets:
    labels: Tensor  # [R] each within the vocabulary
    ignored: Tensor  # [R] bool
    outside: Tensor  # [R] bool

    def mask_(self, values: Tensor, *, poison: bool = False) -> Tensor:
        """``values`` [R] or [R, D], in place, with 0 where ignored and, if ``poison``, NaN where the label is out of range."""
        shape = (-1,) + (1,) * (values.dim() - 1)
        values.masked_fill_(self.ignored.view(shape), 0.0)
        return values.masked_fill_(self.outside.view(shape), float("nan")) if poison else values


def _targets(labels: Tensor, vocabulary: int, ignore_index: int) -> _Targets:
    ignored = labels == ignore_index
    outside = ((labels < 0) | (labels >= vocabulary)) & ~ignored
    return _Targets(labels.masked_fill(ignored | outside, 0), ignored, outside)


@dataclass
class _Softmax:
    """Running sums over the vocabulary for a chunk of R rows, the label's column left out."""

    maximum: Tensor  # [R]
    total: Tensor  # [R] sum of exp(z - maximum)
    label_logit: Tensor  # [R]
    label_slope: Tensor  # [R] derivative of the capped by the plain logit, at the label
    logit_sum: Tensor  # [R] sum of all logits, the label's too (label smoothing)
    product: Tensor | None  # [R, D] sum of exp(z - maximum) * slope * w
    slope_product: Tensor | None  # [R, D] sum of slope * w (label smoothing under a softcap)

    def others(self) -> Tensor:
        return self.maximum + self.total.log()

    def log_sum(self) -> Tensor:
        return torch.logaddexp(self.others(), self.label_logit)

    def loss(self, options: LossOptions, vocabulary: int) -> Tensor:
        wrong = self.others() - self.label_logit
        loss = torch.logaddexp(wrong, torch.zeros_like(wrong))  # lse - z_y, exact where it is tiny
        if options.label_smoothing:
            spread = self.log_sum() - self.logit_sum / vocabulary
            loss = (1 - options.label_smoothing) * loss + options.label_smoothing * spread
        if options.z_loss:
            loss = loss + options.z_loss * self.log_sum().square()
        return loss

    def gradient(self, label_rows: Tensor, column_sum: Tensor | None, options: LossOptions, vocabulary: int) -> Tensor:
        """Gradient [R, D] of each row's loss by its hidden state; ``label_rows`` [R, D] are the head's rows of the labels."""
        assert self.product is not None
        log_sum = self.log_sum()
        pull = 1 + 2 * options.z_loss * log_sum  # d loss / d lse
        wrong = torch.sigmoid(self.others() - self.label_logit)  # 1 - p_y
        label_factor = options.label_smoothing - wrong + (pull - 1) * (1 - wrong)
        factor = pull / (self.total + torch.exp(self.label_logit - self.maximum))
        result = self.product * factor.unsqueeze(1)
        result += label_rows * (label_factor * self.label_slope).unsqueeze(1)
        if options.label_smoothing:
            uniform = column_sum if self.slope_product is None else self.slope_product
            assert uniform is not None
            result -= uniform * (options.label_smoothing / vocabulary)
        return result.mul_(options.logit_scale)


def _sweep(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    cut: Chunking,
    options: LossOptions,
    *,
    with_gradient: bool,
) -> _Softmax:
    """All tiles of the vocabulary for one chunk of rows [R, D]."""
    accumulate = accumulation_type(states.dtype)
    zeros = torch.zeros(states.shape[0], dtype=accumulate, device=states.device)

    def sums() -> Tensor:
        return torch.zeros(states.shape, dtype=accumulate, device=states.device)

    running = _Softmax(
        maximum=zeros - float("inf"),
        total=zeros.clone(),
        label_logit=zeros.clone(),
        label_slope=zeros + 1,
        logit_sum=zeros.clone(),
        product=sums() if with_gradient else None,
        slope_product=sums() if with_gradient and options.softcap is not None and options.label_smoothing else None,
    )
    for tile in cut.tiles(weight.shape[0]):
        _absorb(running, states, weight[tile].to(states.dtype), _slice(bias, tile), labels - tile.start, options)
    return running


def _absorb(
    running: _Softmax, states: Tensor, columns: Tensor, bias: Tensor | None, position: Tensor, options: LossOptions
) -> None:
    """Add one tile of the head, ``columns`` [C, D]; ``position`` [R] is the label's place relative to the tile."""
    logits = _logits(states, columns, bias, options)  # [R, C]
    slope = None if running.product is None else _softcap_slope(logits, options)
    if options.label_smoothing:
        running.logit_sum += logits.sum(1)
    _take_label_out(running, logits, slope, position)
    maximum = torch.maximum(running.maximum, logits.amax(1))
    reference = maximum.masked_fill(maximum == -float("inf"), 0.0)  # nothing but the label seen so far
    shrink = torch.exp(running.maximum - reference)
    weights = logits.sub_(reference.unsqueeze(1)).exp_()
    running.total.mul_(shrink).add_(weights.sum(1))
    running.maximum = maximum
    if running.product is None:
        return
    if slope is not None:
        weights *= slope
        if running.slope_product is not None:
            _add_product(running.slope_product, slope.to(columns.dtype), columns)
    running.product.mul_(shrink.unsqueeze(1))
    _add_product(running.product, weights.to(columns.dtype), columns)


def _take_label_out(running: _Softmax, logits: Tensor, slope: Tensor | None, position: Tensor) -> None:
    """Note the label's logit and slope where the label lies in this tile, and put -inf in its place."""
    inside = (position >= 0) & (position < logits.shape[1])
    column = position.clamp(0, logits.shape[1] - 1).unsqueeze(1)
    found = logits.gather(1, column)
    running.label_logit = torch.where(inside, found.squeeze(1), running.label_logit)
    logits.scatter_(1, column, found.masked_fill(inside.unsqueeze(1), -float("inf")))
    if slope is not None:
        running.label_slope = torch.where(inside, slope.gather(1, column).squeeze(1), running.label_slope)


def _logits(states: Tensor, columns: Tensor, bias: Tensor | None, options: LossOptions) -> Tensor:
    """Scaled and capped logits [R, C] in the accumulation type."""
    logits = _product(states, columns.t(), accumulation_type(states.dtype))
    if bias is not None:
        logits += bias
    if options.logit_scale != 1.0:
        logits *= options.logit_scale
    if options.softcap is not None:
        logits.div_(options.softcap).tanh_().mul_(options.softcap)
    return logits


def _logit_errors(logits: Tensor, log_sum: Tensor, position: Tensor, options: LossOptions, vocabulary: int) -> Tensor:
    """Derivative [R, C] of each row's loss by the plain logits of one tile; ``logits`` is used up.

    ``log_sum`` and ``position`` are [R, 1], the position relative to the tile.
    """
    slope = _softcap_slope(logits, options)
    error = logits.sub_(log_sum).exp_().mul_(1 + 2 * options.z_loss * log_sum)
    error -= options.label_smoothing / vocabulary
    inside = (position >= 0) & (position < error.shape[1])
    pull = inside.to(error.dtype) * (options.label_smoothing - 1)
    error.scatter_add_(1, position.clamp(0, error.shape[1] - 1), pull)
    return error if slope is None else error.mul_(slope)


def _softcap_slope(logits: Tensor, options: LossOptions) -> Tensor | None:
    """d(capped logit) / d(plain logit), from the capped ones; None without a cap."""
    if options.softcap is None:
        return None
    return 1 - (logits / options.softcap).square_()


def _needs_column_sum(options: LossOptions) -> bool:
    return options.label_smoothing > 0 and options.softcap is None


def _column_sum(weight: Tensor, cut: Chunking, accumulate: torch.dtype) -> Tensor:
    """Sum of the head's rows [D]: what label smoothing pushes every hidden state away from."""
    total = torch.zeros(weight.shape[1], dtype=accumulate, device=weight.device)
    for tile in cut.tiles(weight.shape[0]):
        total += weight[tile].sum(0, dtype=accumulate)
    return total


def _product(left: Tensor, right: Tensor, accumulate: torch.dtype) -> Tensor:
    if left.dtype == accumulate:
        return torch.mm(left, right)
    return torch.mm(left, right, out_dtype=accumulate)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += torch.mm(left, right, out_dtype=total.dtype)


def _slice(bias: Tensor | None, tile: slice) -> Tensor | None:
    return None if bias is None else bias[tile]
