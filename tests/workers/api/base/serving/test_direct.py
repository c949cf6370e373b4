"""Answers written past the server: over real sockets, with the kernel's own bounds."""

import asyncio
import contextlib
import gc
import http.client
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clocks import ManualClock
from trinity.clock import SystemClock
from workers.api.base.serving.direct import BodyPiece, CallConnection, Duplicates, may_be_direct


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket, Duplicates]]:
    """(the client's end, the server's, what duplicates the server's)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        server.setblocking(False)
        client.settimeout(5)
        pool = Duplicates(2, SystemClock())
        pool.ports = (listener.getsockname()[1],)
        with client, server:
            yield client, server, pool


async def _unused(_message: Any) -> None:
    raise AssertionError("nothing of a taken connection goes through the server")


def _connection(server: socket.socket, pool: Duplicates, version: str = "1.1") -> CallConnection:
    return CallConnection(server.getpeername()[:2], version, _unused, pool, ManualClock(0, 784_111_777 * 10**9))


def _start(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


def _body(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def _read_all(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def _open_files() -> int:
    gc.collect()  # what other tests left open ends now, and not between two counts
    return len(os.listdir("/proc/self/fd"))


async def test_an_answer_is_http_as_another_s_client_reads_it(pair: Any) -> None:
    """Status, headers, frames of the body and their end; the server's own descriptor stays open."""
    client, server, pool = pair
    connection = _connection(server, pool)
    assert await connection.take()
    await connection.send(_start((b"content-type", b"text/event-stream"), (b"content-length", b"3")))
    await connection.send(_body(b"retry: 1\n\n"))
    connection.write(BodyPiece.of(b"data: " + b"x" * 300 + b"\n\n"))
    await connection.send(_body(b"", more=False))
    response = http.client.HTTPResponse(client)
    response.begin()
    assert (response.status, response.version) == (200, 11)
    assert dict(response.getheaders()) == {
        "content-type": "text/event-stream",
        "date": "Sun, 06 Nov 1994 08:49:37 GMT",
        "connection": "close",
        "transfer-encoding": "chunked",
    }
    assert response.read() == b"retry: 1\n\ndata: " + b"x" * 300 + b"\n\n"
    assert connection.written_bytes == 308
    assert server.recv(10) == b""  # shut, not closed


async def test_http_1_0_has_no_frames(pair: Any) -> None:
    """The body ends with the connection."""
    client, server, pool = pair
    connection = _connection(server, pool, "1.0")
    assert await connection.take()
    await connection.send(_start())
    connection.write(BodyPiece.of(b"data: 1\n\n"))
    await connection.send(_body(b"", more=False))
    head, _, body = _read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"data: 1\n\n"


async def test_what_the_kernel_does_not_take_waits_and_nothing_is_lost_or_mixed(pair: Any) -> None:
    """A reader that stops and goes on gets every byte in its order."""
    client, server, pool = pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection = _connection(server, pool, "1.0")
    assert await connection.take()
    pieces = 0
    while not connection.waiting_bytes:
        connection.write(BodyPiece.of(b"%07d\n" % pieces * 1000))
        pieces += 1
    assert connection.flush() == connection.waiting_bytes <= 8000
    received = b""
    while connection.waiting_bytes:
        received += client.recv(65536)
        connection.flush()
    connection.close()
    received += _read_all(client)
    assert received == b"".join(b"%07d\n" % number * 1000 for number in range(pieces))


async def test_a_client_that_left_is_known_and_takes_nothing(pair: Any) -> None:
    """No error: the connection is gone, and closing it is nothing."""
    client, server, pool = pair
    connection = _connection(server, pool)
    assert await connection.take()
    client.close()
    async with asyncio.timeout(60):
        while not connection.is_gone:
            connection.write(BodyPiece.of(b"x" * 1000))
            await asyncio.sleep(0.01)
    connection.close()
    connection.close()
    connection.write(BodyPiece.of(b"x"))
    assert connection.waiting_bytes == 0


async def test_a_connection_that_is_not_taken_is_the_server_s(pair: Any) -> None:
    """Its messages go on as they are, and closing it shuts nothing."""
    client, server, pool = pair
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    connection = CallConnection(server.getpeername()[:2], "1.1", send, pool, SystemClock())
    await connection.send(_start())
    await connection.send(_body(b"x", more=False))
    connection.close()
    assert sent == [_start(), _body(b"x", more=False)]
    client.sendall(b"still there")
    assert server.recv(100) == b"still there"


async def test_no_more_are_taken_than_there_are_descriptors_for(pair: Any) -> None:
    """Two at once here; whoever closes makes room; what nobody holds is closed."""
    _, server, pool = pair
    before = _open_files()
    made = [_connection(server, pool) for _ in range(3)]
    assert [await connection.take() for connection in made] == [True, True, False]
    made[0].close()
    assert await made[2].take()
    for connection in made:
        connection.close()
    assert _open_files() == before
    assert await pool.take(("192.0.2.1", 1)) is None
    assert await pool.take(server.getpeername()[:2]) is not None


async def test_many_that_wait_are_found_by_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each its own; two calls of one peer cannot be told apart; who gives up leaves no descriptor behind."""
    looks = []
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as held:
        pool = Duplicates(100, SystemClock())
        pool.ports = (listener.getsockname()[1],)
        ends = []
        for _ in range(20):
            held.enter_context(socket.create_connection(listener.getsockname()))
            ends.append(held.enter_context(listener.accept()[0]))
        from workers.api.base.serving import direct

        found = direct.duplicates
        monkeypatch.setattr(direct, "duplicates", lambda *arguments: (looks.append(1), found(*arguments))[1])
        before = _open_files()
        peers = [end.getpeername()[:2] for end in ends]
        waiting = [asyncio.create_task(pool.take(peer)) for peer in [*peers, peers[0]]]
        await asyncio.sleep(0)
        for given_up in waiting[:5]:
            given_up.cancel()
        taken = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in taken[:5])
        assert taken[-1] is None
        for fd, end in zip(taken[5:-1], ends[5:], strict=True):
            assert isinstance(fd, int)
            assert os.fstat(fd).st_ino == os.fstat(end.fileno()).st_ino
            os.close(fd)
        assert len(looks) == 1
        assert _open_files() == before


@pytest.mark.parametrize(
    ("version", "method", "may"),
    [("1.1", "GET", True), ("1.0", "GET", True), ("2", "GET", False), ("1.1", "HEAD", False)],
)
def test_only_bodies_over_connections_of_their_own_are_written_here(version: str, method: str, may: bool) -> None:
    """HTTP/2 shares its connection, and HEAD has no body."""
    assert may_be_direct(version, method) is may
