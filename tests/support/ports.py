"""Free ports on the loopback for servers that tests start."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below this Linux needs privileges or well-known services listen.
PORT_MIN = 10_000

# Where the kernel starts to hand out client ports when it does not say otherwise (Linux default).
EPHEMERAL_PORT_MIN_DEFAULT = 32_768

ATTEMPTS_MAX = 200

_handed_out: set[int] = set()


def free_port() -> int:
    """Return a TCP port that nothing listens on and that this process has not returned before.

    The port lies below the kernel's range of client ports. One inside it may be taken by an
    outgoing connection while the server on it is down, and a client that retries a dead port there
    can even connect to itself; a server killed by a test could then not come back to its port.

    Raises:
        OSError: no free port was found in `ATTEMPTS_MAX` attempts.
    """
    for _ in range(ATTEMPTS_MAX):
        port = random.randrange(PORT_MIN, _ephemeral_port_min())
        if port not in _handed_out and _is_free(port):
            _handed_out.add(port)
            return port
    message = f"no free port below {_ephemeral_port_min()} in {ATTEMPTS_MAX} attempts"
    raise OSError(message)


def is_listening(port: int, host: str = LOOPBACK) -> bool:
    """Say whether a TCP connection to the port is accepted within one second."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _ephemeral_port_min() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    except OSError:
        return EPHEMERAL_PORT_MIN_DEFAULT
    # A machine may open the whole range to clients; then every choice is as good as another.
    first = int(text.split()[0])
    return first if first > PORT_MIN + ATTEMPTS_MAX else EPHEMERAL_PORT_MIN_DEFAULT
