"""Every shipped recipe is run once, a few steps long: its own methods, texts and layout, with stand-in models on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.cli.app import main
from lilift.phases.run import FinishedRun, RunOptions, run_recipe
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import fingerprint, load_recipe, shipped_recipes
from lilift.recipe.schema import Recipe

STEPS = 2
# What makes a recipe small, and leaves what it does as it is.
SMALL = [
    "card=cpu",
    "languages=[om]",
    "llm.model=stand-in:llm",
    "llm.dtype=float32",
    "data.instructions={source: world, limit: 40}",
    "data.lexicons=world",
    "data.max_tokens=192",
    "encoder.max_tokens=128",
    "encoder.dtype=float32",
    "evaluate={benchmarks: [{name: world, limit: 2}], max_new_tokens: 12, tokens_per_batch: 1024}",
    "export.formats=[]",
    *(
        f"{stage}.{name}={value}"
        for stage in ("align", "transfer")
        for name, value in {"max_steps": STEPS, "tokens_per_step": 384, "tokens_per_micro_batch": 384}.items()
    ),
]
# What a run trains, stage by stage.
TRAINS = {
    "baseline-monoreason-7b-24gb": {"transfer/adapter"},
    "baseline-multireason-7b-24gb": {"transfer/adapter"},
    "baseline-langbridge-7b-24gb": {"align/alignment"},
    "baseline-mindmerger-7b-24gb": {"align/alignment", "transfer/alignment"},
    "baseline-qalign-7b-24gb": {"align/adapter", "transfer/adapter"},
}
BOTH = {"align/alignment", "transfer/adapter"}


@pytest.fixture(scope="module")
def translations(tmp_path_factory: pytest.TempPathFactory) -> str:
    """English questions, a translation and a response, as the baselines want them."""
    folder = tmp_path_factory.mktemp("translations")
    rows = (f"What is {n} plus {n + 1}?\tMeeqa {n} fi {n + 1}?\tIt is {2 * n + 1}. #### {2 * n + 1}\n" for n in range(30))
    (folder / "om.tsv").write_text("".join(rows), encoding="utf-8")
    return f"data.translations={folder}/{{language}}.tsv"


def run(name: str, folder: Path, *overrides: str) -> FinishedRun:
    return run_recipe(small(name, *overrides), folder, RunOptions(quiet=True))


def small(name: str, *overrides: str) -> Recipe:
    encoder = ["encoder.model=stand-in:encoder"] if load_recipe(name).has_encoder else []
    return load_recipe(name, [*SMALL, *encoder, *overrides])


def different_runs() -> list[str]:
    """One shipped recipe for each run that differs with stand-ins: many recipes differ in models and batches alone."""
    found: dict[str, str] = {}
    for name in shipped_recipes():
        settings = small(name, "data.translations={om: x}").as_dict() | {"name": "", "description": ""}
        found.setdefault(fingerprint(settings), name)
    return [name for name in found.values() if name != "tiny-cpu"]


def test_the_recipes_that_run_here_stand_for_all() -> None:
    assert {"smollm2-135m-cpu", *TRAINS} <= set(different_runs())
    assert len(different_runs()) < len(shipped_recipes()) / 2


@pytest.mark.parametrize("name", different_runs())
def test_it_trains_what_it_says_and_answers(name: str, translations: str, tmp_path: Path) -> None:
    finished = run(name, tmp_path, translations)
    trained = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*/*.safetensors")}
    assert trained == TRAINS.get(name, BOTH)
    (scores,) = finished.scores
    assert scores.title == ("both stages" if len(trained) > 1 else "after training")
    answered = {path.stem for path in (tmp_path / "evaluate" / "lifted" / "world").glob("*.jsonl")}
    assert answered == {"en", "om"}
    assert (tmp_path / "report.html").exists()


def test_an_adapter_that_goes_on_in_stage_2_starts_where_stage_1_left_it(translations: str, tmp_path: Path) -> None:
    """With a learning rate of next to nothing, stage 2 leaves what stage 1 learned."""
    from safetensors.torch import load_file

    run("baseline-qalign-7b-24gb", tmp_path, translations, "transfer.learning_rate=1e-12", "align.learning_rate=0.01")
    first, second = (load_file(tmp_path / stage / "adapter" / "adapter_model.safetensors") for stage in ("align", "transfer"))
    assert any(float(first[name].abs().max()) > 1e-3 for name in first if "lora_B" in name)
    assert all(float((first[name] - second[name]).abs().max()) < 1e-6 for name in first)


def test_what_a_baseline_lacks_is_named(translations: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("baseline-monoreason-7b-24gb", tmp_path, translations)
    assert main(["export", str(tmp_path)]) == 2
    assert "only runs that train both an alignment layer and an adapter" in capsys.readouterr().err
    assert main(["eval", "alignment", str(tmp_path), "--sentences", "world"]) == 3
    assert "does not train the alignment layer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["align.skip=true", "transfer.skip=true"], "skips both stages and trains nothing"),
        (["encoder.model=none"], r"alignment\.layout: recipes without an encoder .* need text"),
        (["alignment.layout=text"], r"alignment\.layout: recipes without an encoder .* need text"),
        (["encoder.model=none", "alignment.layout=text"], r"align\.trains: a recipe without an encoder has no alignment layer"),
        (["align.skip=true"], r"transfer\.control|evaluate\.alignment|export\.formats"),
        (
            ["transfer.trains=alignment", "transfer.control=false", "evaluate.alignment=null"],
            r"export\.formats: an export needs",
        ),
    ],
)
def test_stages_that_contradict_one_another_are_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("tiny-cpu", overrides)
