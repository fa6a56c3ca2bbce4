"""The ``vqcodec`` command."""
