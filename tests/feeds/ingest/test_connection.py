"""One connection over a real socket: how it ends, and what it says."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from feeds.ingest import connection as module
from feeds.ingest.connection import Connection
from feeds.ingest.counters import FeedCounters
from feeds.ingest.rows import Rows
from tests.support.contexts import OpenContext
from trinity.limits import REPLIES_WAITING_MAX

Until = Callable[..., Awaitable[None]]


@pytest.fixture
async def connect_to(
    make_context: Callable[..., OpenContext], stub_exchange: Any
) -> AsyncIterator[Callable[[str], Any]]:
    """Starts a connection to a URL; the task and the connection come back."""
    tasks: list[asyncio.Task[Any]] = []

    def start(url: str) -> tuple[Connection, asyncio.Task[Any]]:
        context = make_context()
        counters = FeedCounters(context.block, context.log, context.clock.monotonic_ns())
        connection = Connection(
            context,
            context.wake_fd,
            stub_exchange,
            url,
            Rows(context, context.of_feed, "kraken", stub_exchange, counters),
            counters,
            1,
        )
        tasks.append(asyncio.create_task(connection.run()))
        return connection, tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_nobody_listens(connect_to: Any) -> None:
    """A refused TCP connection ends as refused."""
    _, task = connect_to("ws://127.0.0.1:1/ws")
    assert (await task).reason == "refused"


async def test_the_upgrade_is_refused(venue: Any, connect_to: Any) -> None:
    """An HTTP 503 instead of the upgrade ends as refused and names the status."""
    venue.is_refusing = True
    _, task = connect_to(venue.ws_base)
    ended = await task
    assert ended.reason == "refused"
    assert "503" in ended.detail


async def test_a_handshake_that_hangs_is_bounded(connect_to: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server accepts and says nothing: the attempt ends as refused after its limit."""
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, task = connect_to(f"ws://127.0.0.1:{server.getsockname()[1]}/ws")
        assert (await asyncio.wait_for(task, 10)).reason == "refused"


async def test_the_server_closes(venue: Any, connect_to: Any, until: Until) -> None:
    """A close frame ends the connection as closed, with its code."""
    connection, task = connect_to(venue.ws_base)
    await until(lambda: connection.is_open and venue.sockets)
    await venue.sockets[0].close(1013, "restarting")
    ended = await task
    assert ended.reason == "closed"
    assert "1013" in ended.detail
    assert not connection.is_open


async def test_a_cut_line_is_closed_too(venue: Any, connect_to: Any, until: Until) -> None:
    """No close frame, the transport is gone: closed."""
    connection, task = connect_to(venue.ws_base)
    await until(lambda: connection.is_open and venue.sockets)
    venue.sockets[0].transport.abort()
    assert (await task).reason == "closed"


async def test_the_decoder_may_ask_for_a_replacement(venue: Any, connect_to: Any, until: Until) -> None:
    """The connection says so and goes on pumping: the runner decides when."""
    connection, task = connect_to(venue.ws_base)
    await until(lambda: venue.sockets)
    await venue.sockets[0].send('["reconnect", "planned"]')
    await until(lambda: connection.replace is not None)
    assert connection.replace.reason == "planned"
    assert not task.done()


async def test_every_frame_is_a_sign_of_life_but_only_quotes_are_fresh(
    venue: Any, connect_to: Any, until: Until
) -> None:
    """A heartbeat moves `frame_at_ns` and not `quote_at_ns`."""
    venue.is_sending = False
    connection, _ = connect_to(venue.ws_base)
    await until(lambda: venue.sockets and connection.is_open)
    opened_ns = connection.watch.frame_at_ns
    await venue.sockets[0].send('["alive"]')
    await until(lambda: connection.watch.frame_at_ns > opened_ns)
    assert connection.watch.quote_at_ns is None


async def test_what_a_decoder_raises_ends_the_task(venue: Any, connect_to: Any, until: Until) -> None:
    """A bug of ours is no reason of an exchange: the process ends with it, and the supervisor starts another."""
    connection, task = connect_to(venue.ws_base)
    await until(lambda: connection.watch.quote_at_ns is not None or venue.sockets)
    await venue.sockets[0].send('["no such verb"]')
    with pytest.raises(KeyError, match="no such verb"):
        await asyncio.wait_for(task, 10)


async def test_a_peer_who_takes_no_replies_is_not_read(venue: Any, connect_to: Any, until: Until) -> None:
    """Heartbeats from somebody who does not read fill no memory: their replies wait, then their frames; both go on."""
    venue.is_sending = False
    connection, task = connect_to(venue.ws_base)
    await until(lambda: connection.is_open and venue.received)
    takes_replies, taken = asyncio.Event(), []

    async def take(_socket: Any, _wanted: list[str], message: list[str]) -> None:
        await takes_replies.wait()
        taken.extend(message[:1])

    venue._on_text = take
    frame = json.dumps(["reply", json.dumps(["answer", "x" * 20_000])])

    async def beat() -> None:
        for _ in range(1_000):
            await venue.sockets[0].send(frame)

    beating = asyncio.create_task(beat())
    await until(lambda: connection._socket is not None and not connection._socket.transport.is_reading())
    assert connection._to_say.qsize() < 2 * REPLIES_WAITING_MAX
    takes_replies.set()
    await until(lambda: taken.count("answer") == 1_000, 60)
    await beating
    assert not task.done()
