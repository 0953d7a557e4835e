"""The alignment layer's kinds, against their formulas written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from lilift.data.batches.batching import collate
from lilift.data.texts.examples import Row
from lilift.model.alignment_layer import AlignmentLayer, LatentLayer, ProjectionLayer, build_alignment
from lilift.recipe.schema import AlignmentSettings

E, D, LATENTS = 6, 10, 3
LENGTHS = (2, 5, 3)


def layer_of(kind: str, seed: int = 0, normalize: bool = False) -> AlignmentLayer:
    settings = AlignmentSettings.model_validate({"kind": kind, "latents": LATENTS, "expansion": 2, "normalize": normalize})
    return build_alignment(settings, encoder_size=E, llm_size=D, seed=seed)


def states_of_three_texts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mask = torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]
    states = torch.randn(3, max(LENGTHS), E, generator=torch.Generator().manual_seed(3))
    return states, mask, mask.flatten().nonzero().squeeze(1)


def test_ffn_is_linear_gelu_linear() -> None:
    layer = layer_of("ffn")
    assert isinstance(layer, ProjectionLayer)
    assert layer.hidden is not None
    states, mask, rows = states_of_three_texts()
    hidden = functional.gelu(functional.linear(states[mask], layer.hidden.weight, layer.hidden.bias), approximate="none")
    expected = functional.linear(hidden, layer.output.weight, layer.output.bias)
    torch.testing.assert_close(layer(states, mask, rows), expected)
    assert layer.hidden.out_features == 2 * E
    assert (layer.shape.has_bos, layer.shape.has_eos, layer.shape.latents) == (True, True, None)


def test_linear_is_linear() -> None:
    layer = layer_of("linear")
    assert isinstance(layer, ProjectionLayer)
    states, mask, rows = states_of_three_texts()
    torch.testing.assert_close(
        layer(states, mask, rows), functional.linear(states[mask], layer.output.weight, layer.output.bias)
    )
    assert (layer.shape.has_bos, layer.shape.has_eos, layer.shape.latents) == (False, True, None)


def test_latent_gives_a_fixed_number_and_does_not_see_padding() -> None:
    layer = layer_of("latent")
    assert isinstance(layer, LatentLayer)
    states, mask, rows = states_of_three_texts()
    soft = layer(states, mask, rows).view(3, LATENTS, D)
    for index, length in enumerate(LENGTHS):
        alone = layer(states[index : index + 1, :length], mask[index : index + 1, :length], rows)
        torch.testing.assert_close(soft[index], alone)
    noisy = states.masked_fill(~mask[..., None], 1e4)
    torch.testing.assert_close(layer(noisy, mask, rows).view(3, LATENTS, D), soft)
    changed = states.clone()
    changed[1, 4, 0] += 1.0
    assert (layer(changed, mask, rows).view(3, LATENTS, D)[1] - soft[1]).abs().max() > 1e-3, "the last state counts"
    assert (soft[1, 0] - soft[1, 1]).abs().max() > 1e-3, "latents differ"
    assert (layer.shape.has_bos, layer.shape.has_eos, layer.shape.latents) == (False, True, LATENTS)


@pytest.mark.parametrize("kind", ["ffn", "linear", "latent"])
def test_everything_is_written_where_the_batch_says_and_learns(kind: str) -> None:
    layer = layer_of(kind)
    batch = collate([Row((1,) * length, (7,), (8, 9)) for length in LENGTHS], layer.shape, llm_bos=5, encoder_pad=0)
    states, mask, rows = states_of_three_texts()
    out = layer.write_into(torch.zeros(batch.mask.numel(), D), states, batch)
    torch.testing.assert_close(out[batch.state_slots], layer(states, mask, rows))
    for vector, slots in ((layer.bos, batch.bos_slots), (layer.eos, batch.eos_slots)):
        assert len(slots) == (0 if vector is None else 3)
        if vector is not None:
            torch.testing.assert_close(out[slots], vector.expand(3, -1))
    written = torch.cat([batch.state_slots, batch.bos_slots, batch.eos_slots])
    untouched = torch.ones(len(out), dtype=torch.bool)
    untouched[written] = False
    assert not out[untouched].any()
    out.square().sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("kind", ["ffn", "linear", "latent"])
def test_a_normalized_layer_keeps_every_vector_at_its_size_however_its_weights_grow(kind: str) -> None:
    layer = layer_of(kind, normalize=True)
    states, mask, rows = states_of_three_texts()
    layer.start_at_size(states, mask, 0.02)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(30.0).add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    batch = collate([Row((1,) * length, (7,), (8, 9)) for length in LENGTHS], layer.shape, llm_bos=5, encoder_pad=0)
    buffer = torch.full((batch.mask.numel(), D), 3.0)
    out = layer.write_into(buffer, states, batch)
    torch.testing.assert_close(out[batch.state_slots], layer(states, mask, rows))
    written = torch.cat([batch.state_slots, batch.bos_slots, batch.eos_slots])
    torch.testing.assert_close(out[written].square().mean(-1).sqrt(), torch.full((len(written),), 0.02))
    untouched = torch.ones(len(out), dtype=torch.bool)
    untouched[written] = False
    assert (out[untouched] == 3.0).all()
    (out * torch.arange(D)).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    plain = layer_of(kind)
    plain.load_state_dict({name: weight for name, weight in layer.state_dict().items() if name != "size"})
    direction = torch.nn.functional.cosine_similarity(plain(states, mask, rows), layer(states, mask, rows), dim=-1)
    torch.testing.assert_close(direction, torch.ones_like(direction))  # only the size differs


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", ["ffn", "linear", "latent"])
def test_a_fresh_layer_starts_at_the_size_asked_for(kind: str, normalize: bool) -> None:
    layer = layer_of(kind, normalize=normalize)
    states, mask, rows = states_of_three_texts()
    layer.start_at_size(50 * states, mask, 0.02)
    soft = layer(50 * states, mask, rows)
    assert float(soft.detach().square().mean().sqrt()) == pytest.approx(0.02, rel=1e-4)
    for vector in (layer.bos, layer.eos):
        assert vector is None or normalize or 0.005 < float(vector.detach().square().mean().sqrt()) < 0.06


@pytest.mark.parametrize("kind", ["ffn", "linear", "latent"])
def test_the_start_depends_on_the_seed_alone(kind: str) -> None:
    first = layer_of(kind).state_dict()
    torch.rand(3)
    before = torch.get_rng_state()
    again = layer_of(kind).state_dict()
    assert torch.equal(torch.get_rng_state(), before), "other random numbers go on undisturbed"
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert not torch.equal(first["output.weight"], layer_of(kind, seed=1).state_dict()["output.weight"])


def test_weights_are_float32_under_half_precision_states() -> None:
    layer = layer_of("ffn")
    states, mask, rows = states_of_three_texts()
    half = layer(states.bfloat16(), mask, rows)
    torch.testing.assert_close(half, layer(states, mask, rows), rtol=0.05, atol=0.05)
    assert {weight.dtype for weight in layer.state_dict().values()} == {torch.float32}
