"""Threads, processes, grouping of pictures, and memory."""
