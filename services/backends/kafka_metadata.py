"""Which topic it is and who leads its partitions, asked of the brokers themselves: one Metadata request, version 12.

aiokafka's own request stops before the versions that carry topic ids, and its cache may be seconds old. What a broker says is as new as
what that broker serves, so all brokers are asked and the newest answer counts: whoever served the last fetch is among them.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import NamedTuple

from services.backends.port import Identity
from visits.errors import LogUnavailableError

METADATA, METADATA_VERSION = 3, 12
"""Kafka protocol, "Metadata API (Key: 3)": version 12 answers with topic ids (KIP-516) and leader epochs (KIP-320)."""

ASK_SECONDS = 3.0
"""How long one broker may take over one answer, the connecting included."""

REST_SECONDS = 10.0
"""A broker that did not answer is not asked again for so long, as long as another one answers."""

ANSWER_BYTES_MAX = 16 * 1024 * 1024

Address = tuple[str, int]


class Description(NamedTuple):
    """One broker's answer: the brokers it knows, and the topic."""

    brokers: frozenset[Address]
    identity: Identity


class KafkaMetadata:
    """Asks about one topic, over one connection a broker that is kept open."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Take `host:port`, comma-separated, and the topic's name; nothing is connected yet."""
        self._topic = topic
        self._bootstrap = frozenset(address_of(text) for text in bootstrap.split(","))
        self._connections: dict[Address, Connection] = {}
        self._rests_until: dict[Address, float] = {}
        self._asking = asyncio.Lock()

    async def ask(self) -> Identity:
        """Ask every broker for the newest identity.

        Raises:
            LogUnavailableError: none answers, the topic does not exist, or the brokers do not agree (yet) which topic it is.
        """
        async with self._asking:
            now = time.monotonic()
            known = self._connections.keys() or self._bootstrap
            awake = {address for address in known if self._rests_until.get(address, 0.0) <= now}
            # When all of them rest there is nothing to lose by asking again, also those the operator named.
            asked = sorted(awake or known | self._bootstrap)
            answers = await asyncio.gather(*map(self._ask_one, asked))
            found = [answer for answer in answers if isinstance(answer, Description)]
            if not found:
                raise LogUnavailableError(f"Kafka does not answer ({'; '.join(map(str, answers))})")
            self._keep(frozenset().union(*(answer.brokers for answer in found)))
        return _newest([answer.identity for answer in found], self._topic)

    @property
    def brokers(self) -> frozenset[Address]:
        """The brokers as the last answer named them; before the first as the operator did."""
        return frozenset(self._connections) or self._bootstrap

    def close(self) -> None:
        """Close all connections."""
        self._keep(frozenset())

    async def _ask_one(self, address: Address) -> Description | str:
        """Return a broker's answer, or why there is none; it then rests.

        Raises:
            LogUnavailableError: it answers that there is no such topic.
        """
        connection = self._connections.setdefault(address, Connection(address))
        try:
            async with asyncio.timeout(ASK_SECONDS):
                answer = await connection.ask(_request(self._topic))
            return read_description(answer, self._topic)
        except (OSError, EOFError, TimeoutError) as error:
            self._rests_until[address] = time.monotonic() + REST_SECONDS
            return f"{address[0]}:{address[1]}: {type(error).__name__}: {error}"

    def _keep(self, brokers: frozenset[Address]) -> None:
        """Keep connections to these brokers alone."""
        for address in self._connections.keys() - brokers:
            self._connections.pop(address).close()
            self._rests_until.pop(address, None)
        for address in brokers - self._connections.keys():
            self._connections[address] = Connection(address)


class Connection:
    """A connection to one broker, made when it is needed; one question at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> bytes:
        """Return the answer; a connection found dead, as after a restart of the broker, is made anew once.

        Raises:
            OSError: no connection, or an answer that is none.
            EOFError: it ended in the middle of the answer.
        """
        if self._streams is not None:
            try:
                return await self._exchange(*self._streams, request)
            except (OSError, EOFError):
                self.close()
        self._streams = await asyncio.open_connection(*self._address)
        return await self._exchange(*self._streams, request)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> bytes:
        try:
            writer.write(len(request).to_bytes(4, "big") + request)
            size = int.from_bytes(await reader.readexactly(4), "big")
            # One byte less than said is an error further down: this is no broker.
            return await reader.readexactly(min(size, ANSWER_BYTES_MAX))
        except BaseException:
            # Given up in the middle, the rest of this answer would be taken for the beginning of the next.
            self.close()
            raise

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def read_description(answer: bytes, topic: str) -> Description:
    """Read a Metadata answer to the question about one topic.

    Raises:
        LogUnavailableError: the topic does not exist.
        EOFError: it ends too early.
    """
    data = Data(answer)
    data.skip(4)  # correlation id
    data.skip_tags()
    data.skip(4)  # throttle time
    brokers = set()
    for _ in range(data.length()):
        data.skip(4)  # node id
        host = data.text()
        brokers.add((host, data.number(4)))
        data.text()  # rack
        data.skip_tags()
    data.text()  # cluster id
    data.skip(4)  # controller id
    count = data.length()
    error = data.number(2)
    data.text()  # name
    found = uuid.UUID(bytes=data.take(16))
    if count < 1 or error != 0 or not found.int:
        raise LogUnavailableError(f"topic {topic} does not exist (Kafka error {error})")
    data.skip(1)  # is internal
    return Description(frozenset(brokers), Identity(str(found), _read_epochs(data)))


def _read_epochs(data: Data) -> dict[int, int]:
    epochs = {}
    for _ in range(data.length()):
        data.skip(2)  # error: a partition without a leader has an epoch all the same
        partition = data.number(4)
        data.skip(4)  # leader
        epochs[partition] = data.number(4)
        for _nodes in ("replicas", "in sync", "offline"):
            data.skip(4 * data.length())
        data.skip_tags()
    return epochs


def _newest(said: list[Identity], topic: str) -> Identity:
    """Return the greatest epoch that any broker names: each change of leader adds one.

    Raises:
        LogUnavailableError: they name different topics: one of them has not yet heard that it was made anew.
    """
    ids = {identity.log_id for identity in said}
    if len(ids) > 1:
        raise LogUnavailableError(
            f"the brokers do not agree which topic {topic} is: {', '.join(sorted(ids))}"
        )
    epochs: dict[int, int] = {}
    for identity in said:
        for partition, epoch in identity.epochs.items():
            epochs[partition] = max(epoch, epochs.get(partition, epoch))
    return Identity(ids.pop(), epochs)


def address_of(text: str) -> Address:
    """Return host and port of `host:port`; an IPv6 host stands in brackets."""
    host, _, port = text.strip().rpartition(":")
    return host.strip("[]"), int(port)


def _request(topic: str) -> bytes:
    """Return a request about one topic, by name, that makes no topic by asking."""
    name = topic.encode()
    header = (
        METADATA.to_bytes(2, "big")
        + METADATA_VERSION.to_bytes(2, "big")
        + bytes(4)  # correlation id: answers come in the order of the questions
        + b"\xff\xff"  # no client id
        + b"\0"
    )
    return header + b"\x02" + bytes(16) + varint(len(name) + 1) + name + b"\0" + b"\0\0" + b"\0"


def varint(value: int) -> bytes:
    """Return an unsigned number, seven bits a byte."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004  # seven bits a byte
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


class Data:
    """Reads an answer's fields in order (Kafka protocol, "Protocol Primitive Types", compact forms)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if self._at + size > len(self._data):
            raise EOFError(f"an answer of {len(self._data)} bytes ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def skip(self, size: int) -> None:
        """Pass over bytes."""
        self.take(size)

    def number(self, size: int) -> int:
        """Return a signed integer."""
        return int.from_bytes(self.take(size), "big", signed=True)

    def varint(self) -> int:
        """Return an unsigned number of seven bits a byte."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7

    def length(self) -> int:
        """Return the length of a compact array or text; 0 where it is null."""
        return max(0, self.varint() - 1)

    def text(self) -> str:
        """Return a compact text."""
        return self.take(self.length()).decode("utf-8", "replace")

    def skip_tags(self) -> None:
        """Pass over tagged fields."""
        for _ in range(self.varint()):
            self.varint()
            self.skip(self.varint())
