"""The systems of the experiment: settings beside those of the shipped recipe `smollm2-135m-cpu`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.real_models.real_data import LOW

ALIGN_STEPS, TRANSFER_STEPS = 320, 48
ALIGN_ROWS, TRANSFER_ROWS = 32, 16
"""Sentences in a step, about. Rows of other systems have other lengths, so that their tokens for a step differ."""
SOFT_ROW = 8
"""Tokens of a row with one soft token: the soft token, the vectors around it, `Topic:`, and the topic with its end."""
SENTENCE = 30
"""Tokens of an English sentence, in the encoder and in the LLM, about."""


@dataclass(frozen=True)
class System:
    """One way to teach the LLM the task.

    Attributes:
        title: what a table calls it.
        settings: `--set` settings beside those that all systems share.
        row: tokens of a row of stage 2, about. With it, every system sees the same number of sentences in a step.
        align_row: the same for stage 1; by default `row`.
        dictionaries: the languages whose words stage 1 swaps in; by default all that are tested.
        control: also train stage 2 on a layer that stage 1 did not train.
    """

    title: str
    settings: Sequence[str]
    row: int = SOFT_ROW
    align_row: int | None = None
    dictionaries: Sequence[str] = LOW
    control: bool = False


RESPOND = "align.target={respond: 1.0}"
TEXT_ONLY = (
    "encoder={model: none}",
    "alignment={layout: text}",
    "align.skip=true",
)
SYSTEMS: dict[str, System] = {
    "llm-alone": System("LLM alone, tuned on English text", TEXT_ONLY, row=SENTENCE + 8, dictionaries=()),
    "bridge": System("bridge, both stages", [RESPOND], control=True),
    "half-the-steps": System("stage 1 with half the steps (160)", [RESPOND, "align.max_steps=160"]),
    "english-only": System("stage 1 on English alone, no dictionary", [RESPOND, "align.texts=[english]"], dictionaries=()),
    "one-dictionary": System("stage 1 with one dictionary (Swahili)", [RESPOND], dictionaries=["sw"]),
    "three-dictionaries": System("stage 1 with three dictionaries", [RESPOND], dictionaries=["sw", "hi", "th"]),
    "reconstruct": System("stage 1 reconstructs", ["align.target={reconstruct: 1.0}"], align_row=SOFT_ROW + SENTENCE),
    "mixed": System(
        "stage 1 responds and reconstructs",
        ["align.target={respond: 0.5, reconstruct: 0.5}"],
        align_row=SOFT_ROW + SENTENCE // 2,
    ),
    "soft+text": System("layout soft+text", [RESPOND, "alignment.layout=soft+text"], row=SOFT_ROW + SENTENCE),
    "windows-of-8": System("a soft token for 8 states", [RESPOND, "alignment.pool=8"], row=SOFT_ROW + 4),
    "every-state": System("a soft token for every state", [RESPOND, "alignment.pool=1"], row=SOFT_ROW + SENTENCE + 6),
    "layer-mix": System("learned mix of all encoder layers", [RESPOND, "alignment.layers=mix"]),
    "raw-states": System("states as the encoder gives them", [RESPOND, "alignment.scale_states=false"]),
    "not-normalized": System("soft tokens not normalized", [RESPOND, "alignment.normalize=false"]),
    "no-prefix": System("no `query: ` before texts", [RESPOND, "encoder.prefix=''"]),
    "one-latent": System(
        "a Perceiver with one latent", [RESPOND, "alignment.kind=latent", "alignment.latents=1", "alignment.pool=1"]
    ),
}


def settings_of(system: System, seed: int) -> list[str]:
    """The `--set` settings of a system that do not name files."""
    align_tokens = ALIGN_ROWS * (system.align_row or system.row)
    transfer_tokens = TRANSFER_ROWS * system.row
    return [
        f"seed={seed}",
        "align.epochs=1000",
        f"align.max_steps={ALIGN_STEPS}",
        f"align.tokens_per_step={align_tokens}",
        f"align.tokens_per_micro_batch={align_tokens}",
        "transfer.epochs=1000",
        "transfer.learning_rate=3.0e-4",  # the steps are few, also for the LLM alone
        "transfer.lora={rank: 16, alpha: 32}",
        f"transfer.max_steps={TRANSFER_STEPS}",
        f"transfer.tokens_per_step={transfer_tokens}",
        f"transfer.tokens_per_micro_batch={transfer_tokens}",
        f"transfer.control={str(system.control).lower()}",
        f"data.max_tokens={transfer_tokens}",  # no row is longer than a step
        "evaluate.untrained=false",
        "export.formats=[]",
        *system.settings,
    ]
