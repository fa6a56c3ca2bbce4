"""Grids of indices <-> bytes: the integer prior, its traversal of the grids, and the rANS coder, in numpy.

numpy rather than torch, because no setting of the caller (autocast, default dtype, matmul precision, threads, backends)
affects it.  Matrix products hold integers in float32; every sum stays below 2^24, so that the result does not depend on
the order of summation.
"""
