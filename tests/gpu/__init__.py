"""Checks that need a GPU; run by hand, not by pytest."""
