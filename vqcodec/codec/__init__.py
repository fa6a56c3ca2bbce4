"""A picture <-> the bytes of a stream."""
