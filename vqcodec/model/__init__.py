"""The networks, in torch: transforms and quantizer (pictures <-> indices) and prior (probabilities of indices)."""
