"""An encoder with a head for masked tokens, as the training loop takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lilift.data.adaptation_rows import MASKED_SHAPE
from lilift.data.batches.batching import Batch, collate
from lilift.data.texts.examples import Row
from lilift.model.encoders.adaptable_encoder import AdaptableEncoder
from lilift.model.encoders.masked_token_head import NewHead, OwnHead


class MaskedLearner:
    """A `lilift.train.learner.Learner`. The encoder has no dropout, as in every other phase.

    Args:
        encoder: may carry a LoRA adapter.
        head: names the masked tokens.
    """

    def __init__(self, encoder: AdaptableEncoder, head: NewHead | OwnHead) -> None:
        self.encoder, self.head = encoder, head

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Pack rows of `lilift.data.adaptation_rows.Masking`.

        In this batch `loss_rows` are the places of the tokens that are asked for, as indices into [B * S], and `loss_labels`
        the places of these tokens' scores.
        """
        batch = collate(
            [Row(row.encoder_ids, (), ()) for row in rows],
            MASKED_SHAPE,
            llm_bos=None,
            encoder_pad=self.encoder.tokenizer.pad_id,
        )
        longest = batch.encoder_ids.shape[1]
        places = [number * longest + place for number, row in enumerate(rows) for place in row.prompt_ids]
        tokens = torch.tensor([token for row in rows for token in row.response_ids], dtype=torch.int64)
        return replace(batch, loss_rows=torch.tensor(places, dtype=torch.int64), loss_labels=self.head.classes(tokens))

    def padded_tokens(self, rows: Sequence[Row]) -> int:
        """Positions of the rows' batch, padding included."""
        return len(rows) * max(len(row.encoder_ids) for row in rows)

    def loss(self, batch: Batch, *, num_items: int | None = None) -> Tensor:
        """The sum of the cross-entropies of the tokens that are asked for, divided by `num_items`."""
        states = self.encoder.states(batch.encoder_ids, batch.encoder_mask)  # [B, S, E]
        scores = self.head(states.flatten(0, 1)[batch.loss_rows])  # [N, C]
        loss = nn.functional.cross_entropy(scores, batch.loss_labels, reduction="sum")
        return loss if num_items is None else loss / num_items

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Every parameter of the encoder and of the head, each once."""
        seen: set[int] = set()
        for part, module in (("encoder", self.encoder.half), ("head", self.head)):
            for name, parameter in module.named_parameters():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield f"{part}.{name}", parameter

    def train(self, mode: bool = True) -> MaskedLearner:  # noqa: ARG002
        """Stay as it is."""
        return self
