"""Compiled kernels, each once for every instruction set; `graddesc.isa` chooses among them."""
