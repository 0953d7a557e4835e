"""Writes GGUF, the file format of llama.cpp. Needs the packages of the extra `gguf`."""
