"""Weights files, and the registry that finds and checks them."""
