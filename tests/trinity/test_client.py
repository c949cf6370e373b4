"""trinity/client.py"""

import ast
import asyncio
import base64
import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity import client as module
from trinity.client import Client, OracleError, PushReceiver, Via, encode
from trinity.limits import UDP_REQUEST_BYTES_MAX
from trinity.push.datagram import FRESH, PRICE_TOO_OLD, Datagram, PushedPrice
from trinity.push.datagram import STATUSES as PUSH_STATUSES
from trinity.push.datagram import encode as encode_push
from trinity.vocabulary import CODES, DELIVERY_REASONS
from workers.request.answer import VERDICT_CODES

BTC = b'{"asset":"BTC","price":71002.50,"currency":"USD","confidence":17.5,"sources":5,"status":"fresh"}'
NOPE = b'{"error":{"code":"unknown_asset","message":"no"},"status":"unknown_asset","asset":"NOPE"}'
PRICES = b'{"prices":[' + BTC + b"," + NOPE + b"]}"


def answer_text(request: bytes) -> list[bytes]:
    """What a node says to a JSON datagram for BTC and NOPE."""
    asked = json.loads(request)
    assert asked["assets"] == ["BTC", "NOPE"]
    return [b'{"id":%d,' % asked["id"] + PRICES[1:]]


def answer_binary(request: bytes) -> list[bytes]:
    """The same as a frame: BTC fresh, NOPE unknown."""
    records = struct.pack("<qIIbbBBBx", 7_100_250, 175, 250, -2, -1, 0, 5, 1)
    records += struct.pack("<qIIbbBBBx", 0, 0, 2**32 - 1, 0, 0, VERDICT_CODES.index("unknown_asset"), 0, 0)
    return [b"\xd7TRA\x01\x00\x02\x00" + request[8:16] + struct.pack("<Q", 1_767_225_600_250) + records]


ANSWERS: dict[str, Callable[[bytes], list[bytes]]] = {"text": answer_text, "binary": answer_binary}


@contextmanager
def udp_node(answer: Callable[[int, bytes], list[bytes]], host: str = "127.0.0.1") -> Iterator[int]:
    """A real UDP server on loopback; `answer(number of the request, request)` gives its replies. Yields the port."""
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((host, 0))

    def serve() -> None:
        number = 0
        while True:
            request, sender = server.recvfrom(4096)
            if request == b"stop":
                return
            number += 1
            for reply in answer(number, request):
                server.sendto(reply, sender)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        with socket.socket(server.family, socket.SOCK_DGRAM) as closer:
            closer.sendto(b"stop", server.getsockname())
        thread.join()
        server.close()


def check(prices: module.Prices, via: str) -> None:
    assert [price["asset"] for price in prices] == ["BTC", "NOPE"]
    assert [price["status"] for price in prices] == ["fresh", "unknown_asset"]
    assert (prices[0]["price"], prices[0]["confidence"], prices[0]["sources"]) == (
        Decimal("71002.5"),
        Decimal("17.5"),
        5,
    )
    assert "price" not in prices[1]
    if via == "binary":
        assert (prices[0]["age_ms"], prices[0]["timestamp"]) == (250, 1_767_225_600_000)
        assert "age_ms" not in prices[1]


@pytest.mark.parametrize("via", ["text", "binary"])
def test_prices_over_udp_are_exact_decimals_in_the_order_asked(via: Via) -> None:
    """A price that is not fresh is not there at all."""
    with udp_node(lambda _, request: ANSWERS[via](request)) as port:
        check(Client("127.0.0.1", udp_port=port, timeout=20).prices("BTC", "NOPE", via=via), via)


@pytest.mark.parametrize("via", ["text", "binary"])
async def test_asyncio_calls_run_side_by_side(via: Via) -> None:
    """Many at once, each with its own reply."""
    with udp_node(lambda _, request: ANSWERS[via](request)) as port:
        client = Client("127.0.0.1", udp_port=port, timeout=20)
        calls = [client.prices_async("BTC", "NOPE", via=via) for _ in range(20)]
        for prices in await asyncio.gather(*calls):
            check(prices, via)


@pytest.mark.parametrize("via", ["text", "binary"])
def test_a_lost_datagram_is_sent_again(via: Via) -> None:
    """Two are lost, the third is answered."""
    with udp_node(lambda number, request: ANSWERS[via](request) if number == 3 else []) as port:
        check(Client("127.0.0.1", udp_port=port, timeout=0.1, tries=10).prices("BTC", "NOPE", via=via), via)


@pytest.mark.parametrize("via", ["text", "binary"])
def test_replies_to_other_requests_and_noise_are_passed_over(via: Via) -> None:
    """Another id, the other protocol, half a reply, nonsense: only the matching reply counts."""

    def answer(_: int, request: bytes) -> list[bytes]:
        (right,) = ANSWERS[via](request)
        frame = b"\xd7TRA\x01\x00\x00\x00" + request[8:16] + bytes(8)
        other = right.replace(b'{"id":', b'{"id":1') if via == "text" else right[:8] + b"\xff" + right[9:]
        refusal = b'{"id":1,"error":{"code":"bad_request"}}' if via == "text" else b"\xd7TRX\x01\x01" + frame[6:]
        return [b"", b"[]", b"\xff\xd7", b"{}", frame, right[:30], right[:-1], other, refusal, right]

    with udp_node(answer) as port:
        check(Client("127.0.0.1", udp_port=port, timeout=20, tries=1).prices("BTC", "NOPE", via=via), via)


@pytest.mark.parametrize(
    ("bound", "asked"), [("::1", "::1"), ("::1", "localhost"), ("127.0.0.1", "localhost"), ("127.0.0.1", "127.0.0.1")]
)
@pytest.mark.parametrize("via", ["text", "binary"])
def test_both_families_are_asked(bound: str, asked: str, via: Via) -> None:
    """A name that stands for two addresses is answered by whichever is there."""
    if asked == "localhost" and bound not in {info[4][0] for info in socket.getaddrinfo(asked, 1)}:
        pytest.skip(f"localhost is not {bound} on this machine")
    with udp_node(lambda _, request: ANSWERS[via](request), bound) as port:
        check(Client(asked, udp_port=port, timeout=20, tries=1).prices("BTC", "NOPE", via=via), via)


@pytest.mark.parametrize("via", ["http", "text", "binary"])
def test_no_answer_after_all_tries_is_a_time_out(via: Via) -> None:
    """Also where nobody listens at all."""
    with udp_node(lambda _, request: []) as port, socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        client = Client("127.0.0.1", unheard.getsockname()[1], port, timeout=0.02, tries=3)
        with pytest.raises(TimeoutError, match="3 times"):
            client.prices("BTC", via=via)


@pytest.mark.parametrize("via", ["text", "binary"])
def test_a_refused_request_is_an_error_with_its_code(via: Via) -> None:
    """It is not tried again."""

    def answer(number: int, request: bytes) -> list[bytes]:
        assert number == 1
        if via == "binary":
            return [b"\xd7TRA\x01\x01\x00\x00" + request[8:16] + bytes(8)]
        return [b'{"id":%d,"error":{"code":"bad_request","message":"why"}}' % json.loads(request)["id"]]

    with udp_node(answer) as port, pytest.raises(OracleError) as caught:
        Client("127.0.0.1", udp_port=port, timeout=20).prices("BTC", via=via)
    assert caught.value.args == ("bad_request", "" if via == "binary" else "why")


class _Http(BaseHTTPRequestHandler):
    """Breaks the first connection, refuses the asset BAD, and answers all else."""

    broken = False

    def do_GET(self) -> None:
        if not _Http.broken:
            _Http.broken = True
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        bad = query["assets"] == ["BAD"]
        assert parts.path == "/prices"
        assert bad or query == {"assets": ["BTC,NOPE"], "max_age_ms": ["500"], "max_conf_bps": ["2.5"]}
        body = b'{"error":{"code":"bad_request","message":"why"}}' if bad else PRICES
        self.send_response(400 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


async def test_http_is_tried_again_and_states_quality() -> None:
    """The first connection breaks; blocking and asyncio give the same."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Http) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            client = Client("127.0.0.1", server.server_address[1], timeout=20)
            check(await client.prices_async("BTC", "NOPE", via="http", max_age_ms=500, max_conf_bps=2.5), "http")
            prices = await asyncio.to_thread(client.prices, "BTC", "NOPE", via="http", max_age_ms=500, max_conf_bps=2.5)
            check(prices, "http")
            with pytest.raises(OracleError):
                await client.prices_async("BAD", via="http")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("count", [1, 2, 64])
def test_requests_are_padded_to_the_reply_and_never_oversized(count: int) -> None:
    """A frame is exactly as long as its reply; text is as long as a datagram may be at most."""
    assets = ("BTC",) * count
    assert len(encode("binary", assets, {}, 7)) == 24 + 22 * count
    assert 400 <= len(encode("text", assets, {}, 7)) <= UDP_REQUEST_BYTES_MAX


SECRET, OTHER = bytes(range(24)), bytes(range(24, 64))
PUSHED_NS = 1_767_225_600_000_000_000
BTC_PUSHED = PushedPrice("BTC", FRESH, 710_005, 31, 250, -1, -2, 6)
ETH_PUSHED = PushedPrice("ETH", PRICE_TOO_OLD, age_ms=9_000)


def push_of(sequence: int, subscription: int = 12, secret: bytes = SECRET, time_ns: int = PUSHED_NS) -> bytes:
    """A datagram of the push server."""
    prices = (BTC_PUSHED, ETH_PUSHED)
    return encode_push(Datagram(subscription, sequence, time_ns, 10_000, 1, False, prices), secret)


def receiver_of(*secrets: bytes) -> PushReceiver:
    return PushReceiver(*("whsec_" + base64.b64encode(secret).decode() for secret in secrets))


def test_a_push_is_read_with_all_that_it_says() -> None:
    """The price as a Decimal with its time; one that is not fresh has its reason and no price."""
    assert receiver_of(SECRET).accept(push_of(1 << 32 | 1), PUSHED_NS) == {
        "subscription": 12,
        "sequence": 1 << 32 | 1,
        "time_ns": PUSHED_NS,
        "expires_at_ms": PUSHED_NS // 10**6 + 10_000,
        "reason": "deviation",
        "simulated": False,
        "prices": [
            {
                "asset": "BTC", "status": "fresh", "sources": 6, "age_ms": 250,
                "timestamp": PUSHED_NS // 10**6 - 250, "price": Decimal("71000.5"), "confidence": Decimal("0.31"),
            },
            {
                "asset": "ETH", "status": "price_too_old", "sources": 0, "age_ms": 9_000,
                "timestamp": PUSHED_NS // 10**6 - 9_000,
            },
        ],
    }  # fmt: skip


def test_a_sequence_is_taken_once_and_never_an_older_one() -> None:
    """Each subscription has its own; one that is not taken changes nothing."""
    receiver = receiver_of(SECRET)
    for sequence, is_new in ((5, True), (5, False), (4, False), (7, True), (6, False), (1 << 40, True)):
        assert (receiver.accept(push_of(sequence), PUSHED_NS) is not None) == is_new
    assert receiver.accept(push_of(1, subscription=13), PUSHED_NS) is not None
    assert receiver.last_sequences == {12: 1 << 40, 13: 1}
    assert receiver.accept(push_of(2 << 40, secret=OTHER), PUSHED_NS) is None
    assert receiver.accept(push_of(2 << 40), PUSHED_NS + 10**12) is None
    assert receiver.last_sequences == {12: 1 << 40, 13: 1}


@pytest.mark.parametrize(("seconds", "is_taken"), [(-31, False), (-29, True), (0, True), (29, True), (31, False)])
def test_a_push_of_another_time_is_none(seconds: int, is_taken: bool) -> None:
    """30 seconds either way, unless the receiver says otherwise; the real time where none is given."""
    assert (receiver_of(SECRET).accept(push_of(1), PUSHED_NS + seconds * 10**9) is not None) == is_taken
    assert receiver_of(SECRET).accept(push_of(1)) is None


def test_either_of_two_secrets_is_believed_and_no_third() -> None:
    """While one takes the other's place."""
    receiver = receiver_of(SECRET, OTHER)
    assert receiver.accept(push_of(1, secret=SECRET), PUSHED_NS) is not None
    assert receiver.accept(push_of(2, secret=OTHER), PUSHED_NS) is not None
    assert receiver.accept(push_of(3, secret=b"x" * 24), PUSHED_NS) is None
    with pytest.raises(ValueError, match=r".+"):
        PushReceiver("whsec_not base64")


@given(st.binary(max_size=120), st.data())
def test_what_is_damaged_or_foreign_is_none_and_never_an_error(foreign: bytes, data: st.DataObject) -> None:
    """Any bytes, one changed bit, a part of a datagram, and signed nonsense."""
    import hmac

    whole = push_of(9)
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    signed = whole[:40] + foreign
    signed += hmac.digest(SECRET, signed, "sha256")[:16]
    receiver = receiver_of(SECRET)
    for datagram in (foreign, bytes(changed), whole[: data.draw(st.integers(0, len(whole) - 1))], signed):
        assert datagram == whole or receiver.accept(datagram, PUSHED_NS) is None
    assert receiver.accept(whole, PUSHED_NS) is not None


def test_the_file_stands_alone_and_is_short() -> None:
    """Only the standard library, under 160 lines of text; its names of statuses and refusals are the node's."""
    assert tuple(module.STATUSES) == VERDICT_CODES
    assert tuple(module.STATUSES[: len(PUSH_STATUSES)]) == PUSH_STATUSES
    assert tuple(module.REASONS) == DELIVERY_REASONS
    text = Path(module.__file__).read_text()
    assert sum(1 for line in text.splitlines() if line.strip()) < 160
    assert tuple(module.REFUSALS[4:]) == CODES[CODES.index("missing_key") : CODES.index("keys_unavailable") + 1]
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)
