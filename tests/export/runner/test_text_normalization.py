"""Texts reach llama.cpp as the tokenizer of training normalizes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, normalizers
from tokenizers.normalizers import Normalizer

from lilift.export.gguf.converted_sentencepiece import steps_of
from lilift.export.gguf.normalizer import OtherTokens, Unnormalized, steps_beyond_llama_cpp
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.runner.text_normalization import TextNormalization
from lilift.model.snapshot import local_model_folder
from lilift.phases.answering.systems import tokenisation_for
from lilift.recipe.errors import ModelError
from lilift.recipe.storage import JsonLines
from tests.export.exported_run import export, make_run

BENGALI = "জিনাত \u09dfদি ১২টি বই কেনে, তার গা\u09dcি আছে।"  # NFC writes these two letters as two characters each
TEXTS = [
    BENGALI,
    "ज़मीन \u095b\u092e\u0940\u0928 क\u093cलम",
    "cafe\u0301 Ünïted ǅ ﬁne ① ΟΔΟΣ İstanbul",
    "Tiê\u0301ng Viê\u0323t tiếng",
    "  \x1cedges\u3000 \u0301 ",
    "각 \u1100\u1161\u11a8",
    "",
]
NORMALIZERS: list[Normalizer] = [
    *(getattr(normalizers, form)() for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip")),
    normalizers.Strip(left=False),
    normalizers.Replace("i", "(i)"),
    normalizers.Replace(Regex(r"\s+"), r"\1 "),
    normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Prepend("> ")]),
]


class Backed:
    """As much of a tokenizer as tells its normalizer."""

    def __init__(self, *steps: dict[str, Any]) -> None:
        self.backend_tokenizer = self
        self._steps = list(steps)

    def to_str(self) -> str:
        return json.dumps({"normalizer": {"type": "Sequence", "normalizers": self._steps}})


@pytest.mark.parametrize("normalizer", NORMALIZERS, ids=str)
def test_every_step_is_that_of_the_tokenizer(normalizer: Normalizer) -> None:
    steps = steps_of(json.loads(normalizer.__getstate__()), "normalizers")
    mine = TextNormalization(steps)
    assert [mine(text) for text in TEXTS] == [normalizer.normalize_str(text) for text in TEXTS]


def test_control_tokens_stay_as_they_are_unless_they_are_text() -> None:
    lower = TextNormalization([{"type": "Lowercase"}], ["<End>", "<End>>"])
    assert lower("A<End>>B<End>C") == "a<End>>b<End>c"
    assert lower("A<End>B", as_text=True) == "a<end>b"
    composes = TextNormalization([{"type": "NFC"}], ["<|end|>"])
    assert composes("<|end|>\u0338") == "<|end|>\u0338", "the sign after it belongs to the next text"


def test_steps_that_nobody_can_do_are_refused() -> None:
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    where = Path("tokenizer.json")
    assert steps_beyond_llama_cpp(Backed({"type": "NFC"}, space), "llama", where) == [{"type": "NFC"}]
    assert steps_beyond_llama_cpp(Backed(space), "gpt2", where) == [space]
    assert steps_beyond_llama_cpp(object(), "llama", where) == []
    for steps in ([space, {"type": "NFC"}], [{"type": "Nmt"}]):
        with pytest.raises(ModelError, match=f"step {steps[-1]['type']}"):
            steps_beyond_llama_cpp(Backed(*steps), "llama", where)


def test_an_export_reads_the_tokens_of_training_and_tells_what_others_read(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    stand_in, llm = local_model_folder("stand-in:llm", None), tmp_path / "llm"
    shutil.copytree(stand_in, llm)
    content = json.loads((llm / "tokenizer.json").read_text(encoding="utf-8"))
    # As transformers reads Llama's SentencePiece files: a space before the text, and none after a control token.
    content["normalizer"] = {"type": "NFC"}
    content["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    (llm / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    run = tmp_path / "run"
    template = "{before: 'Q: ', after: '</s>', respond: 'A:', reconstruct: 'E:'}"
    recipe, live = make_run(run, "alignment.layout=soft+text", f"llm.model={llm}", f"data.template={template}")
    asked = JsonLines(run / "evaluate" / "lifted" / "world" / "om.jsonl")
    asked.path.parent.mkdir(parents=True)
    asked.append(*({"question": text} for text in (BENGALI, "Omar kanniisa 25 qaba.", "kan", "shan")))

    output = export(recipe, run, tmp_path / "out", "f32")
    runner = ExportedBridge(output, threads=1)
    questions = (BENGALI, "cafe\u0301", "Omar kanniisa 25 qaba.")
    rows = tokenisation_for(live, recipe, None).prompts(questions)
    assert [runner.prepare(question).tokens for question in questions] == [list(row.prompt_ids) for row in rows]
    stock = runner._llm.tokenize(runner.description.prompt(BENGALI))
    assert stock != list(rows[0].prompt_ids), "without lilift these are other tokens"
    english = runner._llm.tokenize(runner.description.prompt(questions[2]))
    assert english != list(rows[2].prompt_ids), "llama.cpp puts a space after the control token of the template"

    described = json.loads((output / "lilift.json").read_text(encoding="utf-8"))["llm"]
    assert (described["normalizer"], described["space_prefix"]) == ([{"type": "NFC"}], "start")
    assert described["without_normalizer"] == {"om": {"kind": "questions", "texts": 4, "differ": 1}}
    card, modelfile = (output / "README.md").read_text(encoding="utf-8"), (output / "Modelfile").read_text(encoding="utf-8")
    assert "- Oromo: 25% of 4 questions" in card
    assert 'unicodedata.normalize("NFC", text)' in card
    assert "Oromo: 25% of 4 questions" in next(
        line for line in modelfile.splitlines() if line.startswith("# the LLM's tokenizer")
    )


def test_the_line_for_the_user_names_languages_that_change_and_no_others() -> None:
    found = {"en": OtherTokens("instructions", 1000, 0), "bn": OtherTokens("questions", 1000, 3)}
    assert Unnormalized([{"type": "NFC"}], found).line().endswith("(Bengali: less than 1% of 1,000 questions)")
    unchanged = Unnormalized([{"type": "NFC"}], {"en": found["en"]}).line()
    assert unchanged.endswith("but this changes none of the measured texts")
