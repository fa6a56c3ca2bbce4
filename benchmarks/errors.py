"""Errors of the benchmarks, a class for each."""


class BenchmarkError(Exception):
    """Base class of all errors of the benchmarks."""


class NoPictures(BenchmarkError):
    """The data set has no readable picture."""


class UnknownCodec(BenchmarkError):
    """No codec has this name."""


class CodecUnavailable(BenchmarkError):
    """The codec's library or weights are not installed."""


class FeaturesUnavailable(BenchmarkError):
    """The network that compares pictures is not installed."""


class RoundTripFailed(BenchmarkError):
    """The decoded picture has another size than the original."""


class InvalidResult(BenchmarkError):
    """The file is not a result in CompressAI's schema."""


class UnknownMember(BenchmarkError):
    """No member of the family of bottlenecks has this name."""


class Diverged(BenchmarkError):
    """The loss of a training is not finite."""
