"""Templates by name, by file and the LLM's own: what the LLM reads before a target, in training as in generation."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lilift.data.batches.control_tokens import ControlTokens
from lilift.data.batches.tokenization import continuation_ids
from lilift.data.texts.prompt_templates import TEMPLATES, Template, template_of
from lilift.recipe.errors import DataError, RecipeError
from lilift.recipe.load import dump_recipe, load_recipe

QWEN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
SILENT = "{% for m in messages %}{{ m.content }}{% endfor %}"
FAILING = "{{ raise_exception('only tools') }}"


def llm(chat_template: str | None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(["How many? 3"], trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet))
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    made.chat_template = chat_template
    return made


def test_a_chat_template_is_the_llms_own_prompt_cut_at_the_question() -> None:
    for source, separator in ((QWEN, ""), (LLAMA_2, " ")):
        tokenizer = llm(source)
        template = template_of("chat", tokenizer)
        turns = [{"role": "user", "content": "How many?"}]
        expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True).removeprefix("<s>")
        assert template.prompt("How many?", "soft+text", "respond") == expected
        assert expected.endswith(template.prompt("How many?", "soft", "respond"))
        assert "How many?" not in template.prompt("How many?", "soft", "respond")
        assert template.separator == separator


@pytest.mark.parametrize("source", [QWEN, LLAMA_2])
def test_prompt_and_target_together_are_what_the_llm_was_trained_on(source: str) -> None:
    tokenizer = llm(source)
    template = template_of("chat", tokenizer)
    prompt = template.prompt("How many?", "soft+text", "respond")
    (target,) = continuation_ids(ControlTokens(tokenizer), template.openers["respond"], ["3 apples"], template.separator)
    turns = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "3 apples"}]
    whole = tokenizer.apply_chat_template(turns, tokenize=False).removeprefix("<s>")
    read = tokenizer(prompt, add_special_tokens=False)["input_ids"] + list(target)
    assert whole.startswith(tokenizer.decode(read, clean_up_tokenization_spaces=False))


@pytest.mark.parametrize(
    ("source", "words"), [(None, "no chat template"), (SILENT, "does not show the question"), (FAILING, "only tools")]
)
def test_a_chat_template_that_cannot_be_used_is_one_line(source: str | None, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        template_of("chat", llm(source))
    assert "\n" not in str(caught.value)


def test_a_template_file_becomes_part_of_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("before: 'Q: '\nafter: \"\\n\\n\"\nrespond: 'A:'\n", encoding="utf-8")
    recipe = load_recipe("tiny-cpu", [f"data.template={file}"])
    file.unlink()
    template = template_of(recipe.data.template, None)
    assert template.prompt(" How many? ", "soft+text", "respond") == "Q: How many?\n\nA:"
    assert template.prompt("How many?", "soft", "reconstruct") == "English:"
    kept = tmp_path / "kept.yaml"
    kept.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(str(kept)) == recipe


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"respond: 'A: '", "respond ends with a space"),
        (b"answer: 'A:'", "unknown key 'answer'"),
        (b"before: 'Q'", "has no text `respond`"),
        (b"- A", "not a mapping with before"),
        (b"respond: [", "not YAML"),
        (b"\xff\xfe", "not YAML in UTF-8"),
        (None, "cannot read the template file"),
    ],
)
def test_a_template_file_that_cannot_be_used_is_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError, match=words) as caught:
        load_recipe("tiny-cpu", [f"data.template={file}"])
    assert "data.template" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_has_the_names_beside_it() -> None:
    with pytest.raises(RecipeError, match="'plain', 'metamath', 'alpaca' or 'chat'"):
        load_recipe("tiny-cpu", ["data.template=vicuna"])


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_survives_as_json(name: str) -> None:
    assert Template(**TEMPLATES[name].as_dict()) == TEMPLATES[name]
