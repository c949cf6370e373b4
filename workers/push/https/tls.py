"""The bytes of one connection: TLS over memory between a socket and whoever speaks HTTP.

asyncio's own TLS offers no way to resume a session or to choose when a handshake's step is run; OpenSSL over memory
(ssl.MemoryBIO) offers both, and a delivery needs no second protocol object between.

Rules: nothing is sent or read in clear. A certificate is checked against the name that the customer wrote, whatever
address it led to. A session is resumed only for the name and port that it was made with, and no longer than
PUSH_CONNECTION_AGE_SECONDS after a certificate was last checked in full. What a receiver sends without being asked is
bounded: `expect` says how many bytes may come, and whoever sends more loses the connection.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

from trinity.clock import NS_PER_SECOND
from trinity.errors import DeliveryError
from trinity.limits import PUSH_CONNECTION_AGE_SECONDS, TLS_SESSIONS_MAX
from trinity.net.egress import clean
from workers.push.https.pace import Lane

HTTP1, HTTP2 = "http/1.1", "h2"
# A TLS record holds 16 KiB at most (RFC 8446, 5.1).
_RECORD_BYTES_MAX = 16 * 1024
# A handshake's answer: a chain of certificates is 3 to 10 KB.
_HANDSHAKE_BYTES_MAX = 128 * 1024
_SESSION_NS_MAX = int(PUSH_CONNECTION_AGE_SECONDS * NS_PER_SECOND)


def make_tls(ca_file: str = "") -> ssl.SSLContext:
    """Verify against the system's authorities, and one more if it is given; offer HTTP/2 and HTTP/1.1."""
    tls = ssl.create_default_context()
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.options |= ssl.OP_NO_RENEGOTIATION
    tls.set_alpn_protocols([HTTP2, HTTP1])
    if ca_file:
        tls.load_verify_locations(ca_file)
    return tls


class Talk(Protocol):
    """Who speaks HTTP over a line."""

    def received(self, data: bytes) -> None: ...

    def ended(self, error: DeliveryError, is_clean: bool) -> None: ...


class _Session(NamedTuple):
    session: ssl.SSLSession
    verified_at_ns: int


class TlsSessions:
    """TLS sessions of closed connections by host and port; the longest unused give way."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, int], _Session] = {}

    def take(self, key: tuple[str, int], now_ns: int) -> _Session | None:
        found = self._sessions.pop(key, None)
        return found if found is not None and now_ns - found.verified_at_ns < _SESSION_NS_MAX else None

    def keep(self, key: tuple[str, int], session: ssl.SSLSession | None, verified_at_ns: int) -> None:
        if session is not None and session.has_ticket:
            self._sessions[key] = _Session(session, verified_at_ns)
            if len(self._sessions) > TLS_SESSIONS_MAX:
                del self._sessions[next(iter(self._sessions))]


class SecureLine(asyncio.Protocol):
    """One TCP connection with TLS; `opened` is the protocol that the peer chose, or a DeliveryError."""

    def __init__(
        self, tls: ssl.SSLContext, key: tuple[str, int], sessions: TlsSessions, lane: Lane, now_ns: int
    ) -> None:
        self.opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._context = tls
        self._key = key
        self._sessions = sessions
        self._lane: Lane | None = lane
        self._verified_at_ns = now_ns
        self._tls: ssl.SSLObject | None = None
        self._transport: asyncio.Transport | None = None
        self._talk: Talk | None = None
        self.is_step_due = False  # what has come waits for this process, and not for the receiver
        self._may_come = _HANDSHAKE_BYTES_MAX
        self.is_closed = False
        self.is_resumed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class
        self._submit(self._begin)

    def start(self, talk: Talk) -> None:
        """From now on `talk` gets what comes."""
        self._talk = talk
        self._read()

    def expect(self, byte_count: int) -> None:
        """So many bytes may come from now on."""
        self._may_come = byte_count

    def write(self, data: bytes) -> None:
        assert self._tls is not None
        assert self._transport is not None
        written = self._tls.write(data)
        while written < len(data):  # OpenSSL takes a record at a time
            written += self._tls.write(memoryview(data)[written:])
        self._flush()

    def close(self) -> None:
        """Say goodbye and close; what the peer had still to say is lost."""
        if not self.is_closed and self._tls is not None and self._transport is not None:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
            self._transport.close()
        self._leave(DeliveryError("reset", "the receiver closed the connection"), is_clean=True)

    def abort(self, error: DeliveryError) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._leave(error)

    def data_received(self, data: bytes) -> None:
        if self.is_closed:
            return
        self._may_come -= len(data)
        self._incoming.write(data)
        if self._talk is not None:
            self._read()
        elif not self.is_step_due and not self.opened.done():
            self._submit(self._shake)
        if self._may_come < 0 and not self.is_closed:
            self.abort(DeliveryError("protocol", "it sends more than was asked for"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_closed:
            words = clean(str(exc)) if exc is not None else "the receiver closed the connection"
            self._leave(DeliveryError("reset", words), is_clean=exc is None)
        self._transport = None

    def _submit(self, step: Callable[[], None]) -> None:
        assert self._lane is not None
        self.is_step_due = True
        self._lane.submit(step)

    def _begin(self) -> None:
        if self.is_closed:
            return
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_hostname=self._key[0])
        found = self._sessions.take(self._key, self._verified_at_ns)
        if found is not None:
            self._tls.session, self._verified_at_ns = found
        self._shake()

    def _shake(self) -> None:
        """Go as far with the handshake as what has come allows."""
        self.is_step_due = False
        if self.is_closed:
            return
        assert self._tls is not None
        assert self._transport is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()  # an alert
            self.abort(DeliveryError("tls", _words(error)))
            return
        self._flush()
        self._lane = None
        self.is_resumed = bool(self._tls.session_reused)
        if not self.opened.done():
            self.opened.set_result(self._tls.selected_alpn_protocol() or HTTP1)

    def _read(self) -> None:
        assert self._tls is not None
        while not self.is_closed:
            try:
                data = self._tls.read(_RECORD_BYTES_MAX)
            except ssl.SSLWantReadError:
                self._flush()
                return
            except ssl.SSLError as error:
                self.abort(DeliveryError("tls", _words(error)))
                return
            if not data:
                self.close()
                return
            assert self._talk is not None
            self._talk.received(data)
            if not self._incoming.pending and not self._tls.pending():
                return

    def _flush(self) -> None:
        # A transport that the peer has closed raises in uvloop; that it is closed is told in the loop's next turn.
        if self._outgoing.pending and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._outgoing.read())

    def _leave(self, error: DeliveryError, is_clean: bool = False) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if not self.opened.done():
            self.opened.set_exception(error)
            self.opened.exception()  # whoever waited may have been called off: asyncio need not complain
        elif self._tls is not None and self._lane is None:
            self._sessions.keep(self._key, self._tls.session, self._verified_at_ns)
        if self._talk is not None:
            self._talk.ended(error, is_clean)
        self._talk = None


def _words(error: Exception) -> str:
    """What OpenSSL says, without its own source lines."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return clean(error.verify_message)
    return clean(getattr(error, "reason", None) or str(error))
