"""The encoder, the alignment layer, the 4-bit LLM, and the bridge that joins them."""

import logging

# On some CPUs bitsandbytes looks, when it is imported, for a package that fetches compiled code from the hub, and remarks that
# it is absent. lilift does without it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
