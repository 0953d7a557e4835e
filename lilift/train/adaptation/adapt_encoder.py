"""Adapts an encoder to languages that it has never read: it fills in masked tokens of running text, half of it English.

If the encoder's files hold no head for that, lilift first fits a new one on the frozen encoder, in English, which the encoder
knows. A head that had learned the other language too would leave the encoder little to learn (docs/log.md). Then a LoRA adapter
on the encoder learns, and the new head with it. lilift merges the adapter, and leaves a sealed folder that loads like any
encoder. Both parts have checkpoints, so that an interrupted adaptation goes on where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lilift.data.adaptation_rows import (
    LONGEST,
    MASKED_SHAPE,
    TOKENS_PER_STEP,
    AdaptationRows,
    Masking,
    Tokens,
    kept_back,
    most_frequent,
    pieces,
)
from lilift.data.batches.step_grouping import StepPlan
from lilift.model.encoders.adaptable_encoder import (
    AdaptableEncoder,
    load_adaptable,
    save_encoder,
    token_ids,
    with_lora,
)
from lilift.model.encoders.masked_token_head import MOST_CLASSES, NewHead, OwnHead
from lilift.model.encoders.run_encoder import ADAPTED
from lilift.recipe import sealed_folders
from lilift.recipe.errors import DataError
from lilift.recipe.schema import EncoderSettings, TransferSettings
from lilift.recipe.storage import remove_partial
from lilift.train.adaptation.masked_learner import MaskedLearner
from lilift.train.loop import train_stage
from lilift.train.stage_job import StageJob
from lilift.train.tracking.tracker import Tracker
from lilift.train.training_progress import StageProgress

ADAPTATION = "adaptation.json"
FEWEST_TEXTS = 20
HEAD_STEPS, HEAD_RATE = 200, 5e-3
_HEAD = "head"
_CHECKPOINT_EVERY = 50


@dataclass(frozen=True)
class AdaptationResult:
    """What an adaptation read and reached.

    Attributes:
        texts: texts that it learned from, by language; long lines count as several.
        unseen: texts kept back to measure on, by language.
        steps: optimizer steps.
        parameters: of the LoRA adapter.
        new_head: whether lilift fitted a head first, because the encoder's files have none.
        before, after: mean cross-entropy in nats of the tokens that are asked for in the texts kept back, by language, before
            the adaptation and with the merged encoder; without a language of which no text was kept back.
    """

    texts: dict[str, int]
    unseen: dict[str, int]
    steps: int
    parameters: int
    new_head: bool
    before: dict[str, float]
    after: dict[str, float]

    def lines(self) -> list[str]:
        """The result for the user."""
        read = ", ".join(f"{count:,} in {code}" for code, count in self.texts.items())
        found = [f"read {read}; {self.parameters:,} parameters learned in {self.steps} steps"]
        for code, after in self.after.items():
            before = self.before[code]
            head = " (the new head had read English alone)" if self.new_head and code != "en" else ""
            found.append(
                f"{code}: loss {before:.3f} before{head} and {after:.3f} after, on {self.unseen[code]} texts kept back"
            )
            if code != "en" and after >= before:
                found.append(f"warning: the loss in {code} has not fallen; lower or raise encoder.adapt.learning_rate")
        return found


def adapt_encoder(
    settings: EncoderSettings,
    texts: Mapping[str, Sequence[str]],
    english: Sequence[str],
    where: Path,
    *,
    fingerprint: str,
    seed: int,
    device: torch.device,
    progress: StageProgress,
    predicted_mib: float | None = None,
    tracker: Tracker | None = None,
) -> AdaptationResult:
    """Adapt an encoder, or go on with it, and seal it in `where`. A finished adaptation is only read.

    Args:
        settings: the recipe's section `encoder`, with `adapt`.
        texts: lines of text by language.
        english: English texts.
        where: the folder of the phase.
        fingerprint: a digest of everything in the recipe that the result depends on.
        seed: of the adapter's first weights, the masks and the order of the texts.
        device: trains.
        progress: shows what happens.
        predicted_mib: the planned peak; lilift shows it beside the measured one.
        tracker: copies the lines of metrics to another program.

    Raises:
        DataError: there are too few texts.
        LiliftError: see `lilift.train.loop.train_stage`.
    """
    adapt, folder = settings.adapt, where / ADAPTED
    assert adapt is not None
    if folder.exists():
        details = sealed_folders.verify_part(folder, if_damaged="delete this folder, and run again with --resume")
        if details.get("fingerprint") == fingerprint:
            _forget_training(where)
            return AdaptationResult(**details["result"])
        sealed_folders.clear_folder(folder)
    remove_partial(where)
    encoder = load_adaptable(settings, device=device)
    rows = {code: token_ids(encoder, {code: pieces(some)}, min(LONGEST, settings.max_tokens)) for code, some in texts.items()}
    foreign = sum(map(len, rows.values()))
    if foreign < FEWEST_TEXTS:
        raise DataError(
            f"the running text has only {foreign} texts, too few to adapt an encoder",
            where="encoder.adapt.text",
            remedy=f"give at least {FEWEST_TEXTS} lines, and better a few thousand",
        )
    rows["en"] = token_ids(encoder, {"en": pieces(english)}, min(LONGEST, settings.max_tokens))
    split = {code: kept_back(some, seed) for code, some in rows.items()}
    learned = {code: some for code, (some, _) in split.items()}
    known = most_frequent([text for some in rows.values() for text in some], MOST_CLASSES)
    head: NewHead | OwnHead = encoder.own_head or NewHead(_width(encoder), known, seed=seed)
    learner = MaskedLearner(encoder, head.to(device))
    masking = Masking(encoder.mask, frozenset(known) - encoder.unasked, seed)
    foreign_texts = [text for code, some in learned.items() if code != "en" for text in some]
    source = AdaptationRows(foreign_texts, learned["en"], masking)
    common: dict[str, Any] = {"source": source, "plan": _step_plan(seed), "fingerprint": fingerprint, "seed": seed}
    common |= {"section": "encoder.adapt", "resume": True}
    if isinstance(head, NewHead):
        rates = stage_settings(steps=min(HEAD_STEPS, adapt.steps), rate=HEAD_RATE)
        known_texts = {"source": AdaptationRows(learned["en"] or foreign_texts, [], masking)}
        job = StageJob(name="adapt, new head", settings=rates, folder=where / _HEAD, **(common | known_texts))
        train_stage(learner, job, progress)
    unseen = {code: some for code, (_, some) in split.items() if some}
    before = {code: mean_loss(learner, some, masking, device) for code, some in unseen.items()}
    adapted = with_lora(encoder.half, adapt.rank, seed=seed)
    parameters = sum(one.numel() for one in encoder.half.parameters() if one.requires_grad)
    job = StageJob(
        name="adapt",
        settings=stage_settings(steps=adapt.steps, rate=adapt.learning_rate),
        folder=where,
        predicted_mib=predicted_mib,
        tracker=tracker,
        **common,
    )
    train_stage(learner, job, progress)
    adapted.merge_and_unload()
    result = AdaptationResult(
        texts={code: len(some) for code, some in learned.items()},
        unseen={code: len(some) for code, some in unseen.items()},
        steps=adapt.steps,
        parameters=parameters,
        new_head=isinstance(head, NewHead),
        before=before,
        after={code: mean_loss(learner, some, masking, device) for code, some in unseen.items()},
    )
    with sealed_folders.sealed_folder(folder, {"fingerprint": fingerprint, "result": asdict(result)}) as partial:
        save_encoder(encoder, settings, partial)
    _forget_training(where)
    return result


@torch.no_grad()
def mean_loss(learner: MaskedLearner, texts: Sequence[Tokens], masking: Masking, device: torch.device) -> float:
    """Mean cross-entropy of the tokens that are asked for, in nats; with the same masks in every call."""
    rows = [row for index, text in enumerate(texts) if (row := masking.row(text, -1, index)) is not None]
    total, count = 0.0, 0
    step = TOKENS_PER_STEP // LONGEST
    for start in range(0, len(rows), step):
        batch = learner.collate(rows[start : start + step]).to(device)
        total += learner.loss(batch).item()
        count += batch.loss_tokens
    return round(total / max(1, count), 4)


def stage_settings(*, steps: int, rate: float) -> TransferSettings:
    """The settings of the training loop for an adaptation or for its head."""
    return TransferSettings(
        epochs=10_000,  # the number of steps ends the training
        max_steps=steps,
        learning_rate=rate,
        schedule="cosine",
        warmup_ratio=0.05,
        weight_decay=0.01,
        optimizer="adamw",
        tokens_per_step=TOKENS_PER_STEP,
        tokens_per_micro_batch=TOKENS_PER_STEP,
        checkpoint_every=_CHECKPOINT_EVERY,
        keep_checkpoints=1,
    )


def _step_plan(seed: int) -> StepPlan:
    return StepPlan(
        shape=MASKED_SHAPE,
        has_llm_bos=False,
        tokens_per_step=TOKENS_PER_STEP,
        tokens_per_micro_batch=TOKENS_PER_STEP,
        seed=seed,
    )


def _width(encoder: AdaptableEncoder) -> int:
    return int(encoder.half.config.get_text_config().hidden_size)


def _forget_training(where: Path) -> None:
    """Delete the checkpoints of a finished adaptation, and the traces of its head."""
    for folder in (where / "checkpoints", where / _HEAD):
        shutil.rmtree(folder, ignore_errors=True)
