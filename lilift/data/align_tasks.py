"""What stage 1 makes of an English example, before anything is tokenised."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from lilift.data.prepare import PreparedData
from lilift.data.switching.code_switching import CodeSwitched, CodeSwitcher
from lilift.data.texts.examples import Example, Task
from lilift.recipe.schema import Recipe, Target


@dataclass(frozen=True)
class AlignTasks:
    """What stage 1 makes of an example, before tokens: the switched question, and what the LLM is to say of it.

    Attributes:
        switcher: swaps the words; None where stage 1 switches none.
        targets: what the LLM is to say, and how often; drawn for each row and epoch.
        seed: of that draw.
    """

    switcher: CodeSwitcher | None
    targets: Mapping[Target, float]
    seed: int

    def task(self, example: Example, epoch: int, index: int) -> tuple[Task, CodeSwitched]:
        """The task of the example `index` in `epoch`, and how its text was switched."""
        if self.switcher is None:
            raise ValueError("this stage switches no words")
        switched = self.switcher.switch(example.question, epoch=epoch, index=index)
        kind = self._kind(epoch, index)
        target = example.question if kind == "reconstruct" else example.response
        return Task(example.id, switched.text, target, kind), switched

    def unswitched(self, example: Example, epoch: int, index: int) -> Task:
        """The task of a text as it is, translated or English: say it in English, or the response to it."""
        kind = self._kind(epoch, index)
        return Task(example.id, example.source, example.question if kind == "reconstruct" else example.response, kind)

    def _kind(self, epoch: int, index: int) -> Target:
        kinds = sorted(self.targets)
        if len(kinds) == 1:
            return kinds[0]
        rng = random.Random(f"target {self.seed} {epoch} {index}")
        return rng.choices(kinds, cum_weights=list(accumulate(self.targets[kind] for kind in kinds)))[0]


def align_tasks(prepared: PreparedData, recipe: Recipe) -> AlignTasks:
    """The tasks of stage 1.

    Raises:
        DataError: there is no lexicon.
    """
    if not recipe.switches_words:
        return AlignTasks(None, recipe.align.target, recipe.seed)
    switcher = CodeSwitcher(prepared.lexicons, recipe.data.code_switching, seed=recipe.seed, names=prepared.names)
    return AlignTasks(switcher, recipe.align.target, recipe.seed)
