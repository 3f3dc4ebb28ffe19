"""The open loop against real sockets: a server of this test that answers, stalls, hangs up or says nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.load.generator import Generator, Limits
from services.load.outcome import COUNTED, NO_ANSWER, Outcome, Verdict, judge_view
from services.load.schedule import Phase, Schedule
from services.load.target import Target
from services.load.workload import Views

COUNTED_BODY = b'{"counted":true,"position":"0:1","id":"abcdefgh"}'
LIMITS = Limits()
Answer = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[tuple[Target, list[bytes]]]:
    """Serve `answer`, which gets the number of the request from 1, and list the bodies that came."""
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                bodies.append(await reader.readexactly(length))
                await answer(len(bodies), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield Target("127.0.0.1", listening.sockets[0].getsockname()[1], "", False), bodies


def respond(writer: asyncio.StreamWriter, status: int, body: bytes, extra: bytes = b"") -> None:
    writer.write(
        b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), extra, body)
    )


def generator(
    target: Target, views: int, *, limits: Limits = LIMITS, rate: float = 1_000
) -> Generator:
    workload = Views(target, ["demo"], run="abcdefghijkl", visitors=5, pages=5)
    schedule = Schedule([Phase(rate, views / rate)])
    return Generator(target, workload, schedule, limits, judge_view)


async def test_every_view_of_the_schedule_is_sent_once_and_answered() -> None:
    async def answer(_number: int, writer: asyncio.StreamWriter) -> None:
        respond(writer, 202, COUNTED_BODY)

    async with server(answer) as (target, bodies):
        tested = generator(target, 300)
        await tested.run()
    assert tested.outcomes == {COUNTED: 300}
    assert len(bodies) == len(set(bodies)) == 300
    assert tested.timeline.accepted.count == tested.timeline.serving.count == 300
    assert tested.bytes_sent > sum(map(len, bodies))


async def test_a_stall_makes_all_late_that_fell_due_in_it() -> None:
    """One connection that stands still for 0.5 s: the views due meanwhile count their latency from when they were due."""

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 100:
            await asyncio.sleep(0.5)
        respond(writer, 202, COUNTED_BODY)

    async with server(answer) as (target, _):
        tested = generator(target, 1_000, limits=Limits(connections=1))
        await tested.run()
    late = sum(n for us, n in tested.timeline.accepted.filled() if us > 100_000)
    slow = sum(n for us, n in tested.timeline.serving.filled() if us > 100_000)
    # A closed loop sees one slow request; people would see hundreds of late ones.
    assert late > 200
    assert slow < late / 10


async def test_answers_in_pieces_and_in_chunks_are_read_whole() -> None:
    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        whole = (
            b"HTTP/1.1 202 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n"
        )
        whole %= (COUNTED_BODY[:5], len(COUNTED_BODY) - 5, COUNTED_BODY[5:])
        cut = number * 7 % len(whole)
        writer.write(whole[:cut])
        await asyncio.sleep(0.001)
        writer.write(whole[cut:])

    async with server(answer) as (target, _):
        tested = generator(target, 50)
        await tested.run()
    assert tested.outcomes == {COUNTED: 50}


async def test_a_connection_that_ends_leaves_an_unknown_outcome_and_a_new_one_goes_on() -> None:
    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if number % 10 == 0:
            writer.close()
        else:
            respond(writer, 202, COUNTED_BODY)

    async with server(answer) as (target, _):
        tested = generator(target, 100, limits=Limits(connections=4))
        await tested.run()
    assert tested.outcomes == {COUNTED: 90, NO_ANSWER: 10}
    assert tested.errors.total() == 10


async def test_unknown_outcomes_are_repeated_with_the_same_id_until_they_are_known() -> None:
    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if number > 60:
            respond(writer, 202, COUNTED_BODY)
        elif number % 2:
            respond(writer, 503, b'{"reason":"unavailable"}')
        else:
            writer.close()

    async with server(answer) as (target, bodies):
        tested = generator(target, 60, limits=Limits(connections=8, is_retrying=True))
        await tested.run()
    assert tested.outcomes == {COUNTED: 60}
    assert len(set(bodies)) == 60
    assert len(bodies) == 60 + tested.repeats >= 120


async def test_a_refusal_is_never_repeated() -> None:
    async def answer(_number: int, writer: asyncio.StreamWriter) -> None:
        respond(writer, 429, b'{"reason":"rate_limit"}')

    async with server(answer) as (target, bodies):
        tested = generator(target, 30, limits=Limits(is_retrying=True))
        await tested.run()
    assert tested.outcomes == {Outcome(Verdict.REFUSED, "rate_limit"): 30}
    assert len(bodies) == 30


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if number != 5:
            respond(writer, 202, COUNTED_BODY)

    async with server(answer) as (target, _):
        tested = generator(target, 20, limits=Limits(answer_seconds=0.3))
        await tested.run()
    assert tested.outcomes == {COUNTED: 19, NO_ANSWER: 1}
    assert tested.errors == Counter(timeout=1)


async def test_a_connection_the_server_ends_after_its_answer_is_not_used_again() -> None:
    async def answer(_number: int, writer: asyncio.StreamWriter) -> None:
        respond(writer, 202, COUNTED_BODY, b"Connection: close\r\n")
        writer.close()

    async with server(answer) as (target, _):
        tested = generator(target, 100, limits=Limits(connections=4))
        await tested.run()
    assert tested.outcomes == {COUNTED: 100}
    assert tested.connections_opened >= 100


async def test_stopping_sends_no_more_and_waits_for_what_is_under_way() -> None:
    async def answer(_number: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        respond(writer, 202, COUNTED_BODY)

    async with server(answer) as (target, bodies):
        tested = generator(target, 100_000, limits=Limits(connections=40))
        running = asyncio.create_task(tested.run())
        await asyncio.sleep(0.3)
        tested.stop()
        await running
    assert 0 < tested.sent == len(bodies) < 100_000
    assert tested.in_flight_max <= tested.connections_opened <= 40
    assert tested.outcomes == {COUNTED: tested.sent}


async def test_a_service_that_is_away_is_waited_for_and_nothing_is_called_sent() -> None:
    target = Target("127.0.0.1", 1, "", False)
    tested = generator(target, 10, limits=Limits(late_seconds=0.2))
    await tested.run()
    assert tested.sent == 0
    assert tested.errors["connect"] > 0
