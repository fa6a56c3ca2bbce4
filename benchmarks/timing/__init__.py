"""Times and memory: throughput, ratios of times, the cost of large collections, targets of the encoder."""
