"""Every default that more than one entrance shares: command line, Python, batches, clusters and benchmarks.

It imports nothing, so that a help text can name a default without loading what it belongs to.
"""

MODEL = "vqc-1"
QUALITY = 50.0
EFFORT = 1
EFFORTS = range(4)
"""The efforts that the encoder knows; higher is slower and smaller."""
MAX_PIXELS = 89_478_485
"""Largest picture that is read without being asked to: Pillow's own limit, a quarter of a gigabyte of RGB."""
DECODE_FORMAT = "png"
"""Picture format of a decoded file whose name does not say."""
