"""Compare losses, gradients and speed of both stages in unsloth and in transformers, on the same 4-bit weights.

python -m benchmarks unsloth_parity --check
python -m benchmarks unsloth_parity --device cpu --backends transformers transformers --width 64 --layers 1    # a rehearsal

The LLM has the shape of Llama-2-7B with fewer layers and random weights. The encoder is lilift's stand-in. Each backend runs in
a process of its own, because unsloth changes transformers when it is imported.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.shared.result_files import benchmark_command, keep, report_goals
from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.bridge import BridgedModel
from lilift.model.bridge_files import load_part, save_part
from lilift.model.sources import model_folder_or_hub
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe
from lilift.train.step import compute_gradients

ROWS, SOURCE, WHOLE = 4, 128, 512
REPEATS = 3
STAGES = ("align", "transfer")
ADAPTER = "adapter"
GOALS = {
    "largest difference of losses, share": ("at most", 0.01),
    "largest difference of gradients, relative L2": ("at most", 0.05),
    "unsloth's speed beside transformers', stage 2": ("at least", 1.0),
}


def make_llm(folder: Path, width: int, layers: int) -> None:
    """Random weights in the shape of Llama-2-7B, with the stand-in's tokenizer."""
    stand_in = Path(model_folder_or_hub("stand-in:llm"))
    own = json.loads((stand_in / "config.json").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=own["vocab_size"],
        hidden_size=width,
        intermediate_size=width * 43 // 16,
        num_hidden_layers=layers,
        num_attention_heads=max(2, width // 128),
        max_position_embeddings=4096,
        bos_token_id=own["bos_token_id"],
        eos_token_id=own["eos_token_id"],
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for path in stand_in.glob("token*"):
        shutil.copy(path, folder / path.name)


def recipe_for(folder: Path, backend: str) -> Recipe:
    sizes = [f"{stage}.{name}=2048" for stage in STAGES for name in ("tokens_per_micro_batch", "tokens_per_step")]
    settings = [f"llm.model={folder}", f"llm.backend={backend}", "llm.dtype=bfloat16", "llm.gradient_checkpointing=true"]
    return load_recipe("tiny-cpu", [*settings, f"data.max_tokens={WHOLE}", *sizes])


def some_rows(bridge: BridgedModel) -> list[Row]:
    """Rows of unequal length, as in training batches: padding must not change the results."""
    words = bridge.causal_lm.get_input_embeddings().num_embeddings
    draw = torch.Generator().manual_seed(1)

    def ids(count: int, most: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, most, (count,), generator=draw).tolist())

    letters = bridge.encoder.model.get_input_embeddings().num_embeddings
    lengths = [SOURCE - 7 * number for number in range(ROWS)]
    return [Row(ids(source, letters), (), ids(WHOLE - SOURCE - 3 - source % 5, words)) for source in lengths]


def run_backend(folder: Path, backend: str, device: str, output: Path) -> None:
    """Run both stages once in this process; write losses and speed as JSON, gradients as safetensors."""
    bridge = load_bridge(recipe_for(folder, backend), device=device, to_train=True)
    figures: dict[str, Any] = {}
    for stage in STAGES:
        if stage == "transfer":
            _same_adapter(bridge, folder)
            bridge.train_only("adapter")
        else:
            bridge.train_only("alignment")
        bridge.train()
        trained = {name: weight for name, weight in bridge.named_parameters() if weight.requires_grad}
        figures[stage] = _one_stage(bridge, trained, device)
        gradients = {_plain(name): weight.grad.float().cpu() for name, weight in trained.items() if weight.grad is not None}
        save_file(gradients, output.with_suffix(f".{stage}.safetensors"))
        bridge.zero_grad(set_to_none=True)
    output.write_text(json.dumps(figures), encoding="utf-8")


def _same_adapter(bridge: BridgedModel, folder: Path) -> None:
    """Use the first backend's adapter, changed from its start so that both of its matrices have gradients."""
    attach_lora(bridge, load_recipe("tiny-cpu").transfer.lora)
    kept = folder / ADAPTER
    if not kept.exists():
        kept.mkdir()
        torch.manual_seed(2)
        with torch.no_grad():
            for name, weight in bridge.llm.named_parameters():
                if "lora_B" in name:
                    weight.copy_(torch.randn_like(weight) * 0.01)
        save_part(bridge, "adapter", kept)
    load_part(bridge, "adapter", kept)


def _one_stage(bridge: BridgedModel, trained: dict[str, torch.nn.Parameter], device: str) -> dict[str, float]:
    rows = some_rows(bridge)
    guard = OutOfMemoryGuard(lambda _line: None)
    loss_tokens = sum(len(row.response_ids) for row in rows)
    times = []
    for _ in range(REPEATS + 1):  # the first one compiles
        bridge.zero_grad(set_to_none=True)
        began = time.perf_counter()
        outcome = compute_gradients(
            bridge, [rows], list(trained.values()), loss_tokens=loss_tokens, max_grad_norm=1e9, guard=guard
        )
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return {"loss": outcome.loss, "tokens_per_second": outcome.tokens / sorted(times[1:])[REPEATS // 2]}


def _plain(name: str) -> str:
    """A parameter's name without the parts that wrappers add."""
    return name.replace("base_model.model.", "").replace(".default", "")


def compared(first: Path, second: Path) -> dict[str, float]:
    """Compare the second backend with the first."""
    one, other = (json.loads(path.read_text(encoding="utf-8")) for path in (first, second))
    losses, gradients = [], []
    for stage in STAGES:
        losses.append(abs(other[stage]["loss"] / one[stage]["loss"] - 1))
        expected, found = (load_file(path.with_suffix(f".{stage}.safetensors")) for path in (first, second))
        if expected.keys() != found.keys():
            raise RuntimeError(f"the backends train different weights in {stage}")
        gradients.append(float((_flat(found) - _flat(expected)).norm() / _flat(expected).norm()))
    speed = other["transfer"]["tokens_per_second"] / one["transfer"]["tokens_per_second"]
    return dict(zip(GOALS, (max(losses), max(gradients), speed), strict=True))


def _flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare unsloth with transformers on the same weights.")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--backends", nargs=2, default=["transformers", "unsloth"], help="compare the second with the first")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--output", type=Path, help="write the JSON here instead of to benchmarks/results/unsloth_parity.json")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "BACKEND", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        folder, backend, output = arguments.one
        run_backend(Path(folder), backend, arguments.device, Path(output))
        return 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "llm"
        make_llm(folder, arguments.width, arguments.layers)
        outputs = [Path(place) / f"{number}.json" for number in range(2)]
        for backend, output in zip(arguments.backends, outputs, strict=True):
            command = [*benchmark_command("unsloth_parity"), "--device", arguments.device]
            subprocess.run([*command, "--one", str(folder), backend, str(output)], check=True)
        summary = compared(*outputs)
        figures = [json.loads(output.read_text(encoding="utf-8")) for output in outputs]
    named = dict(zip(("first", "second"), zip(arguments.backends, figures, strict=True), strict=True))
    keep("unsloth_parity", {"goals": GOALS, "summary": summary, "backends": named}, arguments.output)
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
