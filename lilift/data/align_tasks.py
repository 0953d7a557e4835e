"""Makes the tasks of stage 1 from examples: the text that the encoder reads, and the text that the LLM learns to write."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from lilift.data.prepared_data import PreparedData
from lilift.data.switching.code_switching import CodeSwitched, CodeSwitcher
from lilift.data.texts.examples import Example, Task
from lilift.recipe.schema import Recipe, Target


@dataclass(frozen=True)
class AlignTasks:
    """Makes the tasks of stage 1 as text, before tokenization: a question with switched words, and the target of the LLM.

    Attributes:
        switcher: swaps the words; None if stage 1 swaps no words.
        targets: kinds of targets and how often each is drawn; the draw is made for each row and epoch.
        seed: the seed of this draw.
    """

    switcher: CodeSwitcher | None
    targets: Mapping[Target, float]
    seed: int

    def task(self, example: Example, epoch: int, index: int) -> tuple[Task, CodeSwitched]:
        """The task of the example `index` in `epoch`, and its switched text.

        Raises:
            ValueError: this stage switches no words.
        """
        if self.switcher is None:
            raise ValueError("this stage switches no words")
        switched = self.switcher.switch(example.question, epoch=epoch, index=index)
        kind = self._kind(epoch, index)
        target = example.question if kind == "reconstruct" else example.response
        return Task(example.id, switched.text, target, kind), switched

    def unswitched(self, example: Example, epoch: int, index: int) -> Task:
        """The task of an unchanged text, translated or English: write it in English, or write the response to it."""
        kind = self._kind(epoch, index)
        target = example.question if kind == "reconstruct" else example.response
        return Task(example.id, example.source, target, kind, example.source_language)

    def _kind(self, epoch: int, index: int) -> Target:
        kinds = sorted(self.targets)
        if len(kinds) == 1:
            return kinds[0]
        rng = random.Random(f"target {self.seed} {epoch} {index}")
        return rng.choices(kinds, cum_weights=list(accumulate(self.targets[kind] for kind in kinds)))[0]


def align_tasks(prepared: PreparedData, recipe: Recipe) -> AlignTasks:
    """The tasks of stage 1.

    Raises:
        DataError: the recipe switches words and there is no lexicon.
    """
    if not recipe.switches_words:
        return AlignTasks(None, recipe.align.target, recipe.seed)
    switcher = CodeSwitcher(prepared.lexicons, recipe.data.code_switching, seed=recipe.seed, names=prepared.names)
    return AlignTasks(switcher, recipe.align.target, recipe.seed)
