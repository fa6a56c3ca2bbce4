"""Photos -> weights.  Nothing outside this package imports it, except the command line's ``train``."""

STATE_FILE = "state.safetensors"
"""What a run can be continued from, in its folder."""
