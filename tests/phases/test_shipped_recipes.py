"""Every shipped recipe is run once, a few steps long: its own methods, texts and layout, with stand-in models on a CPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from lilift.cli.app import main
from lilift.data.world import monolingual_text
from lilift.phases.run import FinishedRun, RunOptions, run_recipe
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import fingerprint, load_recipe, shipped_recipes
from lilift.recipe.schema import Recipe
from tests.translation.tiny_translators import save_nllb

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
    "baseline-translated-sft-7b-24gb": {"transfer/adapter"},
    "baseline-langbridge-7b-24gb": {"align/alignment"},
    "baseline-mindmerger-7b-24gb": {"align/alignment", "transfer/alignment"},
    "baseline-qalign-7b-24gb": {"align/adapter", "transfer/adapter"},
    "baseline-continued-7b-24gb": {"align/adapter", "transfer/adapter"},
    "baseline-layer-swap-7b-24gb": {"align/adapter", "transfer/task-adapter", "transfer/adapter"},
}
BOTH = {"align/alignment", "transfer/adapter"}


# The routes to a model in a language, beside a model that knows it: docs/choose.md.
ROUTES = ("translate-test", "translated-sft", "continued", "layer-swap")
COMPARED = ["llama-7b-24gb", *(f"baseline-{route}-7b-24gb" for route in ROUTES)]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What the baselines want: English questions, a translation and a response; and running text."""
    folder = tmp_path_factory.mktemp("translations")
    rows = (f"What is {n} plus {n + 1}?\tMeeqa {n} fi {n + 1}?\tIt is {2 * n + 1}. #### {2 * n + 1}\n" for n in range(30))
    (folder / "om.tsv").write_text("".join(rows), encoding="utf-8")
    (folder / "om.txt").write_text("\n".join(monolingual_text("om", 60, 0)), encoding="utf-8")
    return (f"data.translations={folder}/{{language}}.tsv", f"data.monolingual.files={folder}/{{language}}.txt")


@pytest.fixture(scope="module")
def runs(texts: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], FinishedRun]:
    """Runs a recipe once, a few steps long; only to be read."""
    folder = tmp_path_factory.mktemp("runs")

    @cache
    def run_once(name: str) -> FinishedRun:
        more = list(texts)
        if name == "baseline-translate-test-7b-24gb":  # SMALL leaves its translator out
            save_nllb(folder / "nllb")
            more.append(f"evaluate.pivot={{model: {folder}/nllb, beam_size: 1}}")
        return run(name, folder / name, *more)

    return run_once


def run(name: str, folder: Path, *overrides: str) -> FinishedRun:
    return run_recipe(small(name, *overrides), folder, RunOptions(quiet=True))


def small(name: str, *overrides: str) -> Recipe:
    recipe = load_recipe(name)
    more = ["encoder.model=stand-in:encoder"] if recipe.has_encoder else []
    if recipe.transfer.layer_swap is not None:  # the stand-in has four layers
        more.append("transfer.layer_swap={bottom: 1, top: 0, transition: 1}")
    return load_recipe(name, [*SMALL, *more, *overrides])


def different_runs() -> list[str]:
    """One shipped recipe for each run that differs with stand-ins: many recipes differ in models and batches alone.

    Those that a later test compares come first. SMALL leaves the translator of translate-test out.
    """
    compared = [name for name in COMPARED if "translate-test" not in name]
    found: dict[str, str] = {}
    for name in sorted(shipped_recipes(), key=lambda name: name not in compared):
        recipe = small(name, "data.translations={om: x}", "data.monolingual.files={om: x}")
        settings = recipe.as_dict() | {"name": "", "description": ""}
        found.setdefault(fingerprint(settings), name)
    return [name for name in found.values() if name != "tiny-cpu"]


def test_the_recipes_that_run_here_stand_for_all() -> None:
    assert {"smollm2-135m-cpu", *TRAINS} <= set(different_runs())
    assert len(different_runs()) < len(shipped_recipes()) / 2


@pytest.mark.parametrize("name", different_runs())
def test_it_trains_what_it_says_and_answers(name: str, runs: Callable[[str], FinishedRun]) -> None:
    finished = runs(name)
    trained = {path.parent.relative_to(finished.path).as_posix() for path in finished.path.rglob("*/*.safetensors")}
    assert trained == TRAINS.get(name, BOTH)
    (scores,) = finished.scores
    assert scores.title == ("both stages" if len(trained) > 1 else "after training")
    answered = {path.stem for path in (finished.path / "evaluate" / "lifted" / "world").glob("*.jsonl")}
    assert answered == {"en", "om"}
    assert (finished.path / "report.html").exists()


def test_all_routes_run_from_one_recipe_each_and_are_compared_on_one_page(
    runs: Callable[[str], FinishedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ctranslate2", reason="lilift translates with ctranslate2 (extra `pivot`)")
    folders = [str(runs(name).path) for name in COMPARED]
    page = tmp_path / "routes.html"
    assert main(["eval", "compare", *folders, "--html", str(page), "--json"]) == 0
    [table] = json.loads(capsys.readouterr().out)
    endings = [", both stages", ", after training, questions translated into English", ", after training"]
    titles = [f"{name}{ending}" for name, ending in zip(COMPARED, [*endings, *endings[:1] * 2], strict=True)]
    assert table["titles"] == titles
    content = page.read_text(encoding="utf-8")
    assert all(content.count(title) > 2 for title in titles)


def test_an_llm_without_a_bridge_is_exported_and_answers_as_in_its_run(
    runs: Callable[[str], FinishedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    from transformers import AutoModelForCausalLM

    run_folder, export = runs("baseline-layer-swap-7b-24gb").path, tmp_path / "export"
    settings = ["--to", "all", "--quant", "f32", "--dtype", "float32"]
    assert main(["export", str(run_folder), *settings, "--output", str(export)]) == 0
    drift = [line for line in capsys.readouterr().out.splitlines() if line.startswith("drift of")]
    assert [line.split(":")[0] for line in drift] == [
        "drift of dequantised base, float32",
        "drift of original base, float32",
        "drift of llm-f32.gguf",
    ]
    assert "same first choice 100.0%" in drift[0]
    assert "same first choice 100.0%" in drift[2]
    card = (export / "README.md").read_text(encoding="utf-8")
    assert "layer swapping" in card
    assert "Running text in om: om.txt" in card
    assert "encoder and" not in card
    assert not list(export.glob("encoder*")) + list(export.glob("align*"))
    ask = ["--benchmark", "world", "--languages", "om", "--limit", "2", "--max-new-tokens", "12"]
    assert main(["eval", str(export), *ask, "--output", str(tmp_path / "asked")]) == 0
    [answered] = (tmp_path / "asked").glob("*/world/om.jsonl")
    own = run_folder / "evaluate" / "lifted" / "world" / "om.jsonl"
    assert responses(answered) == responses(own)
    AutoModelForCausalLM.from_pretrained(export / "hf")


def responses(path: Path) -> dict[str, str]:
    return {line["id"]: line["response"] for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def test_an_adapter_that_goes_on_in_stage_2_starts_where_stage_1_left_it(texts: tuple[str, ...], tmp_path: Path) -> None:
    """With a learning rate of next to nothing, stage 2 leaves what stage 1 learned."""
    from safetensors.torch import load_file

    run("baseline-qalign-7b-24gb", tmp_path, *texts, "transfer.learning_rate=1e-12", "align.learning_rate=0.01")
    first, second = (load_file(tmp_path / stage / "adapter" / "adapter_model.safetensors") for stage in ("align", "transfer"))
    assert any(float(first[name].abs().max()) > 1e-3 for name in first if "lora_B" in name)
    assert all(float((first[name] - second[name]).abs().max()) < 1e-6 for name in first)


def test_what_a_baseline_lacks_is_named(runs: Callable[[str], FinishedRun], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(runs("baseline-langbridge-7b-24gb").path)]) == 2
    assert "only runs that train an adapter in stage 2" in capsys.readouterr().err
    monoreason = runs("baseline-monoreason-7b-24gb").path
    assert main(["eval", "alignment", str(monoreason), "--sentences", "world"]) == 3
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
