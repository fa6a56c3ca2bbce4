"""Threads, processes, groups and memory."""
