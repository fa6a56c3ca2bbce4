"""Photographs -> weights file.  Only the command ``vqcodec train`` imports this package."""

STATE_FILE = "state.safetensors"
"""File in a run's folder that holds all state needed to resume the run."""
WEIGHTS_FILE = "weights.safetensors"
"""File in the folder of a lifelike run that holds the model that it trains a second synthesis for."""
