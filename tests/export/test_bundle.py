"""A whole export: what is written, what it says of itself, and what is left when it fails."""

from __future__ import annotations

import itertools
import json
import re
import resource
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import load_file

from lilift.data.batches.batching import Batch
from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.texts.examples import Task
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.export import base_check as base_sums
from lilift.export import hugging_face, safetensors_rows
from lilift.export.bundle import export_bundle
from lilift.export.drift import Candidate, measure_drift
from lilift.export.gguf import gguf_writer as gguf_file
from lilift.export.gguf import quantise
from lilift.export.job import RunParts
from lilift.export.merge import MergedWeights
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.bridge import BridgedModel
from lilift.model.bridge_files import save_part
from lilift.model.snapshot import local_model_folder
from lilift.phases.answering.systems import tokenisation_for
from lilift.recipe import sealed_folders, storage
from lilift.recipe.errors import EnvironmentUnfit, ModelError, StorageError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import ExportSettings, Recipe

QUESTION = "Omar has 25 bees.\nHe gives 7 to Lena. How many are left?"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("tiny-cpu")


@pytest.fixture(scope="module")
def bridge(recipe: Recipe) -> BridgedModel:
    """The stand-ins with an adapter that changes what the LLM says."""
    bridge = load_bridge(recipe, device="cpu")
    attach_lora(bridge, recipe.transfer.lora)
    torch.manual_seed(0)
    for name, parameter in bridge.llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return bridge.eval()


@pytest.fixture(scope="module")
def parts(bridge: BridgedModel, tmp_path_factory: pytest.TempPathFactory) -> RunParts:
    run = tmp_path_factory.mktemp("run")
    parts = RunParts(alignment=run / "align" / "alignment", adapter=run / "transfer" / "adapter", data=run / "data")
    with sealed_folders.sealed_folder(parts.alignment) as folder:
        save_part(bridge, "alignment", folder)
    with sealed_folders.sealed_folder(parts.adapter) as folder:
        save_part(bridge, "adapter", folder)
    return parts


@pytest.fixture(scope="module")
def exported(recipe: Recipe, parts: RunParts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything at once; rows come in many small chunks, as those of a large model do."""
    output = tmp_path_factory.mktemp("exported")
    settings = ExportSettings(formats=("hf", "gguf"), quantisations=("f32", "q8_0", "q4_k_m"), dtype="float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(safetensors_rows, "CHUNK_ELEMENTS", 5000)
        report = export_bundle(recipe, settings, parts, output)
    assert "q5_0" in " ".join(report.notes), "rows of 128 cannot be K-quants, and the user is told"
    return output


def test_lilift_json_names_every_part_and_its_hash(exported: Path) -> None:
    described = json.loads((exported / "lilift.json").read_text())
    named = [*described["llm"]["files"].values(), described["encoder"]["file"], described["alignment"]["file"], "spiece.model"]
    assert set(named) <= described["sha256"].keys()
    for name, digest in described["sha256"].items():
        assert storage.sha256_of(exported / name) == digest, name
    assert not list(exported.glob(".*")) + list(exported.glob("source*")), "nothing that is not a part"
    assert (described["llm"]["bos"], described["llm"]["stop"], described["llm"]["embedding_scale"]) == (1, [2], 1.0)


def test_tokenizers_arrive_byte_for_byte(exported: Path) -> None:
    encoder, llm = (local_model_folder(f"stand-in:{kind}", None) for kind in ("encoder", "llm"))
    assert (exported / "spiece.model").read_bytes() == (encoder / "spiece.model").read_bytes()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (exported / "hf" / name).read_bytes() == (llm / name).read_bytes()


def test_the_alignment_layer_is_the_trained_one(exported: Path, parts: RunParts) -> None:
    trained = load_file(parts.alignment / "alignment.safetensors")
    found = {tensor.name: torch.tensor(tensor.data) for tensor in GGUFReader(str(exported / "align.gguf")).tensors}
    assert found.keys() == trained.keys()
    for name, weight in trained.items():
        assert torch.equal(found[name].view(weight.shape), weight), name


def test_stock_programs_see_the_very_prompt_of_training(
    exported: Path, recipe: Recipe, bridge: BridgedModel, stock_server: Callable[..., Any]
) -> None:
    """llama.cpp's template engine and Ollama's Modelfile, token by token."""
    prompt = TEMPLATES[recipe.data.template].prompt(QUESTION, "soft+text", "respond")
    tokens = [bridge.tokens.bos, *bridge.llm_tokenizer(prompt, add_special_tokens=False).input_ids]
    server = stock_server(exported / "llm-q8_0.gguf")
    by_llama = server.rendered([{"role": "user", "content": f" {QUESTION}\n"}])
    assert server.tokens(by_llama, special=True) == tokens
    ollama = (exported / "Modelfile").read_text()
    found = re.search(r'"user" }}(.*?){{ .Content }}(.*?){{ else', ollama, re.DOTALL)
    assert found is not None
    by_ollama = found[1] + QUESTION + found[2]
    assert server.tokens(by_ollama, special=True) == tokens
    assert 'PARAMETER stop "</s>"' in ollama
    turns = [("user", "One?"), ("assistant", "Yes."), ("user", "Two?")]
    rendered = server.rendered([{"role": role, "content": text} for role, text in turns])
    assert rendered == "One?\nAnswer: Yes.</s>Two?\nAnswer:", "a second turn follows the answer as training ended it"
    assert (exported / re.findall(r"^FROM ./(.*)$", ollama, re.MULTILINE)[0]).is_file()


def test_drift_is_nothing_for_what_training_saw_and_something_for_the_rest(
    exported: Path, bridge: BridgedModel, parts: RunParts
) -> None:
    llm = local_model_folder("stand-in:llm", None)
    candidates = [
        Candidate.merged(
            name, MergedWeights(llm, parts.adapter, quantized=True, merge_base=name, compute_dtype="float32"), "float32"
        )
        for name in ("dequantised", "original")
    ]
    candidates += [Candidate.gguf(exported / f"llm-{kind}.gguf", llm) for kind in ("f32", "q8_0", "q4_k_m")]
    tokenisation = Tokenisation(
        bridge.encoder.tokenizer,
        bridge.llm_tokenizer,
        TEMPLATES["plain"],
        "soft",
        bridge.alignment.shape,
        True,
        Limits(128, 192, "error"),
    )
    rows = tokenisation.rows([Task("a", QUESTION, "25 - 7 = 18. The answer is 18.", "respond")])
    found = {each.name: each for each in measure_drift(bridge, [row for row in rows if row is not None], candidates)}
    assert found["dequantised"].divergence < 1e-6
    assert found["llm-f32.gguf"].divergence < 1e-6
    assert found["dequantised"].loss == pytest.approx(found["dequantised"].live_loss, abs=1e-4)
    assert 1e-6 < found["llm-q8_0.gguf"].divergence < found["llm-q4_k_m.gguf"].divergence < 0.2
    assert found["original"].divergence > 10 * found["dequantised"].divergence
    batch = bridge.collate([row for row in rows if row is not None])
    with torch.no_grad():
        assert float(bridge.loss(batch)) == pytest.approx(found["original"].live_loss, abs=1e-5)


def test_drift_is_the_same_where_memory_runs_out_on_the_way(
    bridge: BridgedModel, recipe: Recipe, parts: RunParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [Task(str(count), QUESTION * count, f"It is {count}, as one can see." * count, "respond") for count in (1, 2, 3, 4)]
    rows = [row for row in tokenisation_for(bridge, recipe, None).rows(tasks) if row is not None]
    merged = MergedWeights(
        local_model_folder("stand-in:llm", None), parts.adapter, quantized=True, merge_base="original", compute_dtype="float32"
    )
    candidates = [Candidate.merged("original", merged, "float32")]
    plain = measure_drift(bridge, rows, candidates)
    asked: list[int] = []
    embed = bridge.embed

    def embed_little(batch: Batch) -> Any:
        asked.append(batch.mask.shape[0])
        if asked[-1] > 1 or len(asked) == 6:  # and once more, as if another program had taken the rest
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(batch)

    monkeypatch.setattr(bridge, "embed", embed_little)
    notes: list[str] = []
    assert measure_drift(bridge, rows, candidates, note=notes.append) == [
        replace(each, **{name: pytest.approx(value, abs=1e-5) for name, value in each.as_dict().items() if name != "name"})
        for each in plain
    ]
    assert asked[0] == 4
    assert len(notes) >= 2
    assert all("memory ran out" in note for note in notes)


def failing(function: Callable[..., Any], *at: int) -> Callable[..., Any]:
    """A function for which there is no memory the n-th time it is called; without numbers, never."""
    calls = itertools.count(1)

    def called(*arguments: Any) -> Any:
        if next(calls) in at or not at:
            raise MemoryError
        return function(*arguments)

    return called


def dequantised(path: Path) -> dict[str, torch.Tensor]:
    return {tensor.name: torch.tensor(dequantize(tensor.data, tensor.tensor_type)) for tensor in GGUFReader(str(path)).tensors}


def test_a_merge_goes_on_in_smaller_chunks_where_memory_runs_out(
    recipe: Recipe, parts: RunParts, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the midst of a tensor, and where one file has it and another does not: it is begun anew in all of them."""
    monkeypatch.setattr(safetensors_rows, "CHUNK_ELEMENTS", 40_000)
    monkeypatch.setattr(gguf_file, "quantize", failing(gguf_file.quantize, 4, 40))
    monkeypatch.setattr(hugging_face, "_in_precision", failing(hugging_face._in_precision, 30))
    settings = ExportSettings(formats=("hf", "gguf"), quantisations=("f32", "q8_0"), dtype="float32")
    report = export_bundle(recipe, settings, parts, tmp_path / "export")
    assert "memory ran out 3 times" in report.notes[-1]
    # Sums of products may end in other digits where they are cut otherwise.
    found, expected = (load_file(folder / "hf" / "model.safetensors") for folder in (tmp_path / "export", exported))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    for name, within in (("llm-f32.gguf", 1e-6), ("llm-q8_0.gguf", 2e-2)):
        found, expected = (dequantised(folder / name) for folder in (tmp_path / "export", exported))
        torch.testing.assert_close(found, expected, atol=within, rtol=0)


def test_a_merge_for_which_there_is_no_memory_is_one_line_and_leaves_nothing(
    recipe: Recipe, parts: RunParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_file, "quantize", failing(gguf_file.quantize))
    with pytest.raises(EnvironmentUnfit, match="not enough free memory to merge"):
        export_bundle(recipe, ExportSettings(formats=("gguf",)), parts, tmp_path / "export")
    assert not list((tmp_path / "export").rglob("*"))


@contextmanager
def largest_file(size: int) -> Any:
    """A disk on which no file may be larger: the kernel refuses as it does when it is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("form", ["hf", "gguf"])
def test_a_full_disk_leaves_the_old_export_and_nothing_half_written(
    form: str, recipe: Recipe, parts: RunParts, exported: Path, tmp_path: Path
) -> None:
    output = tmp_path / "export"
    shutil.copytree(exported, output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with largest_file(1_000_000), pytest.raises(StorageError, match="export"):
        export_bundle(recipe, ExportSettings(formats=(form,), quantisations=("f16",)), parts, output)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_what_an_earlier_export_left_and_this_one_does_not_write_goes(
    recipe: Recipe, parts: RunParts, exported: Path, tmp_path: Path
) -> None:
    output = tmp_path / "export"
    shutil.copytree(exported, output)
    (output / "done.json").write_text("{}")
    (output / ".partial-parts").mkdir()
    export_bundle(recipe, ExportSettings(formats=("hf",)), parts, output)
    assert {path.name for path in output.iterdir()} == {"hf", "alignment", "README.md", "lilift.json", "done.json"}


def test_room_is_looked_for_before_the_first_byte(
    recipe: Recipe, parts: RunParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    for form in ("hf", "gguf"):
        with pytest.raises(StorageError, match=r"no room for the .* MB are needed"):
            export_bundle(recipe, ExportSettings(formats=(form,)), parts, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_room_is_needed_for_all_files_together(
    recipe: Recipe, parts: RunParts, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = (exported / "hf" / "model.safetensors").stat().st_size
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        storage.shutil, "disk_usage", lambda _: usage._replace(free=merged + 5_000_000)
    )  # the encoder takes 6 MB
    report = export_bundle(recipe, ExportSettings(formats=("hf", "gguf")), parts, tmp_path / "export")
    with pytest.raises(StorageError, match="no room for the GGUF files"):
        report.raise_refusal()
    assert (tmp_path / "export" / "hf" / "model.safetensors").is_file()


def test_a_base_of_another_revision_is_refused(recipe: Recipe, parts: RunParts, tmp_path: Path) -> None:
    phase = tmp_path / "transfer"
    shutil.copytree(parts.adapter, phase / "adapter")
    base = local_model_folder("stand-in:llm", None)
    base_sums.record_base(base, phase)
    base_sums.check_same_base(base, phase)
    recorded = storage.read_json(phase / base_sums.SUMS_FILE)
    storage.write_json(phase / base_sums.SUMS_FILE, dict.fromkeys(recorded, "0" * 64))
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file that this run was trained on"):
        export_bundle(recipe, ExportSettings(), RunParts(parts.alignment, phase / "adapter", parts.data), tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_without_a_quantiser_k_quants_are_refused_at_once(
    recipe: Recipe, parts: RunParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise.shutil, "which", lambda _: None)
    monkeypatch.setattr(quantise.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentUnfit, match="llama-quantize"):
        export_bundle(recipe, ExportSettings(formats=("gguf",), quantisations=("q4_k_m",)), parts, tmp_path / "export")
    assert not list((tmp_path / "export").rglob("*"))
