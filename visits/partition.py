"""Which partition a site's records go to: Kafka's own default partitioner, so that any client agrees.

The function is murmur2 of the UTF-8 key as Kafka's Java client computes it (`org.apache.kafka.common.utils.Utils.murmur2`);
tests hold it equal to aiokafka's.
"""

from __future__ import annotations

from functools import lru_cache

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_M = 0x5BD1E995
_R = 24


def murmur2(data: bytes) -> int:
    """Return the unsigned 32-bit murmur2 hash of `data`, as Kafka computes it."""
    length = len(data)
    h = (_SEED ^ length) & _MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * _M) & _MASK
        k ^= k >> _R
        k = (k * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    tail = data[whole:]
    if tail:
        h ^= int.from_bytes(tail, "little")
        h = (h * _M) & _MASK
    h ^= h >> 13
    h = (h * _M) & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=10_000)
def partition_of(site: str, partitions: int) -> int:
    """Return the partition (0 to `partitions` - 1) that holds all records of `site`."""
    return (murmur2(site.encode()) & 0x7FFFFFFF) % partitions
