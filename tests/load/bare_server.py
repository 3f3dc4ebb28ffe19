"""A server that answers every view at once with the same bytes: what is left is the cost of the generator itself."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

ANSWER_BODY = b'{"counted":true,"position":"0:10452","id":"AAAAAAAAAAAA-000000000"}'
ANSWER = (
    b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\n\r\n%b"
    % (len(ANSWER_BODY), ANSWER_BODY)
)


class BareProtocol(asyncio.Protocol):
    """Answers each request that comes whole in one piece, as those of a load test on loopback do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be open (asyncio)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer (asyncio)."""
        self._transport.write(ANSWER * data.count(b"POST /v1/views "))


async def main(port: int) -> None:
    """Serve on loopback until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(BareProtocol, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
