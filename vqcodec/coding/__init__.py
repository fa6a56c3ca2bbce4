"""Grids of indices <-> bytes, in integers only: numpy, no torch, no gradients.

numpy rather than torch because nothing that a caller sets (autocast, default dtype, matmul precision, threads,
backends) reaches it.  Integers are held in float32 wherever a matrix product is needed; every sum stays below 2^24, so
that the result does not depend on the order of summation.
"""
