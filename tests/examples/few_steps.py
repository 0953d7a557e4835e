"""Settings with which an example runs through all phases in seconds."""

FEW_STEPS = (
    "align.max_steps=2",
    "transfer.max_steps=2",
    "transfer.control=false",
    "evaluate.untrained=false",
    "evaluate.alignment=none",
    "evaluate.benchmarks.0.limit=2",
    "evaluate.max_new_tokens=8",
    "export.formats=[]",
)
