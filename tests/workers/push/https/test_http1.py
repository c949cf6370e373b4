"""Whatever bytes a receiver answers with, in whatever pieces, a POST ends with an answer or a typed error."""

import asyncio
import itertools
from concurrent.futures import Future
from typing import cast

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.receivers import BODY, HEADERS
from trinity.errors import DeliveryError
from trinity.limits import REPLY_BODY_BYTES_MAX, REPLY_HEAD_BYTES_MAX, REPLY_KEPT_BYTES_MAX
from trinity.push.targets import parse_target
from workers.push.https.answer import IncomingReply
from workers.push.https.http1 import Http1Talk
from workers.push.https.tls import SecureLine

TARGET = parse_target("https://hooks.example/x?y=z")


class Line:
    """A line without a socket: it keeps what is written, and tells its talk of the end as the real one does."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False
        self.talk: Http1Talk | None = None
        self.may_come = 0

    def start(self, talk: Http1Talk) -> None:
        self.talk = talk

    def expect(self, byte_count: int) -> None:
        self.may_come = byte_count

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.end(DeliveryError("reset", "closed"), True)

    def abort(self, error: DeliveryError) -> None:
        self.end(error, False)

    def end(self, error: DeliveryError, is_clean: bool) -> None:
        if not self.is_closed:
            self.is_closed = True
            assert self.talk is not None
            self.talk.ended(error, is_clean)


class Loop:
    """Futures that need no event loop."""

    create_future = staticmethod(Future)


class Asked:
    """A POST on such a line."""

    def __init__(self) -> None:
        self.line = Line()
        self.talk = Http1Talk(cast(SecureLine, self.line), cast(asyncio.AbstractEventLoop, Loop()))
        self.answer = self.post()

    def post(self) -> IncomingReply:
        return self.talk.post(TARGET, HEADERS, BODY)

    def feed(self, data: bytes, cuts: list[int] | None = None) -> None:
        at = [0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]
        for start, end in itertools.pairwise(at):
            if start < end and not self.line.is_closed:
                self.talk.received(data[start:end])

    def outcome(self) -> int | str:
        """The status, or the kind of the error; "" while it waits."""
        if not self.answer.done.done():
            return ""
        error = self.answer.done.exception()
        return cast(DeliveryError, error).kind if error is not None else self.answer.status


def test_a_request_is_one_that_a_server_s_parser_reads() -> None:
    """llhttp's request side finds method, target, each header once and the body."""
    found: dict[bytes, bytes] = {}
    body = bytearray()

    class Protocol:
        def on_header(self, name: bytes, value: bytes) -> None:
            assert name not in found
            found[name] = value

        def on_body(self, data: bytes) -> None:
            body.extend(data)

    asked = Asked()
    parser = httptools.HttpRequestParser(Protocol())
    parser.feed_data(asked.line.written)
    assert (parser.get_method(), bytes(body)) == (b"POST", BODY)
    assert b"POST /x?y=z HTTP/1.1\r\n" in asked.line.written
    assert found[b"host"] == b"hooks.example"
    assert found[b"content-length"] == b"%d" % len(BODY)
    assert asked.outcome() == ""


@given(st.lists(st.integers(0, 1_000), max_size=6))
def test_an_answer_is_the_same_in_any_pieces(cuts: list[int]) -> None:
    """Cut wherever the network cuts; the connection can be used again."""
    asked = Asked()
    asked.feed(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Slow\r\nRETRY-AFTER:  5 \r\ntransfer-encoding: chunked\r\n\r\n"
        b"4\r\nslow\r\n5;x=y\r\n down\r\n0\r\ntrailer: x\r\n\r\n",
        cuts,
    )
    assert (asked.answer.kept, asked.answer.headers) == (b"slow down", {"retry-after": "5"})
    assert not asked.line.is_closed
    assert not asked.talk.in_flight
    assert asked.outcome() == 429


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_any_bytes_end_in_an_answer_an_error_or_waiting(data: bytes, cuts: list[int]) -> None:
    """Nothing else is raised."""
    asked = Asked()
    asked.feed(data, cuts)
    assert asked.outcome() in ("", "protocol") or isinstance(asked.outcome(), int)


@given(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 X", b"HTTP/1.1 101 X", b"HTTP/1.1 103 X"]),
    st.lists(
        st.sampled_from(
            [b"content-length: 3", b"content-length: 0", b"content-length: -1", b"transfer-encoding: chunked",
             b"transfer-encoding: gzip, chunked", b"connection: close", b"connection: keep-alive", b"upgrade: h2c",
             b"retry-after: 1", b"x\x00y: z", b" folded", b"content-length: 99999999999999999999999999"]
        ),
        max_size=4,
    ),
    st.sampled_from([
        b"", b"abc", b"abcdef", b"3\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n", b"HTTP/1.1 200 X\r\n\r\n",
    ]),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=4),
)  # fmt: skip
def test_any_mixture_of_headers_leaves_no_answer_for_the_next_post(
    start: bytes, headers: list[bytes], body: bytes, is_clean: bool, cuts: list[int]
) -> None:
    """A connection that is open after the answer has nothing in it; and its end ends every POST."""
    asked = Asked()
    asked.feed(b"\r\n".join([start, *headers, b"", b""]) + body, cuts)
    if asked.answer.done.done() and not asked.line.is_closed:
        following = asked.post()
        assert not following.has_begun
        asked.feed(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n")
        assert following.done.done()
        assert following.done.exception() is not None or following.status == 410
    asked.line.end(DeliveryError("reset", "gone"), is_clean)
    assert asked.answer.done.done()
    asked.outcome()


@pytest.mark.parametrize("size", [REPLY_BODY_BYTES_MAX, REPLY_BODY_BYTES_MAX + 1])
def test_a_body_is_read_to_its_bound(size: int) -> None:
    """At the bound the connection lives; above it the rest is not waited for."""
    asked = Asked()
    asked.feed(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (size + (size > REPLY_BODY_BYTES_MAX)) + b"x" * size)
    assert asked.line.is_closed == (size > REPLY_BODY_BYTES_MAX)
    assert len(asked.answer.kept) == REPLY_KEPT_BYTES_MAX
    assert asked.outcome() == 200


def test_headers_are_read_to_their_bound() -> None:
    """Whatever they are."""
    asked = Asked()
    asked.feed(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (REPLY_HEAD_BYTES_MAX // 6 + 1))
    assert asked.outcome() == "protocol"


def test_an_answer_that_nobody_waits_for_closes_its_connection() -> None:
    """And an old answer's end does not."""
    asked = Asked()
    asked.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    second = asked.post()
    asked.talk.give_up(asked.answer, DeliveryError("timeout", "late"))
    assert not asked.line.is_closed
    asked.talk.give_up(second, DeliveryError("timeout", "late"))
    assert asked.line.is_closed
    error = second.done.exception()
    assert isinstance(error, DeliveryError)
    assert error.kind == "timeout"
    assert asked.outcome() == 200
