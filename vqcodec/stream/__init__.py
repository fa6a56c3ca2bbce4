"""The bytes of a ``.vqc`` file."""
