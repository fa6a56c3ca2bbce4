"""Measure vqcodec on photographs, beside JPEG and its successors: rate, distortion, time and memory.

::

    rd/          photographs, codecs, measurements of files on disk, results in CompressAI's schema, BD-rates
    report/      what ``rd`` writes: an HTML page, plots, Markdown, a summary in JSON
    timing/      throughput and memory, ratios of times, the cost of large collections, targets of the encoder
    realism/     faithful and lifelike pictures by measures of perception
    bottlenecks/ the VQ-VAE family and its ancestors, trained side by side
    likelihood/  rates of priors, as bits per dimension
    generation/  samples of priors that know classes
    cli.py       the commands

vqcodec itself is used through its public interface only, besides its formulas in ``vqcodec.metrics``, but for
``bottlenecks/``, which builds on ``vqcodec.model`` and ``vqcodec.training``.
"""
