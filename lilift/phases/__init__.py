"""A run and its folder: which phases, in what order, what is already done."""
