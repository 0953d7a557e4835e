"""Measure host memory and time to export a 7B model; the goal is a peak below 1 GB, for F16 and Q8_0 together.

python -m benchmarks export_memory --check

The model has the shapes of Llama 2 7B and no content: its weights, and a LoRA adapter on every linear layer, are sparse files.
The export reads, computes and writes the same as for a real model. It takes 21 GB of disk for a while (`--folder` chooses
where).
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.shared.result_files import benchmark_command, keep, report_goals

GOALS = {"peak GB": ("at most", 1.0)}
WIDTH, INNER, VOCABULARY, RANK = 4096, 11008, 32000, 16
ATTENTION = {f"self_attn.{name}_proj": (WIDTH, WIDTH) for name in "qkvo"}
FEED_FORWARD = {"mlp.gate_proj": (INNER, WIDTH), "mlp.up_proj": (INNER, WIDTH), "mlp.down_proj": (WIDTH, INNER)}


def sparse_safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str, element_bytes: int) -> None:
    """Write a safetensors file of zeros that takes no space on the disk."""
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + math.prod(shape) * element_bytes
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)


def make_run(folder: Path, depth: int) -> None:
    """Write a base model with this many layers, an adapter and an alignment layer, all zeros."""
    from lilift.model.snapshot import local_model_folder

    layers = {
        f"model.layers.{index}.{name}": shape for index in range(depth) for name, shape in (ATTENTION | FEED_FORWARD).items()
    }
    weights: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, WIDTH)}
    weights |= {f"{name}.weight": shape for name, shape in layers.items()}
    norms = ("input_layernorm", "post_attention_layernorm")
    weights |= {f"model.layers.{index}.{norm}.weight": (WIDTH,) for index in range(depth) for norm in norms}
    weights |= {"model.norm.weight": (WIDTH,), "lm_head.weight": (VOCABULARY, WIDTH)}
    adapter: dict[str, tuple[int, ...]] = {}
    for name, (rows, columns) in layers.items():
        adapter[f"base_model.model.{name}.lora_A.weight"] = (RANK, columns)
        adapter[f"base_model.model.{name}.lora_B.weight"] = (rows, RANK)
    for part in ("base", "adapter", "alignment"):
        (folder / part).mkdir()
    sparse_safetensors(folder / "base" / "model.safetensors", weights, "F16", 2)
    sparse_safetensors(folder / "adapter" / "adapter_model.safetensors", adapter, "F32", 4)
    hidden = 2 * 256
    alignment = {
        "hidden.weight": (hidden, 256),
        "hidden.bias": (hidden,),
        "output.weight": (WIDTH, hidden),
        "output.bias": (WIDTH,),
    }
    alignment |= {"bos": (WIDTH,), "eos": (WIDTH,)}
    sparse_safetensors(folder / "alignment" / "alignment.safetensors", alignment, "F32", 4)
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 32}))
    # The stand-in's tokenizer, with extra tokens up to the size of the vocabulary.
    stand_in = local_model_folder("stand-in:llm", None)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(stand_in / name, folder / "base" / name)
    sizes = {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": depth, "vocab_size": VOCABULARY}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "tie_word_embeddings": False}
    config = json.loads((stand_in / "config.json").read_text()) | sizes | heads
    (folder / "base" / "config.json").write_text(json.dumps(config))


def export(folder: Path, quantisations: tuple[str, ...]) -> dict[str, float]:
    """Export the run in this process, and return the memory and time that it takes."""
    from lilift.export.bundle import export_bundle
    from lilift.export.job import RunParts
    from lilift.recipe.load import load_recipe
    from lilift.recipe.schema import ExportSettings, LLMSettings

    recipe = load_recipe("tiny-cpu")
    recipe = recipe.model_copy(update={"llm": LLMSettings(model=str(folder / "base"))})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.monotonic(), time.process_time()
    parts = RunParts(alignment=folder / "alignment", adapter=folder / "adapter", data=folder / "data")
    report = export_bundle(recipe, ExportSettings(formats=("gguf",), quantisations=quantisations), parts, folder / "out")
    return {
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "GB before the export": before * 1024 / 1e9,
        "seconds": time.monotonic() - started,
        "CPU seconds": time.process_time() - cpu,
        "GB written": sum(report.files.values()) / 1e9,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure host memory and time to export a 7B model.")
    parser.add_argument("--folder", type=Path, help="working folder (default: the system's folder for temporary files)")
    parser.add_argument("--quant", default="f16,q8_0", help="GGUF types, separated by commas")
    parser.add_argument(
        "--layers", type=int, default=32, help="of 32; the peak does not depend on it, since one weight is in memory at a time"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if the goal is not met")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(export(arguments.inside, tuple(arguments.quant.split(",")))))
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        make_run(Path(name), arguments.layers)
        command = [*benchmark_command("export_memory"), "--inside", name, "--quant", arguments.quant]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print("\n".join(f"{name}: {value:.2f}" for name, value in found.items()))
    keep(
        "export_memory",
        {"goals": GOALS, "layers": arguments.layers, "quantisations": arguments.quant.split(","), "summary": found},
    )
    return 0 if report_goals(found, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
