"""From text to batches: languages, lexicons, code-switching, instructions, tokens."""
