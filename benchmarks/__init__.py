"""Where vqcodec stands on photographs: rate, distortion and time, beside JPEG and its successors.

::

    folder           Photo            Measurement               Result             report
    datasets.py ---> sweep.py ------> measure.py -------------> results.py ------> plots.py, page.py, markdown.py
                     every codec,     one picture, codec and    one per codec,     summary.py: BD-rates
                     picture and      quality: bytes on disk,   CompressAI's       against JPEG (bdrate.py)
                     quality          decoded again             JSON

``codecs.py`` holds one thin class per codec, ``speed.py`` throughput and memory, ``compare.py`` what changed between
two results, ``cli.py`` the commands.  vqcodec itself is used through its public interface only.
"""
