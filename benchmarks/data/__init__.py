"""What is done to texts before training: code-switching and batches."""
