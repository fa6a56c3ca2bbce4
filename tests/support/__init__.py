"""Helpers of the tests: tiny networks, streams in pieces, damaged and odd files, an independent decoder."""
