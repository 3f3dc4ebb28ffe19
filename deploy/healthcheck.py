"""Say whether the service of this container is ready: exit status 0 or 1. For the health check of a container.

    python -I -S healthcheck.py [PATH]      default /readyz

Imports little, since it runs every few seconds.
"""

import socket
import sys

PORT = 8080
SECONDS = 3.0


def main() -> int:
    """Ask the service on the loopback."""
    path = sys.argv[1] if len(sys.argv) > 1 else "/readyz"
    try:
        with socket.create_connection(("127.0.0.1", PORT), SECONDS) as connection:
            connection.settimeout(SECONDS)
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode("ascii"))
            status_line = connection.makefile("rb").readline(256)
    except OSError as error:
        print(error)
        return 1
    print(status_line.decode("latin-1").strip())
    return 0 if b" 200 " in status_line else 1


if __name__ == "__main__":
    sys.exit(main())
