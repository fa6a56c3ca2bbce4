"""Collections of any size on Ray Data: folders on disks or in object stores -> mirrored streams, or a Parquet table.

It needs the extra ``ray``; docs/SCALE.md says what it costs and where its limits are.
"""

from vqcodec.errors import VqcError

try:
    from vqcodec.distributed.cluster import ClusterOptions, encode_collection
except ModuleNotFoundError as error:
    raise VqcError(f"{error.name} is not installed: pip install 'vqcodec[ray]'") from error

__all__ = ["ClusterOptions", "encode_collection"]
