"""Encode collections of any size on a Ray cluster, from disks or object stores, to files or a Parquet table.

Needs the extra ``ray``.  docs/SCALE.md describes throughput and limits.
"""

from vqcodec.errors import VqcError

try:
    from vqcodec.distributed.cluster import ClusterOptions, encode_collection
except ModuleNotFoundError as error:
    raise VqcError(f"{error.name} is not installed: pip install 'vqcodec[ray]'") from error

__all__ = ["ClusterOptions", "encode_collection"]
