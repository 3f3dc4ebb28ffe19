"""The harness starts real Redis servers, kills them and takes them back in time."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.redis import RedisCluster, RedisServer

# appendfsync everysec: what is older than this is on disk.
FSYNC_SECONDS = 1.2


def test_a_value_survives_a_kill(redis_own: RedisServer) -> None:
    """What was written is there after SIGKILL and restart on the same port."""
    with redis_own.client() as client:
        client.set("key", "value")
    time.sleep(FSYNC_SECONDS)
    redis_own.restart()
    with redis_own.client() as client:
        assert client.get("key") == b"value"


def test_a_snapshot_takes_the_server_back_in_time(redis_own: RedisServer, tmp_path: Path) -> None:
    """After a restore the server holds what the snapshot held, and keeps what comes after."""
    with redis_own.client() as client:
        client.set("key", "old")
        redis_own.save_snapshot(tmp_path / "snapshot.rdb")
        client.set("key", "new")
        client.set("later", "1")
    redis_own.restore_snapshot(tmp_path / "snapshot.rdb")
    with redis_own.client() as client:
        assert client.get("key") == b"old"
        assert client.get("later") is None
        client.set("key", "newest")
    time.sleep(FSYNC_SECONDS)
    redis_own.restart()
    with redis_own.client() as client:
        assert client.get("key") == b"newest"


def test_the_settings_are_those_of_production(redis_own: RedisServer) -> None:
    """Nothing is evicted, nothing but the append-only file is saved."""
    with redis_own.client() as client:
        for name, value in {
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }.items():
            assert client.config_get(name) == {name: value}


def test_flushall_empties_the_server(redis_server: RedisServer) -> None:
    """After `flushall` no key is left."""
    with redis_server.client() as client:
        client.set("key", "value")
        redis_server.flushall()
        assert client.dbsize() == 0


def test_a_paused_server_goes_on_after_resume(redis_own: RedisServer) -> None:
    """A paused server keeps what it had."""
    with redis_own.client() as client:
        client.set("key", "value")
        redis_own.pause()
        redis_own.resume()
        assert client.get("key") == b"value"


def test_a_cluster_keeps_its_keys_over_a_kill(redis_cluster: RedisCluster) -> None:
    """Keys of all slots are there after all six nodes were killed and restarted."""
    names = [f"{{{tag}}}:key" for tag in range(16)]
    client = redis_cluster.client()
    try:
        for name in names:
            client.set(name, "value")
    finally:
        client.close()
    time.sleep(FSYNC_SECONDS)
    redis_cluster.restart()
    client = redis_cluster.client()
    try:
        assert [client.get(name) for name in names] == [b"value"] * len(names)
    finally:
        client.close()


def test_a_replica_takes_over_from_a_killed_master(tmp_path: Path) -> None:
    """After a master's death its replica becomes master, and the cluster is ok again."""
    with RedisCluster(tmp_path) as cluster:
        before = {node.port for node in cluster.masters()}
        cluster.nodes[0].kill()
        deadline = time.monotonic() + 30
        while len(cluster.masters()) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        after = {node.port for node in cluster.masters()}
        assert len(after) == 3
        assert after - before
        cluster.start()
