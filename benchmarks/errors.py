"""What can go wrong in a benchmark, one named class per defect."""


class BenchmarkError(Exception):
    """Base of everything that the benchmarks raise on purpose."""


class NoPictures(BenchmarkError):
    """A data set without a single picture that can be opened."""


class UnknownCodec(BenchmarkError):
    """A codec name that is not listed."""


class CodecUnavailable(BenchmarkError):
    """A known codec whose library or weights are not installed."""


class RoundTripFailed(BenchmarkError):
    """A file that was written does not come back as a picture of the same size."""


class InvalidResult(BenchmarkError):
    """A JSON file that is not a result in CompressAI's schema."""
