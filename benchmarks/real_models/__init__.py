"""The method on real pretrained models and real data, on a CPU."""
