"""The LLM in 4 bits with its adapter, loaded by transformers or by unsloth; and an LLM without a bridge."""

import lilift.model.bitsandbytes_import  # noqa: F401  # before transformers and peft import bitsandbytes
