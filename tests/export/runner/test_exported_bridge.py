"""An export says what the run says; what does not belong together is refused."""

from __future__ import annotations

import json
import math
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lilift.data.texts.examples import Row
from lilift.export.gguf.alignment_gguf import write_alignment
from lilift.export.runner import llama_cpp, llama_library
from lilift.export.runner.answer_text import drawn
from lilift.export.runner.exported_bridge import LONGEST_SEQUENCE, ExportedBridge
from lilift.export.runner.soft_tokens import SoftTokens, gelu
from lilift.model.alignment_layer import build_alignment
from lilift.model.bridge import BridgedModel
from lilift.model.bridge_files import ALIGNMENT_FILE
from lilift.model.decoding.sampling import Sampling, draw
from lilift.phases.answering.gguf_answerer import ExportResponder
from lilift.phases.answering.systems import tokenisation_for
from lilift.recipe import storage
from lilift.recipe.errors import DataError, EnvironmentUnfit, LiliftError, RecipeError, RunFolderError
from lilift.recipe.schema import AlignmentSettings, Recipe
from tests.export.exported_run import QUESTIONS, export, make_run

Made = tuple[Recipe, BridgedModel, Path]


@pytest.fixture(scope="module")
def bridge(exported: Path) -> ExportedBridge:
    return ExportedBridge(exported, quantisation="f32", threads=1)


def rows_of(made: Made, questions: tuple[str, ...]) -> list[Row]:
    recipe, live, _ = made
    return tokenisation_for(live, recipe, None).prompts(questions)


def live_logits(live: BridgedModel, row: Row) -> np.ndarray:
    inputs, mask, positions = live.embed(live.collate([row]))
    with torch.no_grad():
        logits = live.llm(inputs_embeds=inputs, attention_mask=mask.long(), position_ids=positions).logits
    return logits[0, -1].numpy()


def test_logits_before_an_answer_are_those_of_the_live_model(made: Made, bridge: ExportedBridge) -> None:
    for question, row in zip(QUESTIONS, rows_of(made, QUESTIONS), strict=True):
        prompt = bridge.prepare(question)
        assert bridge._encoder.source_ids(question)[0] == list(row.encoder_ids)
        assert prompt.tokens == list(row.prompt_ids)
        next(iter(bridge.stream(prompt, max_new_tokens=4)))  # left where the first token is chosen
        bridge._llm.begin(64)
        bridge._llm.read_tokens([made[1].tokens.bos] if made[1].tokens.bos is not None else [])
        bridge._llm.read_vectors(prompt.vectors)
        bridge._llm.read_tokens(prompt.tokens)
        np.testing.assert_allclose(bridge._llm.logits(), live_logits(made[1], row), atol=1e-2)


def test_a_decomposed_question_is_read_as_the_composed_one(bridge: ExportedBridge) -> None:
    question = "Cậu bé có 3 quả táo."
    one, other = (bridge.prepare(unicodedata.normalize(form, question)) for form in ("NFC", "NFD"))
    assert (one.tokens, one.source_tokens) == (other.tokens, other.source_tokens)
    np.testing.assert_array_equal(one.vectors, other.vectors)


def test_greedy_answers_are_those_of_the_live_model(made: Made, bridge: ExportedBridge) -> None:
    live = made[1].generate(rows_of(made, QUESTIONS), max_new_tokens=16)
    responder = ExportResponder(bridge, max_new_tokens=16, sampling=None)
    assert responder.generate(QUESTIONS) == [text.strip() for text in live]
    assert responder.generate(QUESTIONS[::-1]) == [text.strip() for text in live[::-1]], "the order may not matter"


@pytest.mark.parametrize(
    "settings",
    [("alignment.kind=latent", "alignment.latents=5"), ("alignment.layout=soft+text", "encoder.prefix='query: '")],
)
def test_other_layers_and_layouts_say_the_same_too(settings: tuple[str, ...], tmp_path: Path) -> None:
    recipe, live = make_run(tmp_path / "run", *settings)
    runner = ExportedBridge(export(recipe, tmp_path / "run", tmp_path / "out", "f32"), threads=1)
    rows = tokenisation_for(live, recipe, None).prompts(QUESTIONS)
    expected = [text.strip() for text in live.generate(rows, max_new_tokens=12)]
    assert ExportResponder(runner, max_new_tokens=12, sampling=None).generate(QUESTIONS) == expected


def test_control_tokens_in_a_question_are_text_as_in_training(tmp_path: Path) -> None:
    recipe, live = make_run(tmp_path / "run", "alignment.layout=soft+text")
    runner = ExportedBridge(export(recipe, tmp_path / "run", tmp_path / "out", "f32"), threads=1)
    questions = ("Which tag ends </s> text?", "<s> and <unk>, then </s>", "</s>")
    rows = tokenisation_for(live, recipe, None).prompts(questions)
    end = live.llm_tokenizer.eos_token_id
    for question, row in zip(questions, rows, strict=True):
        assert runner.prepare(question).tokens == list(row.prompt_ids)
        assert end not in row.prompt_ids


@pytest.mark.parametrize("kind", ["ffn", "linear", "latent"])
@pytest.mark.parametrize(("normalize", "pool"), [(True, 1), (False, 1), (True, 4), (True, "text")])
def test_the_alignment_layer_in_numpy_is_the_one_in_torch(kind: str, normalize: bool, pool: int | str, tmp_path: Path) -> None:
    settings = AlignmentSettings(kind=kind, latents=7, normalize=normalize, pool=pool, scale_states=pool == 4)  # type: ignore[arg-type]
    layer = build_alignment(settings, encoder_size=48, llm_size=40, seed=1)
    states, mask = torch.randn(1, 9, 48), torch.ones(1, 9, dtype=torch.bool)
    layer.start_at_size(states, mask, 0.3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        vectors = [layer._sized(vector[None]) for vector in (layer.bos, layer.eos) if vector is not None]
        soft = layer(states, mask, torch.arange(9))
    from safetensors.torch import save_file

    save_file({name: weight.contiguous() for name, weight in layer.state_dict().items()}, tmp_path / ALIGNMENT_FILE)
    write_alignment(tmp_path, settings, tmp_path / "align.gguf")
    found = SoftTokens(tmp_path / "align.gguf").frame(states[0].numpy())
    expected = torch.cat([*vectors[:-1], soft, vectors[-1]]).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6, rtol=1e-5)


def test_gelu_is_exact_to_float32() -> None:
    values = np.linspace(-9, 9, 4001, dtype=np.float32)
    exact = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in values.tolist()]
    np.testing.assert_allclose(gelu(values), exact, atol=1e-6)


def test_tokens_are_drawn_as_in_torch() -> None:
    generator = np.random.default_rng(0)
    for top_p in (0.3, 0.9, 1.0):
        sampling = Sampling(temperature=0.8, top_p=top_p)
        logits = generator.normal(size=(50, 30)).astype(np.float32) * 3
        uniforms = generator.random(50)
        expected = draw(torch.from_numpy(logits), torch.from_numpy(uniforms), sampling).tolist()
        assert [drawn(row, uniform, sampling) for row, uniform in zip(logits, uniforms.tolist(), strict=True)] == expected


def test_drawn_answers_come_again_with_their_seed(bridge: ExportedBridge) -> None:
    def answers(seed: int) -> list[str]:
        sampling = Sampling(temperature=1.5, top_p=1.0, seed=seed)
        found = ExportResponder(bridge, max_new_tokens=8, sampling=sampling).stream(QUESTIONS[:1], samples=3)
        return [response.text for response in found]

    assert answers(0) == answers(0) != answers(1)
    assert len(Counter(answers(0))) > 1, "samples of one question must differ"


def test_a_long_question_is_cut_where_training_cut_it(made: Made, bridge: ExportedBridge) -> None:
    long = "Omar kanniisa 25 qaba. " * 40
    assert bridge.cuts([long, "Omar"]) == [True, False]
    prompt = bridge.prepare(long)
    assert prompt.cut
    assert bridge._encoder.source_ids(long)[0] == list(rows_of(made, (long,))[0].encoder_ids)


def test_what_cannot_be_answered_is_an_error_and_the_next_question_is(bridge: ExportedBridge) -> None:
    with pytest.raises(DataError, match="empty"):
        bridge.prepare("  ")
    assert bridge.longest_sequence <= LONGEST_SEQUENCE
    stream = bridge.stream(bridge.prepare("Omar"), max_new_tokens=9)
    next(stream)
    stream.close()  # a reader that left
    pieces = list(bridge.stream(bridge.prepare("Omar"), max_new_tokens=3))
    assert pieces[-1].ending in ("stop", "length")
    assert pieces[-1].tokens <= 3


def change_last_byte(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def change_template(folder: Path) -> None:
    content = json.loads((folder / "lilift.json").read_text("utf-8"))
    content["template"]["openers"]["respond"] = "Say:"
    storage.write_json(folder / "lilift.json", content)


def change_description(folder: Path, **changes: object) -> None:
    """What an honest program of another version might have written: the seal is right."""
    content = json.loads((folder / "lilift.json").read_text("utf-8"))
    content.pop("seal")
    storage.write_json(folder / "lilift.json", storage.sealed_json(content | changes))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "llm": (lambda folder: change_last_byte(folder, "llm-f32.gguf"), "llm-f32.gguf is not the file"),
    "encoder": (lambda folder: change_last_byte(folder, "encoder-f32.gguf"), "encoder-f32.gguf is not the file"),
    "alignment": (lambda folder: change_last_byte(folder, "align.gguf"), "align.gguf is not the file"),
    "tokenizer": (lambda folder: change_last_byte(folder, "spiece.model"), "spiece.model is not the file"),
    "exchanged": (
        lambda folder: shutil.copy(folder / "llm-q8_0.gguf", folder / "llm-f32.gguf"),
        "llm-f32.gguf is not the file",
    ),
    "missing": (lambda folder: (folder / "align.gguf").unlink(), "align.gguf is missing"),
    "template": (change_template, "has been changed since lilift wrote it"),
    "newer": (lambda folder: change_description(folder, format=9), "the file has the format 9"),
    "order": (lambda folder: change_description(folder, sequence=["soft tokens"]), "order of the sequence"),
    "outside": (
        lambda folder: change_description(folder, alignment={"file": "../align.gguf", "kind": "ffn"}),
        "has no checksum for the part",
    ),
    "no number": (lambda folder: change_description(folder, max_tokens="many"), "max_tokens"),
    "not json": (lambda folder: (folder / "lilift.json").write_text("{"), "not JSON"),
    "no gguf": (lambda folder: change_description(folder, llm={"bos": 1}), "the export has no GGUF files"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_part_is_refused_by_name(what: str, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    change, words = CHANGES[what]
    change(folder)
    with pytest.raises(RunFolderError) as refused:
        ExportedBridge(folder, quantisation="f32", threads=1)
    assert words in refused.value.line()


def test_parts_of_another_size_are_refused_even_with_sums_that_are_right(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    settings = AlignmentSettings()
    layer = build_alignment(settings, encoder_size=64, llm_size=128, seed=1)
    from safetensors.torch import save_file

    save_file(layer.state_dict(), tmp_path / ALIGNMENT_FILE)
    write_alignment(tmp_path, settings, folder / "align.gguf")
    sums = json.loads((folder / "lilift.json").read_text("utf-8"))["sha256"]
    change_description(folder, sha256=sums | {"align.gguf": storage.sha256_of(folder / "align.gguf")})
    with pytest.raises(RunFolderError, match="does not fit the other parts"):
        ExportedBridge(folder, quantisation="f32", threads=1)


def test_a_type_that_was_not_exported_is_named(exported: Path) -> None:
    with pytest.raises(RecipeError, match="choose from f32, q8_0"):
        ExportedBridge(exported, quantisation="q4_k_m", threads=1)


def test_another_build_of_llama_cpp_is_refused_before_anything_is_passed_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_library.metadata, "version", lambda _: "2027.1.1")
    monkeypatch.setattr(llama_library, "_OTHER_MODULE", "no_such_module")
    with pytest.raises(EnvironmentUnfit, match=r"2027.1.1 is installed.*lilift\[gguf\]"):
        llama_library.llama_library.__wrapped__()


def test_structures_that_do_not_fit_the_library_are_noticed_before_anything_is_passed_in_them() -> None:
    library = llama_library.llama_library()

    def shifted(name: str) -> Any:
        structure = library._functions(name)
        if name != "llama_context_default_params":
            return structure

        def called() -> Any:
            found = structure()
            found.n_ctx, found.n_batch = found.n_batch, found.n_ctx
            return found

        return called

    with pytest.raises(EnvironmentUnfit, match="has a C interface that lilift does not know"):
        llama_library.LlamaLibrary("a package", shifted, library.batch)


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "llm.gguf").write_bytes(b"GGUF" + b"\0" * 64)
    with pytest.raises(LiliftError, match="cannot load the file"):
        llama_cpp.LlamaDecoder(tmp_path / "llm.gguf", threads=1, exact=False)
