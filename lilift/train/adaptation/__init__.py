"""The short training of an encoder on running text, before stage 1."""
