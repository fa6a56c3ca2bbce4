"""The codec as a density: a bound on log p(x) in bits per dimension, beside lossless codecs.

::

    bound.py   log p(z) of the indices and log p(x | z) of the pixels
    study.py   all pictures at all qualities, JSON and page
"""
