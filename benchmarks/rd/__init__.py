"""Rate and distortion: photographs, codecs, measurements, curves and BD-rates."""
