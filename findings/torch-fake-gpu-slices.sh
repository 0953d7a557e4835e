#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  torch 2.13.0 (CPU build), Python 3.11
# Input:    FakeTensorMode on a machine without CUDA: a tensor with device="cuda", made by torch.empty, and its first rows.
# Expected: tensor[:2] and tensor.narrow(0, 0, 2) are the same view, so both work or neither does.
# Seen:     narrow, split, select and index_select work. tensor[:2], tensor[0] and tensor[:, :2] raise "PyTorch is not linked with
#           support for cuda devices": indexing in Python first asks for a guard on the device, which a CPU build has not got.
#           torch.mm(a, b, out_dtype=torch.float32, out=c) works; torch.addmm with the same arguments raises the same error, because
#           its stand-in copies into `out`.
# Why it matters: memory planners and compilers of kernels run a model's own code on fake CUDA tensors to count its memory without
#           a GPU. One pair of square brackets in that code ends the plan with an error about the build of PyTorch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5
venv/bin/python - <<'PY'
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

with FakeTensorMode():
    tensor = torch.empty(4, 4, device="cuda", dtype=torch.bfloat16)
    place = torch.empty(2, device="cuda", dtype=torch.int64)
    total = torch.empty(4, 4, device="cuda")
    trials = {
        "tensor.narrow(0, 0, 2)": lambda: tensor.narrow(0, 0, 2),
        "tensor.split(2)": lambda: tensor.split(2),
        "tensor.select(0, 0)": lambda: tensor.select(0, 0),
        "tensor.index_select(0, place)": lambda: tensor.index_select(0, place),
        "torch.mm into float32": lambda: torch.mm(tensor, tensor, out_dtype=torch.float32, out=total),
        "tensor[:2]": lambda: tensor[:2],
        "tensor[0]": lambda: tensor[0],
        "tensor[:, :2]": lambda: tensor[:, :2],
        "torch.addmm into float32": lambda: torch.addmm(total, tensor, tensor, out_dtype=torch.float32, out=total),
    }
    raised = {}
    for name, trial in trials.items():
        try:
            trial()
        except RuntimeError as failure:
            raised[name] = str(failure).splitlines()[0]
        print(f"{name}: {raised.get(name, 'works')}")
assert set(raised) == {"tensor[:2]", "tensor[0]", "tensor[:, :2]", "torch.addmm into float32"}, "another set raises now"
assert all("not linked with support for cuda" in text for text in raised.values())
PY
echo "as described"
