"""Small models that replace downloaded ones in tests and `tiny-cpu`; `python -m lilift.stand_ins.make` trains them."""
