"""What the project stands on: a row's loss, gradient and answer are its own, whatever rows run beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig

from lilift.data.batches.batching import Batch
from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.recipe.schema import LoraSettings

ROWS = 4
BATCHES = ((0, 1, 2, 3), (3, 1, 0, 2), (2, 1), (1, 2, 1))  # by row; the last one holds a row twice
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Case:
    """One LLM, one encoder, and how they are joined."""

    llm: str
    encoder: str
    kind: str = "ffn"
    layout: str = "soft"
    quantization: str = "none"

    def __str__(self) -> str:
        return "-".join((self.llm, self.encoder, self.kind, self.layout, self.quantization))


CASES = (
    Case("llama", "mt5"),
    Case("llama", "mt5", "linear", "soft+text", "nf4"),
    Case("mistral", "umt5", "ffn", "soft+text"),
    Case("qwen2", "byt5", "linear"),
    Case("qwen3", "nllb", "latent", "soft+text"),
    Case("gemma2", "xlmr", "ffn", "soft+text"),
    Case("gemma3", "umt5", "latent"),
    Case("phi3", "mt5", "linear", "soft+text"),
    Case("gpt2", "xlmr"),
    Case("gemma2", "nllb", "linear", "soft", "nf4"),
)


@pytest.fixture(scope="module", params=CASES, ids=str)
def bridged(
    request: pytest.FixtureRequest, bridge_of: Callable[..., BridgedModel], rows_of: Callable[..., list[Row]]
) -> tuple[BridgedModel, list[Row]]:
    """A bridge and four rows for it."""
    case: Case = request.param
    bridge = bridge_of(
        case.llm,
        case.encoder,
        llm_settings={"quantization": case.quantization},
        alignment={"kind": case.kind, "layout": case.layout, "latents": 5},
    )
    bridge.train_only("alignment")
    bridge.train()
    return bridge, rows_of(bridge, prompt_words=6 if case.layout == "soft+text" else 1)


def loss_and_gradients(bridge: BridgedModel, rows: Sequence[Row], place: int, **options: Any) -> dict[str, Tensor]:
    """The loss of the row at `place` of a batch, and its gradients by everything that learns."""
    batch = bridge.collate(rows, **options)
    longest = batch.mask.shape[1]
    chosen = batch.loss_rows // longest == place
    batch = replace(batch, loss_rows=batch.loss_rows[chosen], loss_labels=batch.loss_labels[chosen])
    loss = bridge.loss(batch, num_items=10)
    learning = {name: parameter for name, parameter in bridge.named_parameters() if parameter.requires_grad}
    gradients = torch.autograd.grad(loss, list(learning.values()))
    return {"loss": loss.detach(), **dict(zip(learning, gradients, strict=True))}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], message: str) -> None:
    for name, value in expected.items():
        scale = float(value.abs().max().clamp_min(1.0))
        difference = float((found[name] - value).abs().max()) / scale
        assert difference < TOLERANCE, f"{message}: {name} differs by {difference:.1e}"


def check_every_batch(bridge: BridgedModel, rows: list[Row]) -> None:
    alone = [loss_and_gradients(bridge, [row], 0) for row in rows]
    assert len({round(float(values["loss"]), 4) for values in alone}) == ROWS, "the rows differ"
    for name in alone[0]:
        assert any(values[name].abs().max() > 0 for values in alone), f"nothing reaches {name}"
    for order in BATCHES:
        for place, index in enumerate(order):
            for left_pad in (False, True):
                found = loss_and_gradients(bridge, [rows[other] for other in order], place, left_pad=left_pad)
                side = "left" if left_pad else "right"
                assert_same(found, alone[index], f"row {index} at {place} of {order}, padded on the {side}")


def test_loss_and_gradient_are_the_rows_own_in_align(bridged: tuple[BridgedModel, list[Row]]) -> None:
    check_every_batch(*bridged)


def test_generation_is_the_rows_own(bridged: tuple[BridgedModel, list[Row]]) -> None:
    """Against transformers' own loop on each row alone: in any batch, and where rows take the places of others."""
    bridge, rows = bridged
    tokens = [continued_by_transformers(bridge, row, 14) for row in rows]
    texts = [bridge.llm_tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens]
    assert any(len(ids) > 10 for ids in tokens), "long enough to leave a sliding window"
    assert len({tuple(ids) for ids in tokens}) > 1, "the answers depend on the question"
    for order in BATCHES:
        for options in ({}, {"batch_rows": 1}, {"batch_rows": 2}):
            answers = bridge.generate([rows[index] for index in order], max_new_tokens=14, batch_tokens=10_000, **options)
            assert answers == [texts[index] for index in order], (order, options)


def test_the_loss_is_that_of_transformers(bridged: tuple[BridgedModel, list[Row]]) -> None:
    bridge, rows = bridged
    batch = bridge.collate(rows)
    with torch.no_grad():
        inputs, mask, positions = bridge.embed(batch)
        labels = labels_of(batch)
        expected = bridge.causal_lm(inputs_embeds=inputs, attention_mask=mask, position_ids=positions, labels=labels).loss
        torch.testing.assert_close(bridge.loss(batch), expected.float(), rtol=TOLERANCE, atol=TOLERANCE)


def test_loss_and_gradient_are_the_rows_own_in_transfer(bridged: tuple[BridgedModel, list[Row]]) -> None:
    bridge, rows = bridged
    attach_lora(bridge, LoraSettings(rank=2))
    bridge.train_only("adapter")
    bridge.train()
    with torch.no_grad():
        for name, parameter in bridge.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.02, generator=torch.Generator().manual_seed(len(name)))
    check_every_batch(bridge, rows)


def labels_of(batch: Batch) -> Tensor:
    """Labels as transformers wants them: each token at its own position, -100 where there is no loss."""
    labels = torch.full(batch.mask.shape, -100)
    labels.view(-1)[batch.loss_rows + 1] = batch.loss_labels
    return labels


def continued_by_transformers(bridge: BridgedModel, row: Row, count: int) -> list[int]:
    """The greedy answer to one row by transformers' own loop, up to its stop token."""
    bridge.eval()
    inputs, mask, positions = bridge.embed(bridge.collate([replace(row, response_ids=())], left_pad=True))
    greedy = GenerationConfig(
        max_new_tokens=count, do_sample=False, eos_token_id=list(bridge.tokens.stop), pad_token_id=bridge.tokens.eos
    )
    new = bridge.causal_lm.generate(
        inputs_embeds=inputs, attention_mask=mask.long(), position_ids=positions, generation_config=greedy
    )[0].tolist()
    bridge.train()
    return [token for token in new if token not in bridge.tokens.stop]
