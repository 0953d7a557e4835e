"""The encoder, the alignment layer, the 4-bit LLM, and the bridge that joins them."""

import logging

# On some CPUs bitsandbytes looks for a package that downloads compiled code from the hub, and logs that the package is missing.
# lilift does not need it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
