"""Several processes that train one run together, started by torchrun: one for each GPU, or several on a CPU."""
