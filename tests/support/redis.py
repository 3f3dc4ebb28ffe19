"""A real Redis server, and a Redis Cluster, on the loopback, with their faults.

Debian's `redis-server` with an append-only file fsynced every second, `noeviction` and no
snapshots of its own, each in a folder of its own. All methods block (see `tests.support.process`).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import redis
from redis.crc import key_slot
from redis.exceptions import MovedError

from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Process, ProcessError, wait_until

START_TIMEOUT_SECONDS = 30
COMMAND_TIMEOUT_SECONDS = 30

APPEND_ONLY_FOLDER = "appendonlydir"
APPEND_ONLY_BASE = "appendonly.aof.1.base.rdb"
SNAPSHOT_FILE = "dump.rdb"

# A base that is a snapshot, and no increments: what a multi-part append-only file looks like right
# after a rewrite. https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
APPEND_ONLY_MANIFEST = f"file {APPEND_ONLY_BASE} seq 1 type b\n"

CLUSTER_MASTERS = 3
CLUSTER_NODES = 6
CLUSTER_SLOTS = 16_384

# How long a node may be silent before the others call it failed.
CLUSTER_NODE_TIMEOUT_MS = 2000


class RedisServer(Process):
    """One server on a port and folder that it keeps over kills and restarts."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Describe the server; nothing starts yet.

        Args:
            directory: folder for its data and log; made if missing.
            port: where it listens; a free one if None.
            settings: lines of redis.conf that replace or join ours; an empty text is given as `""`.
        """
        self.port = free_port() if port is None else port
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        everything = {**_settings(directory, self.port), **(settings or {})}
        arguments = [
            part for name, value in everything.items() for part in (f"--{name}", str(value))
        ]
        super().__init__(
            [_program("redis-server"), *arguments],
            name=f"redis-server {self.port}",
            log_path=directory / "redis.log",
            is_ready=lambda _process: _answers_ping(self.port),
            ready_timeout_seconds=START_TIMEOUT_SECONDS,
        )

    @property
    def url(self) -> str:
        """The store's address as the configuration of the services has it."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a blocking client that gives bytes; use it as a context manager."""
        return redis.Redis(
            host=LOOPBACK,
            port=self.port,
            socket_timeout=COMMAND_TIMEOUT_SECONDS,
            socket_connect_timeout=COMMAND_TIMEOUT_SECONDS,
        )

    def flushall(self) -> None:
        """Drop every key at once, also from the append-only file."""
        with self.client() as client:
            client.flushall()

    def save_snapshot(self, path: Path) -> None:
        """Copy what the server holds now to a file, as a backup does."""
        with self.client() as client:
            client.save()
        shutil.copyfile(self.directory / SNAPSHOT_FILE, path)

    def restore_snapshot(self, path: Path) -> None:
        """Kill the server, put an older snapshot in the place of its data and start it again."""
        self.kill()
        folder = self.directory / APPEND_ONLY_FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        # With the append-only file on, the server reads that alone and never dump.rdb.
        shutil.copyfile(path, folder / APPEND_ONLY_BASE)
        (folder / "appendonly.aof.manifest").write_text(APPEND_ONLY_MANIFEST, encoding="ascii")
        shutil.copyfile(path, self.directory / SNAPSHOT_FILE)
        self.start()


class RedisCluster:
    """Three masters and three replicas; the first three of `nodes` are the masters at the start."""

    def __init__(self, directory: Path) -> None:
        """Choose the ports; nothing starts yet."""
        self.nodes = [
            RedisServer(
                directory / f"node-{number}",
                settings={
                    "cluster-enabled": "yes",
                    "cluster-port": free_port(),
                    "cluster-node-timeout": CLUSTER_NODE_TIMEOUT_MS,
                    "cluster-config-file": "nodes.conf",
                },
            )
            for number in range(1, CLUSTER_NODES + 1)
        ]
        self._is_created = False

    def __enter__(self) -> Self:
        """Start the nodes and form the cluster."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Kill all nodes."""
        self.kill()

    @property
    def url(self) -> str:
        """The store's address as the configuration of the services has it: all nodes."""
        nodes = ",".join(f"{LOOPBACK}:{node.port}" for node in self.nodes)
        return f"redis-cluster://{nodes}"

    def start(self) -> None:
        """Start the nodes that do not run, form the cluster the first time, wait until it serves.

        Raises:
            ProcessError: a node or the cluster did not become ready.
        """
        for node in self.nodes:
            if not node.is_running:
                node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()
        if not self._is_created:
            self._create()
        self.wait_ok()

    def wait_ok(self) -> None:
        """Wait until every running node sees all slots served and every replica linked.

        Raises:
            ProcessError: that was not so within 30 s.
        """
        running = [node for node in self.nodes if node.is_running]
        wait_until(
            lambda: all(_is_cluster_ok(node) for node in running),
            timeout_seconds=START_TIMEOUT_SECONDS,
            what="the Redis cluster to be ok",
        )

    def kill(self) -> None:
        """SIGKILL all nodes."""
        for node in self.nodes:
            node.kill()

    def restart(self) -> None:
        """SIGKILL all nodes and start them again with the same ports and data."""
        self.kill()
        self.start()

    def masters(self) -> list[RedisServer]:
        """Return the running nodes that are masters now."""
        return [node for node in self.nodes if node.is_running and _role(node) == b"master"]

    def master_of(self, key: str) -> RedisServer:
        """Return the master that serves a key's slot."""
        return next(node for node in self.masters() if _serves(node, key))

    def replica_of(self, master: RedisServer) -> RedisServer:
        """Return a running replica of a master."""
        replicas = [node for node in self.nodes if node.is_running and _role(node) == b"slave"]
        return next(node for node in replicas if _master_port(node) == master.port)

    def move_slot(self, key: str, pause_seconds: float) -> int:
        """Move a key's slot to another master as an operator does, key by key; return how many keys.

        Args:
            key: names the slot.
            pause_seconds: between two keys, in which the slot lies in two places.
        """
        slot, source = key_slot(key.encode()), self.master_of(key)
        target = next(node for node in self.masters() if node is not source)
        ids = {node: _node_id(node) for node in (source, target)}
        moved = 0
        with source.client() as giving, target.client() as taking:
            taking.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
            giving.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
            while names := giving.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
                giving.migrate(LOOPBACK, target.port, names, 0, COMMAND_TIMEOUT_SECONDS * 1000)
                moved += 1
                time.sleep(pause_seconds)
            for client in (taking, giving):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])
        return moved

    def flushall(self) -> None:
        """Drop every key on every master."""
        for node in self.masters():
            node.flushall()

    def client(self) -> redis.RedisCluster:
        """Return a blocking client that gives bytes."""
        return redis.RedisCluster(host=LOOPBACK, port=self.nodes[0].port)

    def _create(self) -> None:
        addresses = [f"{LOOPBACK}:{node.port}" for node in self.nodes]
        _redis_cli("--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes")
        self._is_created = True


def _settings(directory: Path, port: int) -> dict[str, object]:
    return {
        "bind": LOOPBACK,
        "port": port,
        "dir": directory,
        "appendonly": "yes",
        "appendfsync": "everysec",
        "appenddirname": APPEND_ONLY_FOLDER,
        "dbfilename": SNAPSHOT_FILE,
        "maxmemory-policy": "noeviction",
        # The default waits 5 s for more replicas before it feeds the first.
        "repl-diskless-sync-delay": 0,
        "save": '""',
        "daemonize": "no",
    }


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        message = f"{name} is missing: run scripts/test-tools.sh"
        raise ProcessError(message)
    return path


def _answers_ping(port: int) -> bool:
    """A server that still loads its data answers -LOADING, so the answer is looked at."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _redis_cli(*arguments: str) -> None:
    done = subprocess.run(
        [_program("redis-cli"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        text = (done.stdout + done.stderr).decode("utf-8", errors="replace")
        message = f"redis-cli {' '.join(arguments)} ended with {done.returncode}:\n{text}"
        raise ProcessError(message)


def _role(node: RedisServer) -> bytes:
    with node.client() as client:
        answer: list[bytes] = client.execute_command("ROLE")
    return answer[0]


def _serves(node: RedisServer, key: str) -> bool:
    """Ask for a key: who does not serve its slot names another node."""
    with node.client() as client:
        try:
            client.exists(key)
        except MovedError:
            return False
    return True


def _node_id(node: RedisServer) -> bytes:
    with node.client() as client:
        found: bytes = client.execute_command("CLUSTER MYID")
    return found


def _master_port(replica: RedisServer) -> int:
    with replica.client() as client:
        return int(client.execute_command("ROLE")[2])


def _is_cluster_ok(node: RedisServer) -> bool:
    with node.client() as client:
        info: dict[str, str] = client.execute_command("CLUSTER INFO")
        replication: Mapping[str, object] = client.info("replication")
    return (
        info["cluster_state"] == "ok"
        and int(info["cluster_slots_ok"]) == CLUSTER_SLOTS
        and int(info["cluster_known_nodes"]) == CLUSTER_NODES
        and _is_linked(replication.items())
    )


def _is_linked(replication: Iterable[tuple[str, object]]) -> bool:
    fields = dict(replication)
    return fields["role"] == "master" or fields["master_link_status"] == "up"
