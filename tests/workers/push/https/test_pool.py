"""A delivery ends at its time, whatever the receiver does, and connections are used again within their bounds."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
import trustme

from tests.support.receivers import (
    BODY,
    HEADERS,
    OK,
    PAST,
    Http2Receiver,
    Names,
    Receiver,
    Speak,
    answering,
    dripping,
    endless,
    endless_head,
    good,
    hanging,
    listening,
    pool_for,
    read_request,
    receiver,
    resetting,
)
from trinity.errors import DeliveryError
from trinity.push.addresses import AllowList
from workers.push.https.pool import ConnectionPool, PoolBounds

# Long enough for a slow machine where the end is not a time-out, short where it is one.
LONG, SHORT = 30.0, 0.5


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what is to come about in the loop; the test's own bound is generous."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def failure(pool: ConnectionPool, here: Receiver, seconds: float = LONG, host: str = "localhost") -> str:
    with pytest.raises(DeliveryError) as caught:
        await pool.post(here.target(host=host), HEADERS, BODY, seconds)
    return caught.value.kind


async def test_a_message_arrives_as_it_was_given_and_its_connection_is_used_again(authority: trustme.CA) -> None:
    """Method, path, Host with port, headers, length and body."""
    async with receiver(good, authority) as here, pool_for(authority) as pool:
        first = await pool.post(here.target("/hook?a=b"), HEADERS, BODY, LONG)
        second = await pool.post(here.target("/other"), HEADERS, b"", LONG)
    assert (first.status, first.body_start, first.is_new_connection) == (200, b"ok", True)
    assert (second.status, second.is_new_connection) == (200, False)
    assert here.connections == 1
    lines = here.requests[0][0].split(b"\r\n")
    assert lines[0] == b"POST /hook?a=b HTTP/1.1"
    assert b"host: localhost:%d" % here.port in lines
    assert b"webhook-id: msg_7_8" in lines
    assert b"content-type: application/json" in lines
    assert [body for _, body in here.requests] == [BODY, b""]
    assert pool.counters()[2:4] == (1, 1)


@pytest.mark.parametrize(
    ("speak", "kind"),
    [
        (hanging, "timeout"), (dripping, "timeout"), (resetting, "reset"), (endless_head, "protocol"),
        (answering(b"SSH-2.0-OpenSSH\r\n"), "protocol"), (answering(b"HTTP/1.1 abc\r\n\r\n"), "protocol"),
        (answering(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), "protocol"),
        (answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"), "protocol"),
        (answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), "protocol"),
        (answering(b"\x16\x03\x01" * 100), "protocol"),
        (answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 4_000), "protocol"),
        (answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 12_000), "protocol"),
    ],
)  # fmt: skip
async def test_a_bad_receiver_costs_one_delivery_and_its_connection(
    authority: trustme.CA, speak: Speak, kind: str
) -> None:
    """Each kind by its name; nothing stays open."""
    async with receiver(speak, authority) as here, pool_for(authority) as pool:
        assert await failure(pool, here, SHORT if kind == "timeout" else LONG) == kind
        assert pool.counters().open == 0


@pytest.mark.parametrize("status", [204, 301, 302, 308, 404, 410, 429, 500, 503])
async def test_an_answer_is_told_by_its_status_and_no_redirect_is_followed(authority: trustme.CA, status: int) -> None:
    """Where it points, nobody connects to."""
    answer = b"HTTP/1.1 %d X\r\nlocation: https://localhost:1/\r\ncontent-length: 0\r\nretry-after: 7\r\n\r\n" % status
    if status == 204:
        answer = answer.replace(b"content-length: 0\r\n", b"")
    async with receiver(answering(answer), authority) as here, pool_for(authority) as pool:
        reply = await pool.post(here.target(), HEADERS, BODY, LONG)
        assert (reply.status, reply.retry_after_s, reply.body_start) == (status, 7.0, b"")
        assert not (await pool.post(here.target(), HEADERS, BODY, LONG)).is_new_connection
    assert len(here.requests) == 2


async def test_a_body_without_end_is_cut_and_the_answer_counts(authority: trustme.CA) -> None:
    """1 KiB of it is kept, and the next message goes over another connection."""
    async with receiver(endless, authority) as here, pool_for(authority) as pool:
        for _ in range(2):
            reply = await pool.post(here.target(), HEADERS, BODY, LONG)
            assert (reply.status, len(reply.body_start), reply.is_new_connection) == (200, 1024, True)
        assert pool.counters().open == 0


async def test_hints_before_an_answer_are_passed_over(authority: trustme.CA) -> None:
    """100 and 103 are no answers, and their headers are not the answer's."""
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nretry-after: 9\r\n\r\n" + OK
    async with receiver(answering(early), authority) as here, pool_for(authority) as pool:
        for is_new in (True, False):
            reply = await pool.post(here.target(), HEADERS, BODY, LONG)
            assert (reply.status, reply.retry_after_s, reply.is_new_connection) == (200, None, is_new)


async def test_a_body_may_end_with_its_connection(authority: trustme.CA) -> None:
    """HTTP/1.0's way; with a length that is not reached it is a reset."""

    async def speak(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(here, reader)
        length = b"content-length: 100\r\n" if len(here.requests) > 1 else b""
        writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\nall of it")
        writer.close()
        await writer.wait_closed()

    async with receiver(speak, authority) as here, pool_for(authority) as pool:
        reply = await pool.post(here.target(), HEADERS, BODY, LONG)
        assert (reply.status, reply.body_start) == (200, b"all of it")
        assert await failure(pool, here) == "reset"


@pytest.mark.parametrize(
    "answer",
    [OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), OK + OK, OK + b"x", b"HTTP/1.0 200 OK\r\n" + OK[17:]],
)
async def test_a_connection_that_says_so_or_has_more_behind_is_not_used_again(
    authority: trustme.CA, answer: bytes
) -> None:
    """What lies behind an answer would be taken for the next one."""
    async with receiver(answering(answer), authority) as here, pool_for(authority) as pool:
        for _ in range(2):
            assert (await pool.post(here.target(), HEADERS, BODY, LONG)).is_new_connection
    assert here.connections == 2


async def test_what_nobody_asked_for_is_never_an_answer(authority: trustme.CA) -> None:
    """A receiver that sends a second answer later loses the connection."""

    async def speak(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(here, reader)
        writer.write(OK)
        await writer.drain()
        if here.connections == 1:
            await asyncio.sleep(0.05)
            writer.write(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n")
        await asyncio.Event().wait()

    async with receiver(speak, authority) as here, pool_for(authority) as pool:
        await pool.post(here.target(), HEADERS, BODY, LONG)
        await until(lambda: pool.counters().open == 0)
        reply = await pool.post(here.target(), HEADERS, BODY, LONG)
        assert (reply.status, reply.is_new_connection) == (200, True)


async def test_a_connection_closed_while_a_message_was_on_its_way_costs_one_try(authority: trustme.CA) -> None:
    """It is sent again on a new connection, once, and not where an answer had begun."""

    async def speak(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(here, reader)
        writer.write(OK)
        await writer.drain()
        await read_request(here, reader)
        if here.connections == 2:
            writer.write(b"HTTP/1.1 200")
            await writer.drain()
        writer.transport.abort() if here.connections == 1 else writer.close()

    async with receiver(speak, authority) as here, pool_for(authority) as pool:
        assert (await pool.post(here.target(), HEADERS, BODY, LONG)).is_new_connection
        assert (await pool.post(here.target(), HEADERS, BODY, LONG)).is_new_connection
        assert len(here.requests) == 3
        assert await failure(pool, here) == "reset"
        assert (len(here.requests), here.connections) == (4, 2)


@pytest.mark.parametrize(
    ("name", "trusted", "is_expired", "words"),
    [
        ("other.example", True, False, "match"), ("localhost", True, True, "expired"),
        ("localhost", False, False, "issuer|self-signed"),
    ],
)  # fmt: skip
async def test_a_certificate_that_is_not_this_host_s_ends_the_delivery(
    authority: trustme.CA, name: str, trusted: bool, is_expired: bool, words: str
) -> None:
    """Of another name, expired, of an unknown authority: nothing is sent."""
    issuer = authority if trusted else trustme.CA()
    async with receiver(good, issuer, name, PAST if is_expired else None) as here, pool_for(authority) as pool:
        with pytest.raises(DeliveryError, match=words) as caught:
            await pool.post(here.target(), HEADERS, BODY, LONG)
        assert caught.value.kind == "tls"
        assert (here.requests, pool.counters().open) == ([], 0)


async def test_nothing_is_sent_in_clear(authority: trustme.CA) -> None:
    """A server without TLS gets a greeting of TLS and no message."""
    got = b""

    async def speak(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        got = await reader.read(65_536)
        writer.write(OK)
        await writer.drain()
        await reader.read()

    async with listening(speak, Receiver(), None) as here, pool_for(authority) as pool:
        assert await failure(pool, here) == "tls"
    assert BODY not in got


async def test_a_port_that_nobody_listens_on_and_a_handshake_that_is_cut(authority: trustme.CA) -> None:
    """Refused, dropped at once, and silent."""

    async def drop(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    async with pool_for(authority) as pool:
        async with listening(drop, Receiver(), None) as here:
            assert await failure(pool, here) == "reset"
        assert await failure(pool, here) == "connect"
        async with listening(hanging, Receiver(), None) as here:
            assert await failure(pool, here, SHORT) == "timeout"
        assert pool.counters().open == 0


async def test_the_checked_address_is_connected_to_while_tls_and_host_keep_the_name(authority: trustme.CA) -> None:
    """SNI, certificate and Host are the customer's; the address is the one that was checked, asked for once a dial."""
    names = Names(hooks_example=[["127.0.0.1"], ["10.0.0.1"]])
    async with receiver(good, authority, "hooks.example") as here, pool_for(authority, names=names) as pool:
        await pool.post(here.target(host="hooks.example"), HEADERS, BODY, LONG)
        await pool.post(here.target(host="hooks.example"), HEADERS, BODY, LONG)
    assert here.names == ["hooks.example"]
    assert names.asked == 1
    assert b"host: hooks.example:%d" % here.port in here.requests[0][0]


async def test_a_resolver_that_changes_its_answer_gains_nothing(authority: trustme.CA) -> None:
    """Public at the check, private at the dial: refused, and nobody is connected to; so is a mixed answer."""
    names = Names(a_example=[["127.0.0.1"]], b_example=[["8.8.8.8", "127.0.0.1"]], c_example=[[]], d_example=[["x"]])
    nothing_allowed = AllowList()
    async with receiver(good, authority) as here, pool_for(authority, names=names, allow=nothing_allowed) as pool:
        for host, kind in (
            ("a.example", "refused_address"), ("b.example", "refused_address"), ("c.example", "resolve"),
            ("d.example", "refused_address"), ("127.0.0.1", "refused_address"), ("[::1]", "refused_address"),
        ):  # fmt: skip
            assert await failure(pool, here, host=host) == kind
    assert here.connections == 0


async def test_a_host_has_a_bound_and_whoever_finds_no_room_waits(authority: trustme.CA) -> None:
    """Twenty messages at once over two connections; none is lost."""
    async with receiver(good, authority) as here, pool_for(authority, PoolBounds(per_host_max=2)) as pool:
        replies = await asyncio.gather(*(pool.post(here.target(), HEADERS, BODY, LONG) for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert here.connections <= 2
    assert len(here.requests) == 20


async def test_whoever_waits_for_a_host_at_work_is_told_busy(authority: trustme.CA) -> None:
    """And when that host is at last free, it is used."""
    gate = asyncio.Event()

    async def speak(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(here, reader)
        await gate.wait()
        writer.write(OK)
        await good(here, reader, writer)

    async with receiver(speak, authority) as here, pool_for(authority, PoolBounds(per_host_max=1)) as pool:
        slow = asyncio.create_task(pool.post(here.target(), HEADERS, BODY, LONG))
        await until(lambda: bool(here.requests))
        assert await failure(pool, here, SHORT) == "busy"
        waiting = asyncio.create_task(pool.post(here.target(), HEADERS, BODY, LONG))
        gate.set()
        assert (await slow).status == (await waiting).status == 200
    assert here.connections == 1


async def test_at_the_bound_of_all_connections_the_longest_idle_one_gives_way(authority: trustme.CA) -> None:
    """And when all are at work, the delivery is told so."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(pool_for(authority, PoolBounds(connections_max=2)))
        first, second, third = [await stack.enter_async_context(receiver(good, authority)) for _ in range(3)]
        silent = [await stack.enter_async_context(receiver(hanging, authority)) for _ in range(2)]
        for here in (first, second, third):
            await pool.post(here.target(), HEADERS, BODY, LONG)
        assert pool.counters().open == 2
        assert not (await pool.post(second.target(), HEADERS, BODY, LONG)).is_new_connection
        assert (await pool.post(first.target(), HEADERS, BODY, LONG)).is_new_connection
        tasks = [asyncio.create_task(pool.post(here.target(), HEADERS, BODY, LONG)) for here in silent]
        await until(lambda: all(here.connections for here in silent))
        assert await failure(pool, first) == "busy"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert pool.counters().open == 0


async def test_an_idle_connection_ends_after_its_time(authority: trustme.CA) -> None:
    """Not before, and with a goodbye."""
    async with receiver(good, authority) as here, pool_for(authority, PoolBounds(idle_seconds=0.0)) as pool:
        await pool.post(here.target(), HEADERS, BODY, LONG)
        await until(lambda: pool.counters().open == 0)


async def test_a_closed_connection_s_session_is_resumed(authority: trustme.CA) -> None:
    """The next one needs no certificate."""
    closing = OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with receiver(answering(closing), authority) as here, pool_for(authority) as pool:
        for _ in range(3):
            await pool.post(here.target(), HEADERS, BODY, LONG)
        assert pool.counters().resumed_total == here.resumed == 2


@pytest.mark.parametrize("is_suspect", [True, False])
async def test_a_receiver_that_fails_is_dialled_in_a_lane_of_its_own(authority: trustme.CA, is_suspect: bool) -> None:
    """Hanging receivers fill the narrow lane, and a good one is not behind them."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(pool_for(authority, PoolBounds(suspect_dials_max=4)))
        here = await stack.enter_async_context(receiver(good, authority))
        silent = [await stack.enter_async_context(listening(hanging, Receiver(), None)) for _ in range(6)]
        tasks = [asyncio.create_task(pool.post(one.target(), HEADERS, BODY, LONG, is_suspect=True)) for one in silent]
        await until(lambda: sum(one.connections for one in silent) >= 4)
        if is_suspect:
            with pytest.raises(DeliveryError) as caught:
                await pool.post(here.target(), HEADERS, BODY, SHORT, is_suspect=True)
            assert caught.value.kind == "busy"
        else:
            assert (await pool.post(here.target(), HEADERS, BODY, LONG)).status == 200
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_http2_is_spoken_where_it_is_offered_and_one_connection_carries_all(authority: trustme.CA) -> None:
    """A hundred at once, the first of which finds out."""
    speak = Http2Receiver()
    async with receiver(speak, authority, protocols=["h2"]) as here, pool_for(authority) as pool:
        replies = await asyncio.gather(*(pool.post(here.target(), HEADERS, BODY, LONG) for _ in range(100)))
        assert {(reply.status, reply.body_start) for reply in replies} == {(200, b"ok")}
        assert sum(reply.is_new_connection for reply in replies) == here.connections == 1
        await until(lambda: pool.counters().idle == 1)
    head = here.requests[0][0].split(b"\n")
    assert b":authority: localhost:%d" % here.port in head
    assert b"webhook-id: msg_7_8" in head
    assert {body for _, body in here.requests} == {BODY}
