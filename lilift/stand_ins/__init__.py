"""Small models that stand in for downloaded ones: `llm/` and `encoder/`, made by `python -m lilift.stand_ins.make`."""
