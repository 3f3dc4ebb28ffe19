"""The connection to Redis: a single server or a Cluster, by URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

SOCKET_SECONDS = 5.0
"""The bound on one command; the aggregator reads its position again after it."""

PORT = 6379
CONNECTIONS_MAX = 16


def connect(url: str) -> Any:  # two clients without a common type
    """Make a client that never repeats a command by itself: the fence decides what is repeated."""
    if url.startswith("redis-cluster://"):
        first, *others = url.removeprefix("redis-cluster://").partition("/")[0].split(",")
        # Any of the nodes named may be away at the start.
        addresses = [urlsplit(f"redis://{other}") for other in others]
        nodes = [ClusterNode(at.hostname or "", at.port or PORT) for at in addresses]
        return RedisCluster.from_url(
            f"redis://{first}",
            startup_nodes=nodes,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=SOCKET_SECONDS,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    pool.connection_class = _packing(pool.connection_class)
    return Redis.from_pool(pool)


def _packing(kind: Any) -> Any:  # a class without a common type
    """Let hiredis lay out the scripts' calls: the client's own way takes a microsecond for each of their hundreds of keys."""

    class Packing(kind):  # type: ignore[misc]  # chosen by the URL
        def pack_command(self, *arguments: Any) -> list[bytes]:
            """Lay out one command as RESP."""
            if arguments[0] == "EVALSHA":
                return [hiredis.pack_command(arguments)]
            found: list[bytes] = super().pack_command(*arguments)
            return found

    return Packing
