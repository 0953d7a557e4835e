"""Writes a new recipe as commented YAML: what the answers say, and what the extended recipe has that does not suit them."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lilift.data.languages import Language
from lilift.data.world import WORLD_LANGUAGES
from lilift.phases.new_recipe.answer_checks import BenchmarkAnswer, DictionaryAnswer, ExercisesAnswer
from lilift.phases.new_recipe.nearest_recipe import LLMAnswer
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import load_recipe
from lilift.recipe.storage import whole_file

# `smollm2-135m-cpu` makes one soft token of a whole sentence, which is enough for its topic. Other exercises need every word.
_FOR_OTHER_EXERCISES: dict[str, dict[str, Any]] = {
    "smollm2-135m-cpu": {
        "alignment": {"pool": 1},
        "data": {"template": "plain", "max_tokens": 256},
        "align": {"target": "reconstruct", "tokens_per_step": 1024, "tokens_per_micro_batch": 512},
        "transfer": {"tokens_per_step": 1024, "tokens_per_micro_batch": 512},
        "evaluate": {"max_new_tokens": 128},
    }
}


@dataclass(frozen=True)
class Draft:
    """The checked answers, and the file to write."""

    path: Path
    language: Language
    card: str
    dictionary: DictionaryAnswer
    exercises: ExercisesAnswer
    benchmark: BenchmarkAnswer | None
    llm: LLMAnswer

    @property
    def name(self) -> str:
        """The name of the recipe, from the file's name."""
        return re.sub(r"[^a-z0-9._-]+", "-", self.path.stem.lower()).lstrip("._-") or self.language.code.lower()

    @property
    def commands(self) -> list[str]:
        """The next commands: downloads first, if there are any, and then a look at the data, the plan and the run."""
        file = shlex.quote(str(self.path))
        downloads = [self.dictionary.fetch, self.benchmark.fetch if self.benchmark else ""]
        own = [f"lilift data preview {file}", f"lilift recipe plan {file}", f"lilift recipe run {file}"]
        return [*filter(None, downloads), *own]

    def write(self, *, replace: bool) -> None:
        """Write the recipe, if it is valid.

        Raises:
            RecipeError: see `check_file`, or two answers contradict each other.
            StorageError: it cannot be written.
        """
        check_file(self.path, replace=replace)
        text = self.text()
        with whole_file(self.path) as partial:
            partial.write_text(text, encoding="utf-8")
            load_recipe(str(partial))

    def text(self) -> str:
        """The recipe as commented YAML."""
        model = self.llm.model or self.llm.base.llm.model
        title = "the stand-in LLM" if str(model).startswith("stand-in:") else f"the LLM {Path(model).name}"
        place = {"cpu": "without a GPU", "t4": "on a T4"}.get(self.card, f"on a card of {self.card.replace('gb', ' GB')}")
        all_settings = f"`lilift recipe show {shlex.quote(str(self.path))} --resolved` prints them all"
        parts = [
            f"# {self.language.name} with {title}, {place}. Made by `lilift recipe new`.\n#\n",
            *(f"#   {command}\n" for command in self._commented_commands()),
            f"#\n# All other settings come from {self.llm.base.name}; {all_settings}.\n",
            _yaml({"extends": self.llm.base.name}),
            _yaml({"name": self.name}),
            _yaml({"description": f"{self.language.name} with {title}, made by lilift recipe new"}),
            _yaml({"card": self.card}),
            f"languages: {yaml.safe_dump([self.language.code], default_flow_style=True).strip()}  # {self.language.name}\n",
            *(
                "\n" + self._section(name, content)
                for name, content in self._settings().items()
                if content  # a section without changes stays out
            ),
        ]
        return "".join(parts)

    def _commented_commands(self) -> list[str]:
        """The commands with what they do, for the head of the recipe."""
        notes = ("what stage 1 reads", "memory by phase, before anything is downloaded", "both stages, evaluation, export")
        commands = [*self.commands, f"{self.commands[-1]} --resume"]
        noted = [*("" for _ in commands[: -len(notes) - 1]), *notes, "continue after an interruption"]
        width = max(map(len, commands[-len(notes) - 1 :]))
        return [f"{one:<{width}}  # {note}" if note else one for one, note in zip(commands, noted, strict=True)]

    def _settings(self) -> dict[str, dict[str, Any]]:
        """The sections of the recipe with what differs from the recipe that it extends."""
        base = self.llm.base
        sections: dict[str, dict[str, Any]] = {
            name: {} for name in ("llm", "alignment", "data", "align", "transfer", "evaluate")
        }
        if self.exercises.source is not None and base.name in _FOR_OTHER_EXERCISES:
            for name, changes in _FOR_OTHER_EXERCISES[base.name].items():
                sections[name].update(changes)
        if self.llm.model is not None:
            sections["llm"]["model"] = self._written(self.llm.model)
            if base.llm.revision is not None:
                sections["llm"]["revision"] = None
        sections["data"] = self._data() | sections["data"]
        for setting, count in self.llm.tokens.items():
            section, _, key = setting.partition(".")
            sections[section][key] = count
        sections["evaluate"] |= self._evaluation()
        return sections

    def _data(self) -> dict[str, Any]:
        of_base = self.llm.base.data.instructions
        data: dict[str, Any] = {}
        if self.exercises.source is not None:
            data["instructions"] = {"source": self._written(self.exercises.source)}
            # What the extended recipe says about its own exercises is wrong for others.
            others: dict[str, Any] = (
                {}
                if self.exercises.source == of_base.source
                else {"revision": None, "subset": None, "split": "train", "columns": None, "limit": None}
            )
            if self.exercises.columns is not None:
                others["columns"] = self.exercises.columns.model_dump(exclude_none=True)
            data["instructions"] |= {key: value for key, value in others.items() if getattr(of_base, key) != value}
        if self.dictionary.place is None:
            data["lexicons"] = "world"
        elif self.dictionary.place.is_file():
            data["lexicons"] = {self.language.code: self._written(self.dictionary.place)}
        else:
            data["lexicons"] = self._written(self.dictionary.place)
        return data

    def _evaluation(self) -> dict[str, Any]:
        of_base = self.llm.base.evaluate
        evaluation: dict[str, Any] = {}
        if self.benchmark is None:
            evaluation["benchmarks"] = []
        elif self.benchmark.path is None:
            from_hub = {"source": "hub"} if self.benchmark.on_hub else {}
            evaluation["benchmarks"] = [{"name": self.benchmark.name, **from_hub}]
        else:
            questions: dict[str, Any] = {"name": "custom", "path": self._written(self.benchmark.path)}
            if self.benchmark.names_language:
                questions["languages"] = self.language.code
            if self.benchmark.columns is not None:
                questions["columns"] = self.benchmark.columns.model_dump(mode="json", exclude_none=True)
            evaluation["benchmarks"] = [questions]
        if of_base.during is not None:
            evaluation["during"] = None
        if of_base.alignment == "world" and self.language.code not in WORLD_LANGUAGES:
            evaluation["alignment"] = None
        return evaluation

    def _section(self, name: str, content: dict[str, Any]) -> str:
        """A section as YAML, with the comments that belong to its settings."""
        lines = _yaml({name: content}).splitlines()
        notes = {
            "source:": self.exercises.note if name == "data" else "",
            "lexicons:": self._about_dictionary(),
            "benchmarks: []": "no questions, so lilift skips the evaluation; `lilift eval benchmarks` lists benchmarks",
            "pool: 1": "each word needs a soft token of its own here",
            "alignment: null": "lilift's own parallel sentences do not have this language",
            "tokens_per_micro_batch:": f"smaller than in {self.llm.base.name}, to fit the card" if self.llm.tokens else "",
        }
        for number, line in enumerate(lines):
            note = next((text for start, text in notes.items() if text and line.strip().startswith(start)), "")
            lines[number] = f"{line}  # {note}" if note else line
        return "\n".join(lines) + "\n"

    def _about_dictionary(self) -> str:
        lexicon = self.dictionary.lexicon
        return f"{len(lexicon.entries):,} English words" if lexicon else f"`{self.dictionary.fetch}` downloads it"

    def _written(self, place: Path | str) -> str:
        """A path from the folder of the recipe, or a name as it is."""
        if isinstance(place, str):
            return place
        place = place.expanduser()
        if place.is_absolute():
            return str(place)
        relative = os.path.relpath(place.resolve(), self.path.expanduser().resolve().parent)
        return Path(relative).as_posix() if relative.startswith("..") else f"./{Path(relative).as_posix()}"


def check_file(path: Path, *, replace: bool) -> None:
    """Check that lilift may write a recipe there.

    Raises:
        RecipeError: the file exists and `replace` is false, or its name does not end with .yaml.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError("the name of a recipe file ends with .yaml", where=path, remedy=f"write {path.with_suffix('.yaml')}")
    if path.exists() and not replace:
        others = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(2))
        free = next(other for other in others if not other.exists())
        raise RecipeError(
            "this file exists",
            where=path,
            remedy=f"give another name, as in `lilift recipe new {shlex.quote(str(free))}`, or replace it with --replace",
        )


def _yaml(settings: dict[str, Any]) -> str:
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=10_000)
