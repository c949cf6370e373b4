"""The HTTP parser: a table of requests, splits, h11 as a foreign opinion, and mutations in volume."""

import os
import random
from typing import Any

import h11
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trinity.compiled import jit_enabled
from trinity.limits import HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_LINE_BYTES_MAX
from trinity.native.octets import octets_of
from workers.request.http import parse

pytestmark = pytest.mark.uncompiled

# How many mutated requests the fuzz test sends through; raise it for a long run with other seeds.
FUZZ_COUNT = int(os.environ.get("HTTP_FUZZ_COUNT", "200000" if jit_enabled() else "2000"))
FUZZ_SEED = int(os.environ.get("HTTP_FUZZ_SEED", "1"))


class Parsed:
    """What a connection makes of these bytes, with the head as Python objects."""

    def __init__(self, raw: bytes, start: int = 0) -> None:
        self.buffer = octets_of(raw)
        head = np.zeros(parse.HEAD_WORDS, dtype=np.int64)
        self.outcome = int(parse.parse_head(self.buffer, start, len(raw), head))
        if self.outcome == parse.BAD_REQUEST_LINE:
            request = int(parse.skip_empty_lines(self.buffer, start, len(raw)))
            if request == len(raw):
                self.outcome = parse.NEED_MORE
            elif request > start:
                self.outcome = int(parse.parse_head(self.buffer, request, len(raw), head))
        self.head = head

    def text(self, word: int) -> bytes:
        return bytes(self.buffer[self.head[word] : self.head[word + 1]])

    @property
    def request(self) -> tuple[Any, ...]:
        """Method, target, headers, keep-alive, end; positions count from the head's start."""
        head = self.head
        words = [parse.HEADERS + i * parse.HEADER_WORDS for i in range(head[parse.HEADER_COUNT])]
        headers = [(self.text(word).lower(), self.text(word + 2)) for word in words]
        ends = int(head[parse.NEXT] - head[parse.METHOD_START])
        return self.text(parse.METHOD_START), self.text(parse.TARGET_START), headers, int(head[parse.KEEP_ALIVE]), ends

    @property
    def result(self) -> Any:
        return self.request if self.outcome == parse.REQUEST else self.outcome


HOST = b"Host: localhost\r\n"
PLAIN = b"GET /price?asset=BTC HTTP/1.1\r\n" + HOST + b"\r\n"
CURL = b"GET / HTTP/1.1\r\n" + HOST + b"User-Agent: curl/8.1\r\nAccept: */*\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "BAD_HOST"),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", "BAD_HOST"),
        (b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n", "BAD_HOST"),
        (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "BAD_HOST"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "BAD_HOST"),
        (b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", "BAD_HOST"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded: x\r\n\r\n", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n\tb\r\n\r\n", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\nY: b\r\n\r\n", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x7f\r\n\r\n", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b": no name\r\n\r\n", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"\rX", "BAD_HEADER"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n", "BODY"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n", "BODY"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", "BAD_LENGTH"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: +0\r\n\r\n", "BAD_LENGTH"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 0, 0\r\n\r\n", "BAD_LENGTH"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\n", "BAD_LENGTH"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nContent-length: 0\r\n\r\n", "BAD_LENGTH"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", "TRANSFER_ENCODING"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: identity\r\n\r\n", "TRANSFER_ENCODING"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\n\r\n", "EXPECT"),
        (b"GET / HTTP/2.0\r\n", "BAD_VERSION"),
        (b"GET / HTTP/1.2\r\n", "BAD_VERSION"),
        (b"GET / HTTP/1.1 \r\n", "BAD_VERSION"),
        (b"GET / http/1.1\r\n", "BAD_VERSION"),
        (b"GET / HTTP/1.1\n", "BAD_VERSION"),
        (b"GET / XX", "BAD_VERSION"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "BAD_VERSION"),
        (b"GET  / HTTP/1.1\r\n", "BAD_REQUEST_LINE"),
        (b"GET /\tHTTP/1.1\r\n", "BAD_REQUEST_LINE"),
        (b"GET / \r\n", "BAD_VERSION"),
        (b"GET /\r\n", "BAD_REQUEST_LINE"),
        (b"GET /\x80 HTTP/1.1\r\n", "BAD_REQUEST_LINE"),
        (b" GET / HTTP/1.1\r\n", "BAD_REQUEST_LINE"),
        (b"\nGET / HTTP/1.1\r\n", "BAD_REQUEST_LINE"),
        (b"\rGET / HTTP/1.1\r\n", "BAD_REQUEST_LINE"),
        (b"\r\n\n", "BAD_REQUEST_LINE"),
        (b"\r\n GET / HTTP/1.1\r\n", "BAD_REQUEST_LINE"),
        (b"G@T / HTTP/1.1\r\n", "BAD_REQUEST_LINE"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "BAD_REQUEST_LINE"),
        (b"GET /" + b"a" * REQUEST_LINE_BYTES_MAX, "TARGET_TOO_LONG"),
        (b"A" * REQUEST_LINE_BYTES_MAX, "TARGET_TOO_LONG"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES_MAX, "HEAD_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * (HEADERS_MAX + 1), "HEAD_TOO_LARGE"),
    ],
)
def test_what_breaks_the_rules_is_refused_with_its_reason(raw: bytes, outcome: str) -> None:
    """Each way of bending HTTP has one refusal, and none is read as a request."""
    assert Parsed(raw).outcome == getattr(parse, outcome)


@pytest.mark.parametrize(
    ("raw", "method", "target", "keep_alive"),
    [
        (PLAIN, b"GET", b"/price?asset=BTC", 1),
        (CURL, b"GET", b"/", 1),
        (b"HEAD / HTTP/1.0\r\n\r\n", b"HEAD", b"/", 0),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", b"GET", b"/", 1),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", b"GET", b"/", 0),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: foo,\t CLOSE ,bar\r\n\r\n", b"GET", b"/", 0),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: closed\r\n\r\n", b"GET", b"/", 1),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: keep-alive, close\r\n\r\n", b"GET", b"/", 0),
        (b"GET http://x/y HTTP/1.1\r\nHost:\r\n\r\n", b"GET", b"http://x/y", 1),
        (b"OPTIONS * HTTP/1.1\r\nHOST: [::1]:80 \r\nContent-Length: 000\r\n\r\n", b"OPTIONS", b"*", 1),
        (b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", b"POST", b"/x", 0),
        (b"BREW /x HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n", b"BREW", b"/x", 1),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X-Caf\x65: caf\xc3\xa9 \t \r\nEmpty:\r\n\r\n", b"GET", b"/", 1),
    ],
)
def test_a_proper_request_is_read_as_sent(raw: bytes, method: bytes, target: bytes, keep_alive: int) -> None:
    """Method, target and the fate of the connection come out; a method's body ends the connection."""
    parsed = Parsed(raw)
    assert parsed.outcome == parse.REQUEST
    assert (parsed.request[0], parsed.request[1], parsed.request[3]) == (method, target, keep_alive)


@pytest.mark.parametrize(
    "raw", [PLAIN, CURL, b"\r\n\r\n" + PLAIN, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_every_prefix_asks_for_more_or_already_knows_the_result(raw: bytes) -> None:
    """However the bytes are split, the last part gives what the whole gives, and no part gives another result."""
    whole = Parsed(raw).result
    known = [Parsed(raw[:length]).result for length in range(len(raw) + 1)]
    assert set(map(str, known)) <= {str(parse.NEED_MORE), str(whole)}
    first = next(i for i, result in enumerate(known) if result != parse.NEED_MORE)
    assert all(result == whole for result in known[first:])


@pytest.mark.parametrize("extra", [b"", b"\r", b"\r\n", b"X"])
def test_the_limits_are_kept_to_the_byte(extra: bytes) -> None:
    """A request line of 2 KiB and a head of 8 KiB are read, one byte more is refused."""
    line_rest = b" HTTP/1.1\r\n"
    target = b"/" + b"a" * (REQUEST_LINE_BYTES_MAX - len(b"GET /") - len(line_rest))
    line = b"GET " + target + line_rest
    filler = b"X: " + b"b" * (HEAD_BYTES_MAX - len(line) - len(HOST) - len(b"X: \r\n\r\n")) + b"\r\n"
    head = line + HOST + filler + b"\r\n"
    assert (len(line), len(head)) == (REQUEST_LINE_BYTES_MAX, HEAD_BYTES_MAX)
    assert Parsed(head + extra).outcome == parse.REQUEST
    assert Parsed(head.replace(b"/a", b"/aa", 1)).outcome == parse.TARGET_TOO_LONG
    assert Parsed(head.replace(b"X: b", b"X: bb", 1)).outcome == parse.HEAD_TOO_LARGE


def test_pipelined_requests_are_read_one_behind_the_other() -> None:
    """NEXT is where the following request begins."""
    raw = PLAIN + CURL + PLAIN
    starts, at = [], 0
    while at < len(raw):
        starts.append(at)
        at = int(Parsed(raw, at).head[parse.NEXT])
    assert starts == [0, len(PLAIN), len(PLAIN) + len(CURL)]


@pytest.mark.parametrize("empty_lines", [b"\r\n", b"\r\n" * 2, b"\r\n" * 50])
def test_empty_lines_before_a_request_are_skipped(empty_lines: bytes) -> None:
    """RFC 9112, 2.2, for the first request and for the next; they count to no limit of the head."""
    raw = empty_lines + PLAIN + empty_lines + CURL
    first = Parsed(raw)
    second = Parsed(raw, int(first.head[parse.NEXT]))
    assert (first.request, second.request) == (Parsed(PLAIN).request, Parsed(CURL).request)
    assert Parsed(empty_lines).outcome == Parsed(empty_lines + b"\r").outcome == parse.NEED_MORE


# --- a foreign opinion ----------------------------------------------------------------------------------------


def read_by_h11(raw: bytes) -> Any:
    """Method, target and headers as h11 reads them; None when it refuses or wants more."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
    connection.receive_data(raw)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.Request):
        return None
    return bytes(event.method), bytes(event.target), [(bytes(name), bytes(value)) for name, value in event.headers]


NAMES = st.sampled_from(
    [b"Host", b"host", b"Connection", b"Content-Length", b"Transfer-Encoding", b"X", b"Expect", b""]
)
VALUES = st.sampled_from(
    [b"a", b"close", b"keep-alive", b"0", b"5", b"chunked", b"a b", b"\xff", b"\x00", b"a\rb", b""]
)
GAPS = st.sampled_from([b": ", b":", b" :", b":\t", b"  "])
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "])
HEADER_LINES = st.lists(st.tuples(NAMES, GAPS, VALUES, ENDS).map(b"".join), max_size=5).map(b"".join)
REQUEST_LINES = st.tuples(
    st.sampled_from([b"GET", b"HEAD", b"OPTIONS", b"POST", b"G T", b""]),
    st.sampled_from([b" ", b" ", b" ", b"  ", b"\t"]),
    st.sampled_from([b"/", b"/price?asset=BTC", b"*", b"http://h/p", b"/\x80", b"/ ", b"/%zz", b""]),
    st.sampled_from([b" HTTP/1.1\r\n", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/1.1\n", b" HTTP/2.0\r\n", b"\r\n"]),
).map(b"".join)
EMPTY_LINES = st.sampled_from([b"", b"", b"\r\n", b"\r\n\r\n", b"\n", b"\r"])
ODD_REQUESTS = st.tuples(
    EMPTY_LINES, REQUEST_LINES, HEADER_LINES, st.sampled_from([b"\r\n", b"\r\n", b"\n", b"rest"])
).map(b"".join)


def assert_agrees_with_h11(raw: bytes) -> None:
    parsed = Parsed(raw)
    if parsed.outcome == parse.REQUEST:
        foreign = read_by_h11(raw[parsed.head[parse.METHOD_START] :])  # h11 refuses the empty lines that we skip
        assert foreign is not None, "we accepted what h11 refuses"
        assert foreign == parsed.request[:3]


@settings(max_examples=600, deadline=None)
@given(ODD_REQUESTS)
@example(PLAIN)
@example(CURL)
def test_what_we_accept_h11_reads_the_same_way(raw: bytes) -> None:
    """Same bytes: both accept with the same method, target and headers, or ours refuses."""
    assert_agrees_with_h11(raw)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([PLAIN, CURL]), st.integers(0, 60), st.integers(0, 60))
def test_what_we_accept_after_random_damage_h11_reads_the_same_way(
    noise: bytes, base: bytes, start: int, end: int
) -> None:
    """Random bytes put into a good request do not open a gap between two readers."""
    assert_agrees_with_h11(base[:start] + noise + base[end:])


@settings(max_examples=200, deadline=None)
@given(ODD_REQUESTS, st.data())
def test_any_split_gives_the_result_of_the_whole(raw: bytes, data: Any) -> None:
    """A connection that gets the bytes in any two parts ends with what it would get from the whole."""
    cut = data.draw(st.integers(0, len(raw)))
    early = Parsed(raw[:cut]).result
    assert early in (parse.NEED_MORE, Parsed(raw).result)


# --- volume ---------------------------------------------------------------------------------------------------


def mutate(rng: random.Random, raw: bytes) -> bytes:
    """One to three random edits: a byte changed, a piece cut out, doubled, or noise put in."""
    text = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        length = rng.randint(1, 12)
        piece = bytes(text[at : at + length])
        text[at : at + length] = rng.choice(
            (
                b"",
                piece * 2,
                rng.randbytes(length),
                rng.choice((b"\r\n", b"\r", b"\n", b":", b" ", b"\x00", b"Host: a\r\n")),
            )
        )
    return bytes(text)


def test_mutated_requests_never_make_the_parser_fail() -> None:
    """Whatever comes, the parser says REQUEST, NEED_MORE or a refusal, and stays inside the buffer's bounds."""
    rng = random.Random(FUZZ_SEED)
    seeds = [PLAIN, CURL, PLAIN + CURL, b"POST /x HTTP/1.0\r\nContent-Length: 7\r\n\r\n", CURL * 40]
    head = np.zeros(parse.HEAD_WORDS, dtype=np.int64)
    outcomes = np.zeros(parse.NEED_MORE + 1, dtype=np.int64)
    for _ in range(FUZZ_COUNT):
        raw = mutate(rng, rng.choice(seeds[:4] if rng.random() < 0.98 else seeds))
        buffer = np.frombuffer(raw, dtype=np.uint8).copy()
        outcome = parse.parse_head(buffer, 0, buffer.size, head)
        outcomes[outcome] += 1
        if outcome == parse.REQUEST:
            assert 0 < head[parse.NEXT] <= buffer.size
            assert raw[: head[parse.NEXT]].endswith(b"\r\n\r\n")
    assert outcomes[parse.REQUEST] > 0
    assert outcomes[parse.BAD_HEADER] > 0


@pytest.mark.parametrize(
    ("headers", "keys", "key"),
    [
        (b"X-API-Key: abc", 1, b"abc"),
        (b"x-api-key:  a b\xff ", 1, b"a b\xff"),
        (b"X-API-Key:", 1, b""),
        (b"Authorization: Bearer abc.d", 1, b"abc.d"),
        (b"authorization: bEARER  \t abc", 1, b"abc"),
        (b"Authorization: Bearer", 1, b""),
        (b"Authorization: Basic YTpi", 0, None),
        (b"Authorization: Bearerabc", 0, None),
        (b"Authorization: Bear", 0, None),
        (b"Authorization:", 0, None),
        (b"X-API-Key2: abc", 0, None),
        (b"X-API-Key: a\r\nX-API-Key: b", 2, b"b"),
        (b"Authorization: Bearer a\r\nX-API-Key: b", 2, b"b"),
    ],
)
def test_the_headers_api_key_is_found_and_several_are_counted(headers: bytes, keys: int, key: bytes | None) -> None:
    """X-API-Key and Bearer tokens are keys, whatever their bytes; other schemes of Authorization are not ours."""
    parsed = Parsed(b"GET / HTTP/1.1\r\n" + HOST + headers + b"\r\n\r\n")
    assert parsed.outcome == parse.REQUEST
    assert parsed.head[parse.KEYS] == keys
    assert key is None or parsed.text(parse.KEY_START) == key


def test_lines_of_forwarded_for_are_counted() -> None:
    """So that a request without them costs no second look."""
    parsed = Parsed(b"GET / HTTP/1.1\r\n" + HOST + b"x-forwarded-for: a\r\nX-Forwarded-For: b\r\n\r\n")
    assert parsed.head[parse.FORWARDED] == 2
