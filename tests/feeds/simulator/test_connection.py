"""One WebSocket of a simulated exchange, over real sockets."""

import asyncio
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from feeds.simulator.connection import OUTBOX_MAX
from feeds.simulator.venue import CloseSocket, SendPing


async def _server_side(running: Any, exchange: str, until: Any) -> Any:
    """The simulator's end of the only connection to an exchange."""
    connections = running.simulator._connections[exchange]
    await until(lambda: connections)
    return next(iter(connections))


async def test_frames_are_sent_in_the_order_in_which_they_were_posted(running: Any, until: Any) -> None:
    """Texts of several posts arrive in order."""
    async with await running.connect("/gemini") as socket:
        connection = await _server_side(running, "gemini", until)
        connection.post(["a", "b"])
        connection.post([SendPing(), "c"])
        assert [await socket.recv() for _ in range(3)] == ["a", "b", "c"]


async def test_a_close_is_the_last_frame_and_has_its_code(running: Any, until: Any) -> None:
    """What was posted before it arrives; what comes behind it does not."""
    async with await running.connect("/gemini") as socket:
        connection = await _server_side(running, "gemini", until)
        connection.post(["a", CloseSocket(1000, "enough"), "b"])
        assert await socket.recv() == "a"
        with pytest.raises(ConnectionClosedOK):
            await socket.recv()
    assert (socket.close_code, socket.close_reason) == (1000, "enough")


async def test_a_close_without_a_code_is_seen_as_1006(running: Any, until: Any) -> None:
    """The connection breaks without a close frame."""
    async with await running.connect("/gemini") as socket:
        (await _server_side(running, "gemini", until)).post([CloseSocket(None)])
        with pytest.raises(ConnectionClosedError):
            await socket.recv()
    assert socket.close_code == 1006


async def test_a_client_that_does_not_read_is_cut(running: Any, until: Any) -> None:
    """An outbox above its bound ends the connection instead of filling the memory."""
    async with await running.connect("/gemini") as socket:
        connection = await _server_side(running, "gemini", until)
        connection.post(["x"] * (OUTBOX_MAX + 1))
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        await until(lambda: not running.simulator._connections["gemini"])


async def test_a_connection_that_ended_is_forgotten(running: Any, until: Any) -> None:
    """After the client left, neither the connection nor its sending task stays."""
    tasks = len(asyncio.all_tasks())
    async with await running.connect("/gemini"):
        await _server_side(running, "gemini", until)
    await until(lambda: not running.simulator._connections["gemini"])
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
