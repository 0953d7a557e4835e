"""lilift: teach an open LLM to reason in a language it barely knows, on one consumer GPU."""

import logging

__version__ = "0.1.0"

# On CPUs with AVX512-BF16, importing bitsandbytes warns that an optional kernel package is missing. lilift never uses that
# path, since it has no backward pass (see `lilift.model.four_bit_loading.keep_autograd_on_cpu`).
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
