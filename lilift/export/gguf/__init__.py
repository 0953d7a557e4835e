"""GGUF: the files that llama.cpp reads. Needs the packages of the extra `gguf`, never torch."""
