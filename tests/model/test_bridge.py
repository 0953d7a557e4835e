"""The bridge: what it reads, what learns, how it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.recipe.schema import LoraSettings
from tests.model.trained_bridge import train_one_step, weights_of

BridgeOf = Callable[..., BridgedModel]
RowsOf = Callable[..., list[Row]]
LORA = LoraSettings(rank=2)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_what_is_frozen_stays_bit_for_bit_the_same(quantization: str, bridge_of: BridgeOf, rows_of: RowsOf) -> None:
    bridge = bridge_of(llm_settings={"quantization": quantization})
    rows = rows_of(bridge)
    before = weights_of(bridge)
    bridge.train_only("alignment")
    train_one_step(bridge, rows)
    aligned = weights_of(bridge)
    learned = {f"alignment.{name}" for name, _ in bridge.alignment.named_parameters()}
    assert {name for name in before if not torch.equal(before[name], aligned[name])} == learned, "all of it but its size"

    attach_lora(bridge, LORA)
    bridge.train_only("adapter")
    adapted = weights_of(bridge)
    train_one_step(bridge, rows)
    bridge.generate(rows, max_new_tokens=3)
    after = weights_of(bridge)
    changed = {name for name in adapted if not torch.equal(adapted[name], after[name])}
    assert changed == {name for name in adapted if "lora_B" in name}, "the first step of an adapter moves B alone"


def test_an_adapter_does_not_learn_in_align(bridge_of: BridgeOf) -> None:
    bridge = bridge_of()
    with pytest.raises(ValueError, match="attach a LoRA adapter"):
        bridge.train_only("adapter")
    attach_lora(bridge, LORA)
    bridge.train_only("alignment")
    learning = {name for name, parameter in bridge.named_parameters() if parameter.requires_grad}
    assert learning == {f"alignment.{name}" for name, _ in bridge.alignment.named_parameters()}


def test_padding_is_zero_and_text_is_the_llms_own_embedding(bridge_of: BridgeOf, rows_of: RowsOf) -> None:
    bridge = bridge_of("gemma2")
    rows = rows_of(bridge)
    batch = bridge.collate(rows)
    inputs, mask, positions = bridge.embed(batch)
    assert inputs.shape == (*batch.mask.shape, 32)
    assert not inputs[~mask].any()
    length = int(mask[1].sum())
    assert positions[1, :length].tolist() == list(range(length))
    response = bridge.causal_lm.get_input_embeddings()(torch.tensor(rows[1].response_ids))
    torch.testing.assert_close(inputs[1, length - len(rows[1].response_ids) : length], response)
    bos = bridge.causal_lm.get_input_embeddings()(torch.tensor([bridge.tokens.bos]))
    torch.testing.assert_close(inputs[:, 0], bos.expand(len(rows), -1))
    assert bridge.alignment.bos is not None
    direction = torch.nn.functional.cosine_similarity(inputs[:, 1], bridge.alignment.bos.expand(len(rows), -1), dim=-1)
    torch.testing.assert_close(direction, torch.ones(len(rows)))


def test_every_part_of_the_sequence_is_read(bridge_of: BridgeOf, rows_of: RowsOf) -> None:
    """A boundary vector or a prompt that mask or positions leave out would change nothing."""
    bridge = bridge_of()
    row = rows_of(bridge, prompt_words=3)[0]
    loss = bridge.loss(bridge.collate([row]))
    for name, vector in (("bos", bridge.alignment.bos), ("eos", bridge.alignment.eos)):
        assert vector is not None
        with torch.no_grad():
            vector.add_(1.0 + torch.arange(32) / 32)
        changed = bridge.loss(bridge.collate([row]))
        assert abs(float(changed.detach() - loss.detach())) > 1e-4, name
        loss = changed
    for other in (replace(row, prompt_ids=row.prompt_ids[1:]), replace(row, encoder_ids=row.encoder_ids[1:])):
        assert abs(float((bridge.loss(bridge.collate([other])) - loss).detach())) > 1e-4


def test_micro_batches_add_up_to_one_batch(bridge_of: BridgeOf, rows_of: RowsOf) -> None:
    bridge = bridge_of()
    rows = rows_of(bridge)
    whole = bridge.collate(rows)
    parts = [bridge.collate(rows[:1]), bridge.collate(rows[1:])]
    total = sum(float(bridge.loss(part, num_items=whole.loss_tokens).detach()) for part in parts)
    assert total == pytest.approx(float(bridge.loss(whole).detach()), rel=1e-5)
    unanswered = [replace(row, response_ids=()) for row in rows]
    assert float(bridge.loss(bridge.collate(unanswered)).detach()) == 0.0


def test_a_head_that_is_not_understood_gives_the_same_loss(bridge_of: BridgeOf, rows_of: RowsOf) -> None:
    bridge = bridge_of("gemma2")
    batch = bridge.collate(rows_of(bridge))
    fused = bridge.loss(batch)
    fused.backward()  # type: ignore[no-untyped-call]
    gradient = bridge.alignment.output.weight.grad  # type: ignore[union-attr]
    bridge.alignment.zero_grad()
    bridge._head = None
    plain = bridge.loss(batch)
    plain.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, bridge.alignment.output.weight.grad, rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]


def test_an_adapter_on_the_head_is_trained_through_the_model(bridge_of: BridgeOf, rows_of: RowsOf) -> None:
    bridge = bridge_of()
    attach_lora(bridge, LoraSettings(rank=2, target_modules=("lm_head",)))
    bridge.train_only("adapter")
    with torch.no_grad():
        for name, parameter in bridge.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(1))
    batch = bridge.collate(rows_of(bridge))
    inputs, mask, positions = bridge.embed(batch)
    logits = bridge.llm(inputs_embeds=inputs, attention_mask=mask, position_ids=positions).logits.flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits[batch.loss_rows], batch.loss_labels)
    torch.testing.assert_close(bridge.loss(batch), expected, rtol=1e-5, atol=1e-5)


def test_answers_come_in_the_order_of_the_questions_whatever_the_budget(bridge_of: BridgeOf, rows_of: RowsOf) -> None:
    bridge = bridge_of()
    rows = rows_of(bridge) * 2
    answers = bridge.generate(rows, max_new_tokens=6)
    assert len(set(answers)) == 4
    assert answers[:4] == answers[4:]
    for options in ({"batch_tokens": 1}, {"batch_tokens": 60}, {"batch_rows": 3}):
        assert bridge.generate(rows, max_new_tokens=6, **options) == answers
    assert bridge.generate([], max_new_tokens=6) == []


def test_generation_leaves_modes_and_gradients_as_they_were(bridge_of: BridgeOf, rows_of: RowsOf) -> None:
    bridge = bridge_of()
    bridge.train_only("alignment")
    bridge.train()
    modes = [module.training for module in bridge.modules()]
    rows = rows_of(bridge)
    bridge.generate(rows, max_new_tokens=2)
    assert [module.training for module in bridge.modules()] == modes
    assert not bridge.encoder.training
    bridge.loss(bridge.collate(rows)).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in bridge.alignment.parameters())
