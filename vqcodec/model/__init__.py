"""Tensor <-> grids of indices: transforms, quantizer and prior in torch, without any input or output of files."""
