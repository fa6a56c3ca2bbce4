"""Default values shared by the command line, the Python API, folder and cluster encoding, and the benchmarks.

This module imports nothing, so that help texts can show a default without loading the code that uses it.
"""

MODEL = "vqc-1"
"""Id of the model."""
QUALITY = 50.0
"""Quality, 0 to 100."""
EFFORT = 1
"""Encoder effort, one of :data:`EFFORTS`."""
EFFORTS = range(7)
"""Supported efforts.  Higher is slower and gives smaller files."""
REALISM = 0.0
"""Share of the lifelike picture in a decoded one, 0 to 1."""
MAX_PIXELS = 89_478_485
"""Largest number of pixels that is read unless the caller raises the limit.  The same as Pillow's limit."""
DECODE_FORMAT = "png"
"""Picture format of a decoded file whose name has no suffix to tell."""
