"""Picture files and Pillow images <-> 8-bit planes and metadata."""
