"""Faithful and lifelike pictures of the same streams, measured beside other codecs at equal bytes."""
