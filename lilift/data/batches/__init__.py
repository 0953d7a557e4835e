"""From texts to tokens, and from tokens to the batches of a step."""
