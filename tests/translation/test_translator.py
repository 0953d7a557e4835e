"""Translators of three families: codes, batches, lengths, and the same tokens as transformers."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lilift.recipe.errors import ModelError
from lilift.translation import find_translator, translator
from lilift.translation.translator import SEGMENT_TOKENS, Translator
from lilift.translation.translator_files import TranslatorFiles, read_translator
from lilift.translation.translator_languages import TranslatorLanguage, translator_language
from tests.translation.tiny_translators import reference, save_m2m100, save_marian, sentences

pytest.importorskip("ctranslate2", reason="lilift translates with ctranslate2 (extra `pivot`)")
SWAHILI, ENGLISH = TranslatorLanguage("sw", "swh_Latn"), TranslatorLanguage("en", "eng_Latn")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(nllb: Path) -> TranslatorFiles:
    return read_translator(nllb)


@pytest.fixture(scope="module")
def model(files: TranslatorFiles) -> Translator:
    return Translator(files, device="cpu", threads=1)


def exact(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Translator:
    """A translator with float32 weights and products, to compare with transformers."""
    monkeypatch.setattr(find_translator, "_QUANTISATION", None)
    monkeypatch.setitem(translator.ARITHMETIC, "cpu", "float32")
    return Translator(find_translator.find_translator(str(folder)), device="cpu", threads=1)


@pytest.mark.parametrize("family", ["nllb", "m2m100", "marian"])
def test_tokens_are_those_of_transformers(family: str, nllb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = nllb.parents[3] / "nllb" if family == "nllb" else tmp_path / family
    if family != "nllb":
        (save_m2m100 if family == "m2m100" else save_marian)(folder)
    model = exact(folder, monkeypatch)
    assert model.files.family == family
    source, target = (translator_language(model.files, name, is_target=name == "en") for name in ("Swahili", "en"))
    framed = [model._framed(text, source, target) for text in sentences(6)]
    prefix = "" if family == "marian" else target.token
    expected = reference(folder, model.files.vocabulary, framed, prefix, beams=2, longest=40)
    # transformers ends a Marian translation at its longest length with </s>.
    assert [tokens[:39] for tokens in model._run(framed, target.token, 2, 40)] == [tokens[:39] for tokens in expected]


def test_results_come_in_order_and_no_limit_depends_on_the_batch(model: Translator) -> None:
    texts = [*sentences(30), "mary", "has 3 " * 50]
    together = model.translate(texts, SWAHILI, ENGLISH, beam_size=2)
    assert together == [model.translate([text], SWAHILI, ENGLISH, beam_size=2)[0] for text in texts]
    assert model.translate(texts[::-1], SWAHILI, ENGLISH, beam_size=2) == together[::-1]
    assert len({one.text for one in together}) > 20
    assert not any("_Latn" in one.text for one in together)  # random weights write codes in the middle too
    assert model.translate([], SWAHILI, ENGLISH, beam_size=2) == []


def test_the_language_of_texts_and_of_translations_counts(model: Translator) -> None:
    french, english = translator_language(model.files, "fr", is_target=True), ENGLISH
    text = sentences(1)
    assert model.translate(text, SWAHILI, english, beam_size=1) != model.translate(text, SWAHILI, french, beam_size=1)


def test_a_translation_that_never_ends_is_stopped_and_says_so(model: Translator) -> None:
    [one] = model.translate(["mary has"], SWAHILI, ENGLISH, beam_size=1)
    assert not one.complete  # random weights write the same piece for ever
    assert len(one.text) < 3 * 16 * max(map(len, model.files.vocabulary))


def test_segments_fit_the_model(model: Translator) -> None:
    segments = model.split("mary has 17 apples and buys more " * 200)
    assert len(segments.texts) > 5
    assert max(len(model._framed(text, SWAHILI, ENGLISH)) for text in segments.texts) <= SEGMENT_TOKENS


def test_weights_can_be_freed(files: TranslatorFiles) -> None:
    model = Translator(files, device="cpu", threads=1)
    before = model.translate(["mary has"], SWAHILI, ENGLISH, beam_size=1)
    model.free()
    assert model.translate(["mary has"], SWAHILI, ENGLISH, beam_size=1) == before


def test_many_texts_are_translated_a_batch_for_each_core(files: TranslatorFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translator, "BATCH_TOKENS", 300)
    texts = sentences(60)
    expected = Translator(files, device="cpu", threads=1).translate(texts, ENGLISH, SWAHILI, beam_size=2)
    model = Translator(files, device="cpu", threads=3)
    assert model.translate(texts[:2], ENGLISH, SWAHILI, beam_size=2) == expected[:2]
    assert model._side_by_side is None
    assert model.translate(texts, ENGLISH, SWAHILI, beam_size=2) == expected
    assert model._side_by_side.num_translators == 3
    assert not model._model.model_is_loaded, "the weights are in memory once"
    model.free()
    assert model.translate(texts[:2], ENGLISH, SWAHILI, beam_size=2) == expected[:2]
    assert model._side_by_side is None


@pytest.mark.parametrize(
    ("named", "token"),
    [("sw", "swh_Latn"), ("Swahili", "swh_Latn"), ("swh_Latn", "swh_Latn"), ("acm_Arab", "acm_Arab"), ("en", "eng_Latn")],
)
def test_languages_are_found_by_any_name(files: TranslatorFiles, named: str, token: str) -> None:
    assert translator_language(files, named, is_target=True).token == token


@pytest.mark.parametrize("named", ["swh_Latin", "xx", "tlh"])
def test_a_wrong_language_is_one_line_with_what_is_near(files: TranslatorFiles, named: str) -> None:
    with pytest.raises(ModelError, match=rf"has no language '{named}'.*did you mean .*202 languages"):
        translator_language(files, named, is_target=False)


def test_a_chosen_code_counts(files: TranslatorFiles) -> None:
    assert translator_language(files, "ar", is_target=False, chosen={"ar": "arz_Arab"}) == TranslatorLanguage("ar", "arz_Arab")
    with pytest.raises(ModelError, match="has no language 'arz'"):
        translator_language(files, "ar", is_target=False, chosen={"ar": "arz"})


def test_a_text_vocabulary_and_a_tokenizer_json_do_too(nllb: Path, files: TranslatorFiles, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(nllb, folder)
    (folder / "shared_vocabulary.json").unlink()
    (folder / "shared_vocabulary.txt").write_text("\n".join(files.vocabulary) + "\n")
    assert read_translator(folder).vocabulary == files.vocabulary
    (folder / "sentencepiece.bpe.model").unlink()
    assert read_translator(folder).pieces().split("mary")
    assert read_translator(folder).digest != files.digest
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer; copy sentencepiece"):
        read_translator(folder)


def test_a_conversion_is_made_once(nllb: Path) -> None:
    source, lines = str(nllb.parents[3] / "nllb"), []
    first = find_translator.find_translator(source, note=lines.append)
    again = find_translator.find_translator(source, note=lines.append)
    assert first.folder == again.folder
    assert len(lines) == 1
    assert "converting" in lines[0]


def test_a_model_without_its_decoder_is_refused(nllb: Path, tmp_path: Path) -> None:
    import transformers

    folder = tmp_path / "encoder"
    shutil.copytree(nllb.parents[3] / "nllb", folder)
    model = transformers.M2M100ForConditionalGeneration.from_pretrained(folder)
    weights = {name: tensor for name, tensor in model.state_dict().items() if ".decoder.layers" not in name}
    model.save_pretrained(folder, state_dict=weights)
    with pytest.raises(ModelError, match=r"lack \d+ weights of a translator"):
        find_translator.find_translator(str(folder))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"model_type": "t5"}', "transformers 5 changes the scores of T5 models"),
        ('{"model_type": "llama"}', "this one is of the type 'llama'"),
        ("{", "the configuration is damaged"),
        (None, "neither model.bin with a vocabulary nor config.json"),
    ],
)
def test_another_folder_is_refused_in_one_line(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=says):
        find_translator.find_translator(str(tmp_path))


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder with a translator"):
        find_translator.find_translator(str(tmp_path / "nothing"))


class LibraryWithGpus:
    """CTranslate2 on a machine with GPUs, as far as lilift chooses among them."""

    def __init__(self, count: int, working: set[int]) -> None:
        self.count, self.working = count, working

    def get_cuda_device_count(self) -> int:
        return self.count

    def Translator(self, _folder: str, *, device: str, device_index: list[int], **_options: Any) -> Any:
        if device == "cuda" and not self.working.issuperset(device_index):
            raise RuntimeError("CUDA failed with error: out of memory")
        return SimpleNamespace(device=device, device_index=device_index, translate_batch=lambda *_batch, **_options: [])


@pytest.mark.parametrize(
    ("working", "local_rank", "device", "devices"),
    [
        ({0, 1}, None, "cuda", [0, 1]),  # CTranslate2 deals its batches to all
        ({0}, None, "cuda", [0]),  # the second has no room
        (set(), None, "cpu", [0]),
        ({0, 1}, 1, "cuda", [1]),  # the other process of this machine has the first
    ],
)
def test_which_gpus_translate(
    files: TranslatorFiles,
    monkeypatch: pytest.MonkeyPatch,
    working: set[int],
    local_rank: int | None,
    device: str,
    devices: list[int],
) -> None:
    if local_rank is not None:
        launched = {"RANK": local_rank, "WORLD_SIZE": 2, "LOCAL_RANK": local_rank, "MASTER_ADDR": "localhost", "MASTER_PORT": 1}
        for name, value in launched.items():
            monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(translator, "require_library", lambda: LibraryWithGpus(2, working))
    found = Translator(files)
    assert (found.device, found._model.device_index) == (device, devices)
    assert bool(found.notes) == (len(devices) < 2 and local_rank is None)
