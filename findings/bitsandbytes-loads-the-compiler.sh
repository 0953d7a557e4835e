#!/usr/bin/env bash
# Date:     2026-11-28
# Version:  bitsandbytes 0.50.2, torch 2.13.0 (CPU build), Python 3.11
# Input:    `import bitsandbytes` in a fresh interpreter, on a machine without a GPU; nothing is called.
# Expected: It imports torch and its own modules. torch.compile does its work when a compiled function is first called.
# Seen:     Four functions of bitsandbytes/backends/default/ops.py are given to torch.compile while it is imported, and torch.compile
#           imports its backend at once. So the import brings dynamo, inductor, functorch's compiler and networkx, some 600 modules,
#           and takes more than twice the processor time of `import torch`. With torch.compile replaced by a function that waits for
#           the first call, none of them comes, and 4-bit weights are dequantised to the same bits.
# Why it matters: every command line tool and test that quantises in 4 bits pays two seconds or more at each start, and a search for
#           slow imports names torch, not bitsandbytes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5 bitsandbytes==0.50.2
cat > measure.py <<'PY'
import hashlib
import logging
import sys
import time

logging.disable(logging.WARNING)
began = time.process_time()
import torch

if "later" in sys.argv:
    real = torch.compile

    def later(function=None, **options):
        if function is None:
            return lambda given: later(given, **options)
        return lambda *arguments, **named: real(function, **options)(*arguments, **named)

    torch.compile = later
if "torch-alone" not in sys.argv:
    import bitsandbytes
seconds = time.process_time() - began
compiler = sorted(name for name in ("torch._inductor.compile_fx", "torch._dynamo.convert_frame", "networkx") if name in sys.modules)
digest = ""
if "torch-alone" not in sys.argv:
    weight = torch.linspace(-1, 1, 4096).reshape(64, 64)
    packed, state = bitsandbytes.functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    digest = hashlib.sha256(bitsandbytes.functional.dequantize_4bit(packed, state).numpy().tobytes()).hexdigest()[:16]
print(len(sys.modules), len(compiler), round(seconds, 1), digest)
PY
for how in torch-alone as-it-is later; do
    echo "$how: modules, of the compiler, processor seconds, digest: $(venv/bin/python measure.py $how | tee $how.txt)"
done
read -r _ none _ < torch-alone.txt
read -r modules compiler _ digest < as-it-is.txt
read -r fewer gone _ same < later.txt
[ "$none" = 0 ] && [ "$compiler" = 3 ] && [ "$gone" = 0 ] && [ "$digest" = "$same" ]
[ $((modules - fewer)) -gt 400 ]
echo "as described"
