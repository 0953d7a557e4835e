"""The loss over the vocabulary without its logits: linear cross-entropy."""
