"""A line verifies whom it talks to, resumes what it may, and is rid of whoever sends too much."""

import asyncio
import ssl
from typing import cast

import pytest
import trustme

from tests.support.clocks import ManualClock
from tests.support.receivers import Receiver, Speak, good, receiver
from trinity.errors import DeliveryError
from trinity.limits import PUSH_CONNECTION_AGE_SECONDS, TLS_SESSIONS_MAX
from workers.push.https.pace import Lane
from workers.push.https.tls import HTTP1, HTTP2, SecureLine, TlsSessions, make_tls


class Talk:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.got = b""
        self.error: DeliveryError | None = None
        self.has_ended = asyncio.Event()

    def received(self, data: bytes) -> None:
        self.got += data

    def ended(self, error: DeliveryError, is_clean: bool) -> None:
        self.error = error
        self.has_ended.set()


async def open_line(
    here: Receiver, authority: trustme.CA, sessions: TlsSessions | None = None, tls: ssl.SSLContext | None = None
) -> SecureLine:
    clock = ManualClock()
    if tls is None:
        tls = make_tls()
        authority.configure_trust(tls)
    line = SecureLine(
        tls, ("localhost", here.port), sessions or TlsSessions(), Lane(1, 0.0, clock), clock.monotonic_ns()
    )
    await asyncio.get_running_loop().create_connection(lambda: line, "127.0.0.1", here.port)
    return line


@pytest.mark.parametrize(("offered", "chosen"), [((), HTTP1), (("http/1.1",), HTTP1), (("h2", "http/1.1"), HTTP2)])
async def test_the_receiver_chooses_the_protocol(authority: trustme.CA, offered: tuple[str, ...], chosen: str) -> None:
    """A receiver that knows no ALPN gets HTTP/1.1."""
    async with receiver(good, authority, protocols=offered) as here:
        line = await open_line(here, authority)
        async with asyncio.timeout(30):
            assert await line.opened == chosen
        line.abort(DeliveryError("reset", "over"))


def test_the_operator_s_own_authority_is_one_more(tmp_path: object) -> None:
    """Beside the system's; what is checked stays checked."""
    authority = trustme.CA()
    with authority.cert_pem.tempfile() as file:
        tls = make_tls(file)
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname
    assert tls.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(tls.get_ca_certs()) >= 1


async def test_whoever_sends_more_than_may_come_loses_the_connection(authority: trustme.CA) -> None:
    """Asked or not."""

    async def flood(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 1_000)
            await writer.drain()

    async with receiver(cast(Speak, flood), authority) as here:
        line = await open_line(here, authority)
        async with asyncio.timeout(30):
            await line.opened
            talk = Talk()
            line.expect(10_000)
            line.start(talk)
            await talk.has_ended.wait()
    assert talk.error is not None
    assert talk.error.kind == "protocol"
    assert line.is_closed


async def test_a_message_longer_than_a_record_is_written_whole(authority: trustme.CA) -> None:
    """OpenSSL takes 16 KiB at a time."""
    got = asyncio.get_running_loop().create_future()

    async def read(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.set_result(await reader.readexactly(100_000))
        writer.close()

    async with receiver(read, authority) as here:
        line = await open_line(here, authority)
        async with asyncio.timeout(30):
            await line.opened
            talk = Talk()
            line.start(talk)
            sent = bytes(range(250)) * 400
            line.write(sent)
            assert await got == sent
            await talk.has_ended.wait()


async def test_a_session_is_resumed_for_its_own_host_and_not_for_long(authority: trustme.CA) -> None:
    """An hour after the certificate was last seen it is asked for again; resuming does not prolong it."""
    async with receiver(good, authority) as here:
        sessions, tls = TlsSessions(), make_tls()
        authority.configure_trust(tls)
        for expected in (False, True, True):
            line = await open_line(here, authority, sessions, tls)
            async with asyncio.timeout(30):
                await line.opened
                assert line.is_resumed == expected
                talk = Talk()
                line.start(talk)
                line.write(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
                while not talk.got:
                    await asyncio.sleep(0.01)
            line.close()
        now_ns = ManualClock().monotonic_ns()
        assert sessions.take(("localhost", here.port + 1), now_ns) is None
        kept = sessions.take(("localhost", here.port), now_ns)
        assert kept is not None
        sessions.keep(("localhost", here.port), kept.session, kept.verified_at_ns)
        later_ns = now_ns + int(PUSH_CONNECTION_AGE_SECONDS * 10**9)
        assert sessions.take(("localhost", here.port), later_ns) is None


def test_so_many_sessions_are_kept_and_no_more() -> None:
    """The longest unused gives way; what cannot be resumed is not kept."""

    class Session:
        has_ticket = True

    sessions, session = TlsSessions(), cast(ssl.SSLSession, Session())
    for number in range(TLS_SESSIONS_MAX + 1):
        sessions.keep(("host", number), session, 0)
    sessions.keep(("other", 1), None, 0)
    assert sessions.take(("host", 0), 1) is None
    assert sessions.take(("host", 1), 1) is not None
    assert sessions.take(("other", 1), 1) is None
