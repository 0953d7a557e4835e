"""How the loss cuts its work on a GPU: chunks of rows, and slices of the vocabulary, within a fixed workspace."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 2**20
WORKSPACE_BYTES = 44 * MEBIBYTE  # of the loss, for any V
LOGIT_BYTES = SUM_BYTES = 4  # logits and sums are fp32
MOST_ROWS = 1280  # of a chunk: enough for the library's products to run at their full rate
MOST_COLUMNS = 8192  # of a slice: one program of the kernel holds a row of it in its registers
COLUMN_STEP = 64  # slices are whole multiples of it, so that every row begins where the library's products read fastest
ROW_STEP = 8
STATES_SHARE = 1 / 2  # of the workspace, at most, for the gradient's running sums
ROW_SUMS = 5  # numbers in fp32 that a row keeps from slice to slice


@dataclass(frozen=True)
class LossCut:
    """The cut of a loss: at most ``rows`` rows at a time, times ``columns`` columns of the vocabulary."""

    rows: int
    columns: int


# Rows of a chunk that autotuning times beside the table's choice.
CANDIDATE_ROWS = (512, 768, 1024, 1536, 2048)


def loss_cut(rows: int, vocabulary: int, width: int, *, with_gradient: bool, most_rows: int = MOST_ROWS) -> LossCut:
    """The cut of a loss over ``rows`` rows and a head [vocabulary, width].

    Chunks are of one size, and so are slices. A slice has as many columns as fit into the workspace beside the running sums.
    """
    sums = SUM_BYTES * width if with_gradient else 0
    if sums:
        most_rows = max(ROW_STEP, min(most_rows, int(STATES_SHARE * WORKSPACE_BYTES) // sums))
    chunk = _even(max(rows, 1), most_rows, ROW_STEP)
    room = WORKSPACE_BYTES // chunk - sums - SUM_BYTES * ROW_SUMS
    return LossCut(chunk, _even(vocabulary, min(room // LOGIT_BYTES, MOST_COLUMNS), COLUMN_STEP))


def workspace_bytes(cut: LossCut, rows: int, width: int, element_bytes: int, *, with_gradient: bool) -> int:
    """Bytes that a loss over ``rows`` rows, cut by ``cut``, allocates beyond its arguments and results.

    With a gradient the gathered hidden states lie in the gradient's memory until it is written.
    """
    per_row = LOGIT_BYTES * cut.columns + SUM_BYTES * ROW_SUMS + (SUM_BYTES if with_gradient else element_bytes) * width
    return min(cut.rows, rows) * per_row


def _even(size: int, most: int, step: int) -> int:
    """The size of a part, a multiple of ``step``: as few parts as ``most`` allows, all but the last of one size."""
    parts = -(-size // max(most - most % step, step))
    return -(-size // (parts * step)) * step
