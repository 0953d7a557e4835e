"""The model card: what the hub reads at its head, and what a stranger reads below."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from lilift.data.languages import language
from lilift.data.lexicons.lexicon import Lexicon, Source, Translation
from lilift.data.lexicons.lexicon_table import read_sources, write_lexicon
from lilift.data.texts.prompt_templates import template_of
from lilift.export.bundle import _dictionaries
from lilift.export.model_card import CardScore, model_card
from lilift.recipe.load import load_recipe

SCORES = [
    CardScore("mgsm", "juletxara/mgsm", "sw", 250, 0.412, 0.353, 0.474, 0.08),
    CardScore("mgsm", "juletxara/mgsm", "bn", 250, 0.3, 0.247, 0.359),
]


def card(*scores: CardScore, llm: str = "meta-llama/Llama-3.1-8B", **more: object) -> str:
    recipe = load_recipe("llama3.1-8b-24gb", [f"llm.model={llm}", "languages=[sw, bn]"])
    return model_card(recipe, template_of("plain", None), merge_base="dequantised", gguf_files=[], scores=scores, **more)  # type: ignore[arg-type]


def test_the_hub_reads_base_model_languages_and_results() -> None:
    data = ModelCard(card(*SCORES, hf_folder="hf")).data
    assert data.base_model == "meta-llama/Llama-3.1-8B"
    assert data.language == ["en", "sw", "bn"]
    assert data.eval_results is not None
    assert [(one.dataset_type, one.dataset_config, one.metric_value) for one in data.eval_results] == [
        ("juletxara/mgsm", "sw", 0.412),
        ("juletxara/mgsm", "bn", 0.3),
    ]


def test_a_stranger_reads_accuracy_with_interval_beside_the_untrained_model() -> None:
    text = card(*SCORES, hf_folder="hf", dictionaries=["Dictionaries of muse (licence: CC BY-NC 4.0): bn, sw"])
    assert "| mgsm | Swahili (sw) | 250 | 41.2 (35.3 to 47.4) | 8.0 |" in text
    assert "| mgsm | Bengali (bn) | 250 | 30.0 (24.7 to 35.9) |  |" in text
    assert "- Dictionaries of muse (licence: CC BY-NC 4.0): bn, sw" in text
    assert 'from_pretrained("THIS_FOLDER", subfolder="hf")' in text
    assert 'from_pretrained("THIS_FOLDER")' in card(*SCORES, hf_folder="")


def test_a_run_without_evaluation_says_so_and_has_no_results_for_the_hub() -> None:
    text = card(hf_folder=None)
    assert "The run was not evaluated." in text
    assert ModelCard(text).data.eval_results is None
    assert "subfolder" not in text


def test_a_folder_of_this_machine_is_named_without_its_path(tmp_path: Path) -> None:
    text = card(llm=str(tmp_path / "my-llm"), hf_folder="hf")
    assert str(tmp_path) not in text
    assert "This is `my-llm`" in text
    assert ModelCard(text).data.base_model is None


def test_licences_come_from_the_dictionaries_of_the_run(tmp_path: Path) -> None:
    for code in ("sw", "bn"):
        source = Source("muse", f"en-{code}.txt", "CC BY-NC 4.0")
        write_lexicon(
            Lexicon(language(code), {"dog": (Translation("mbwa", 1.0, "muse"),)}, (source,)), tmp_path / f"{code}.parquet"
        )
    assert _dictionaries(tmp_path) == ["Dictionaries of muse (licence: CC BY-NC 4.0): bn, sw"]
    (sources,) = read_sources(tmp_path / "sw.parquet")
    assert sources.location == "en-sw.txt"


@pytest.mark.parametrize("content", [b"", b"not a lexicon"])
def test_a_damaged_dictionary_is_named(tmp_path: Path, content: bytes) -> None:
    from lilift.recipe.errors import DataError

    (tmp_path / "sw.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"sw\.parquet"):
        read_sources(tmp_path / "sw.parquet")
