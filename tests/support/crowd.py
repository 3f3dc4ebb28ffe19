"""A crowd of clients of one event stream, in one thread: who is connected, and when each heard of a change."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from typing import Self

from tests.support.ports import LOOPBACK
from tests.support.process import ProcessError

CONNECTING_MAX = 200
"""How many connect at the same time: fewer than the server's backlog."""

READ_BYTES = 65_536


class Crowd:
    """Clients that follow one stream over sockets of their own."""

    def __init__(self, port: int, path: str, size: int) -> None:
        """Describe the crowd; nobody is connected yet.

        Args:
            port: of the service on the loopback.
            path: of the stream, with its query.
            size: how many clients.
        """
        self._address = (LOOPBACK, port)
        self._request = f"GET {path} HTTP/1.1\r\nHost: counter.example\r\n\r\n".encode()
        self._size = size
        self._selector = selectors.DefaultSelector()
        self._clients: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Let everybody connect and hear the first event."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        while len(self._clients) < self._size:
            count = min(CONNECTING_MAX, self._size - len(self._clients))
            self._hear(b"event: counters", {self._connect() for _ in range(count)}, 30.0)
        return self

    def __exit__(self, *_: object) -> None:
        """Let everybody go at once."""
        for client in self._clients:
            client.close()
        self._selector.close()

    def hear(self, text: bytes, since: float, within_seconds: float) -> list[float]:
        """Return, in ascending order, how long after `since` (monotonic) each client received `text`.

        Raises:
            ProcessError: somebody did not, or lost the connection.
        """
        heard = self._hear(text, set(self._clients), within_seconds)
        return sorted(at - since for at in heard)

    def _connect(self) -> socket.socket:
        client = socket.create_connection(self._address, timeout=10)
        client.setblocking(False)
        client.send(self._request)
        self._selector.register(client, selectors.EVENT_READ)
        self._clients.append(client)
        return client

    def _hear(self, text: bytes, waiting: set[socket.socket], within_seconds: float) -> list[float]:
        until = time.monotonic() + within_seconds
        heard: list[float] = []
        tails: dict[socket.socket, bytes] = {}
        while waiting:
            ready = self._selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                raise ProcessError(f"{len(waiting)} of {self._size} clients did not hear {text!r}")
            for key, _ in ready:
                client = key.fileobj
                assert isinstance(client, socket.socket)
                data = client.recv(READ_BYTES)
                if not data:
                    raise ProcessError("a stream ended")
                seen = tails.pop(client, b"") + data
                if client in waiting and text in seen:
                    waiting.remove(client)
                    heard.append(time.monotonic())
                elif client in waiting:
                    tails[client] = seen[-len(text) :]
        return heard
