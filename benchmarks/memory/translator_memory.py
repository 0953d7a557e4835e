"""Compare the memory that lilift computes for a translator with what a random one takes on a CPU.

python -m benchmarks translator_memory

The translator is an M2M100 model with random weights, converted to 8 bits. It translates one full batch of short texts and one
of long ones, in a process of its own each. A random model never ends a translation, so each runs to its limit of three times
its text, and the computation takes that growth. The result is the process's peak above its memory before the translation.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from benchmarks.shared.result_files import benchmark_command, keep
from lilift.recipe.schema import PivotSettings
from lilift.translation.find_translator import find_translator
from lilift.translation.translator import BATCH_TOKENS, GROWTH, SHORTEST_BUCKET, Translator
from lilift.translation.translator_languages import translator_language
from lilift.translation.translator_memory import translator_memory

WIDTH, LAYERS, INNER, BEAMS = 192, 3, 384, 4
WORD = "mary "


def build(folder: Path) -> None:
    """A random model with a vocabulary of a few words."""
    import transformers

    from lilift.model.seeding import seeded
    from tests.translation import tiny_translators

    tiny_translators.save_nllb(folder)
    config = transformers.M2M100Config.from_pretrained(folder)
    for name, value in {"d_model": WIDTH, "encoder_layers": LAYERS, "decoder_layers": LAYERS}.items():
        setattr(config, name, value)
    config.encoder_ffn_dim = config.decoder_ffn_dim = INNER
    with seeded(0):
        transformers.M2M100ForConditionalGeneration(config).save_pretrained(folder)


def peak(folder: Path, bucket: int) -> dict[str, Any]:
    """Translate one full batch whose texts fill a bucket, in this process."""
    translator = Translator(find_translator(str(folder)), device="cpu", threads=1)
    source, target = (translator_language(translator.files, code, is_target=code == "en") for code in ("sw", "en"))
    text = WORD * (bucket - 4)
    before = psutil.Process().memory_info().rss
    translator.translate([text] * (BATCH_TOKENS // bucket), source, target, beam_size=BEAMS)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"MiB": (most - before) / 2**20, "tokens of a text": translator._count(text)}


def main() -> int:
    if len(sys.argv) == 3:
        print(json.dumps(peak(Path(sys.argv[1]), int(sys.argv[2]))))
        return 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "nllb"
        build(folder)
        find_translator(str(folder))
        computed = translator_memory(PivotSettings(model=str(folder), beam_size=BEAMS), on_gpu=False, growth=GROWTH)
        assert computed is not None
        found = {}
        for bucket in (SHORTEST_BUCKET, 8 * SHORTEST_BUCKET):
            command = [*benchmark_command("translator_memory"), str(folder), str(bucket)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[f"texts of {bucket} tokens"] = json.loads(done.stdout)
            print(bucket, found[f"texts of {bucket} tokens"], flush=True)
    expected = {"keys and values": computed.keys_and_values / 2**20, "logits": computed.logits / 2**20}
    print(expected)
    keep("translator_memory", {"computed MiB": expected, "measured": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
