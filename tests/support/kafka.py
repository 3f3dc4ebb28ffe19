"""A real Apache Kafka (KRaft) of one or three nodes on the loopback, with its faults.

Start a cluster, kill, pause, stop and restart its nodes on the same ports and data, make and drop
topics. The processes block (see `tests.support.process`); what talks to the broker is async.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import for_code
from aiokafka.structs import TopicPartition

from tests.support import kafka_jars
from tests.support.ports import LOOPBACK, free_port, is_listening
from tests.support.process import Process, ProcessError

START_TIMEOUT_SECONDS = 90
REQUEST_TIMEOUT_MS = 20_000

# Fewer replicas than this may be in step when a write with acks=all is accepted; with three nodes
# one may be down.
MIN_INSYNC_OF_THREE = 2


def prepare() -> Path:
    """Fetch Kafka and write the archive of the classes it loads, where they are missing.

    Returns:
        The archive: a start with it takes about half as long.

    Raises:
        KafkaSetupError: Java or Maven is missing, or a step failed.
    """
    home = kafka_jars.prepare()
    archive = kafka_jars.class_archive(home)
    if archive.exists():
        return archive
    with kafka_jars.locked(home), tempfile.TemporaryDirectory(prefix="visit-counter-") as folder:
        if not archive.exists():
            unfinished = archive.with_suffix(".new")
            option = f"-XX:ArchiveClassesAtExit={unfinished}"
            with KafkaCluster(Path(folder) / "kafka", java_options=[option]) as cluster:
                cluster.terminate(START_TIMEOUT_SECONDS)
            unfinished.replace(archive)
    return archive


class KafkaBroker(Process):
    """One node, broker and controller in one process.

    `terminate` is a controlled shutdown; `kill`, `pause`, `resume` and `restart` are as for any
    process.
    """

    def __init__(
        self,
        directory: Path,
        node: int,
        port: int,
        properties: Mapping[str, object],
        *,
        heap_megabytes: int,
        java_options: Sequence[str],
    ) -> None:
        """Describe the node; its data directory is made from the formatted one at the first start.

        Args:
            directory: folder of this node: settings, log and data.
            node: number from 1 to 3.
            port: where clients connect.
            properties: all settings except the data directory.
            heap_megabytes: the most memory Java's heap may take.
            java_options: further options of the Java machine.
        """
        home = kafka_jars.prepare()
        self.port = port
        self.data = directory / "data"
        self._formatted = kafka_jars.formatted_directory(home, node)
        self._settings = directory / "server.properties"
        self._properties = {**properties, "log.dirs": self.data}
        command = kafka_jars.java(
            home,
            "kafka.Kafka",
            str(self._settings),
            heap_megabytes=heap_megabytes,
            options=java_options,
        )
        super().__init__(
            command,
            name=f"kafka node {node}",
            log_path=directory / "kafka.log",
            is_ready=_is_started,
            ready_timeout_seconds=START_TIMEOUT_SECONDS,
        )

    def start(self, *, wait: bool = True) -> None:
        """Start the node on the data it has; the first time on an empty, formatted directory."""
        if not self.data.exists():
            shutil.copytree(self._formatted, self.data)
        lines = [f"{name}={value}" for name, value in self._properties.items()]
        self._settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
        super().start(wait=wait)


class KafkaCluster:
    """One or three nodes, and topics.

    Topics are not made by asking for them (`auto.create.topics.enable=false`): a client that
    looks for a topic just deleted would otherwise bring it back. `properties` can say otherwise.
    """

    def __init__(
        self,
        directory: Path,
        *,
        node_count: int = 1,
        properties: Mapping[str, object] | None = None,
        heap_megabytes: int = 384,
        java_options: Sequence[str] | None = None,
    ) -> None:
        """Choose ports and settings; nothing starts yet.

        Args:
            directory: folder for settings, logs and data of all nodes.
            node_count: 1 or 3. With 3, topics have three copies, two of which must be in step.
            properties: settings of server.properties that replace or join ours.
            heap_megabytes: the most memory each node's heap may take.
            java_options: options of the Java machines instead of the class archive of `prepare`.
        """
        assert node_count in {1, kafka_jars.NODES_MAX}
        self.replication_factor = node_count
        options = [f"-XX:SharedArchiveFile={prepare()}"] if java_options is None else java_options
        ports = [(free_port(), free_port()) for _ in range(node_count)]
        voters = ",".join(f"{n}@{LOOPBACK}:{ports[n - 1][1]}" for n in range(1, node_count + 1))
        self.nodes: list[KafkaBroker] = []
        for node, (port, controller_port) in enumerate(ports, start=1):
            folder = directory / f"node-{node}"
            folder.mkdir(parents=True)
            settings = _properties(node, port, controller_port, voters, node_count)
            broker = KafkaBroker(
                folder,
                node,
                port,
                {**settings, **(properties or {})},
                heap_megabytes=heap_megabytes,
                java_options=options,
            )
            self.nodes.append(broker)
        self.bootstrap = ",".join(f"{LOOPBACK}:{broker.port}" for broker in self.nodes)

    def __enter__(self) -> Self:
        """Start all nodes."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Kill all nodes."""
        self.kill()

    def url(self, topic: str) -> str:
        """Return the log's address as the configuration of the services has it."""
        return f"kafka://{self.bootstrap}/{topic}"

    def start(self) -> None:
        """Start the nodes that do not run, together, and wait until all are ready."""
        for broker in self.nodes:
            if not broker.is_running:
                broker.start(wait=False)
        for broker in self.nodes:
            broker.wait_ready()

    def kill(self) -> None:
        """SIGKILL all nodes."""
        for broker in self.nodes:
            broker.kill()

    def pause(self) -> None:
        """SIGSTOP all nodes."""
        for broker in self.nodes:
            broker.pause()

    def resume(self) -> None:
        """SIGCONT all nodes."""
        for broker in self.nodes:
            broker.resume()

    def terminate(self, timeout_seconds: float = 30) -> None:
        """Shut all nodes down in order, one after the other."""
        for broker in self.nodes:
            broker.terminate(timeout_seconds)

    def restart(self) -> None:
        """SIGKILL all nodes and start them again on the same ports and data."""
        self.kill()
        self.start()

    async def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Make a topic and wait until every node knows it.

        Raises:
            aiokafka.errors.KafkaError: the broker refused it, for example because it exists.
        """
        topic = NewTopic(
            name, partitions, self.replication_factor, topic_configs=dict(config or {})
        )
        async with _Admin(self.bootstrap) as admin:
            answer: Any = await admin.create_topics([topic])
            for _, code, *reason in answer.topic_errors:
                if code:
                    raise for_code(code)(*reason)

    async def delete_topic(self, name: str) -> None:
        """Drop a topic with its records.

        Raises:
            aiokafka.errors.KafkaError: the broker refused, for example because there is none.
        """
        async with _Admin(self.bootstrap) as admin:
            answer: Any = await admin.delete_topics([name])
            for _, code, *reason in answer.topic_error_codes:
                if code:
                    raise for_code(code)(*reason)

    async def recreate_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Drop a topic and make it again under its name: a new topic id, offsets from 0."""
        await self.delete_topic(name)
        await self.create_topic(name, partitions, config)

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Drop the records of a partition below an offset, as retention does."""
        async with _Admin(self.bootstrap) as admin:
            await admin.delete_records(
                {TopicPartition(topic, partition): RecordsToDelete(before_offset=before)}
            )

    def lose_tail(self, topic: str, partition: int, kept: int) -> None:
        """Kill the one node, cut a partition's log at a batch that begins at or after `kept`, and start again.

        As after a power cut: what was acknowledged and not yet on disk is gone, and the node recovers what is left.
        """
        (broker,) = self.nodes
        broker.kill()
        folder = broker.data / f"{topic}-{partition}"
        segment = folder / f"{0:020d}.log"
        with segment.open("r+b") as file:
            file.truncate(_batch_start(file.read(), kept))
        for derived in (*folder.glob("*.*index"), *folder.glob("leader-epoch-checkpoint")):
            derived.unlink()
        for checkpoint in broker.data.glob("*-offset-checkpoint"):
            checkpoint.unlink()
        broker.start()

    def limit_writers(self, bytes_per_second: int) -> None:
        """Let each client send so much and no more (a client quota; https://kafka.apache.org/documentation/#design_quotas)."""
        tool = kafka_jars.java(
            kafka_jars.prepare(),
            "kafka.admin.ConfigCommand",
            *("--bootstrap-server", self.bootstrap, "--alter"),
            *("--entity-type", "clients", "--entity-default"),
            *("--add-config", f"producer_byte_rate={bytes_per_second}"),
        )
        done = subprocess.run(
            tool, capture_output=True, text=True, timeout=START_TIMEOUT_SECONDS, check=False
        )
        if done.returncode != 0:
            message = f"{tool[-1]} was not set:\n{done.stdout}{done.stderr}"
            raise ProcessError(message)

    async def topics(self) -> list[str]:
        """Return the names of all topics."""
        async with _Admin(self.bootstrap) as admin:
            return sorted(await admin.list_topics())


class _Admin:
    """An admin client for one exchange."""

    def __init__(self, bootstrap: str) -> None:
        self._client = AIOKafkaAdminClient(
            bootstrap_servers=bootstrap, request_timeout_ms=REQUEST_TIMEOUT_MS
        )

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_error: object) -> None:
        await self._client.close()


def _batch_start(segment: bytes, position: int) -> int:
    """Return where in a segment the first batch begins whose base offset is at least `position`.

    A batch begins with its base offset (8 bytes) and the length of what follows (4 bytes):
    https://kafka.apache.org/documentation/#recordbatch
    """
    at = 0
    while at < len(segment) and int.from_bytes(segment[at : at + 8], "big") < position:
        at += 12 + int.from_bytes(segment[at + 8 : at + 12], "big")
    return at


def _is_started(process: Process) -> bool:
    """Both the log line and the port: the port opens a little before the broker serves."""
    assert isinstance(process, KafkaBroker)
    return "Kafka Server started" in process.output(since_start=True) and is_listening(process.port)


def _properties(
    node: int, port: int, controller_port: int, voters: str, node_count: int
) -> dict[str, object]:
    replicas = node_count
    insync = 1 if node_count == 1 else MIN_INSYNC_OF_THREE
    return {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": insync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": insync,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": insync,
        # A group of tests has its members at once; waiting for more only takes time.
        "group.initial.rebalance.delay.ms": 0,
        # A node killed and back is let in again only when its old session has run out: 9 s by
        # default.
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 250,
        # The default is 6 s; a test that pauses a consumer past its session need not wait as long.
        "group.min.session.timeout.ms": 1000,
    }


if __name__ == "__main__":
    prepare()
