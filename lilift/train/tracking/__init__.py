"""Copies of a stage's metrics for programs that draw them: TensorBoard, Trackio, Weights & Biases."""
