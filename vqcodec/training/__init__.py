"""Photos -> weights.  Nothing outside this package imports it, except the command line's ``train``."""
