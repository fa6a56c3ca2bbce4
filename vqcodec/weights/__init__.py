"""The shipped weights files, and the registry that finds, checks and loads them."""
