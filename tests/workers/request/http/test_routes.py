"""Whole HTTP requests to whole responses, in memory."""

import json
import os
import random
from typing import Any

import h11
import msgspec
import numpy as np
import pytest

from trinity.compiled import jit_enabled, refer_to
from trinity.config import PortsSection
from trinity.limits import SPARE_ASSETS
from trinity.markets import Catalog
from trinity.memory.answer_table import ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.cell import publish
from trinity.native.octets import octets_of
from workers.request.http import parse, routes
from workers.request.http.context import make_guide, response_bytes_max

pytestmark = pytest.mark.uncompiled

FUZZ_COUNT = int(os.environ.get("HTTP_FUZZ_COUNT", "100000" if jit_enabled() else "1000"))
FUZZ_SEED = int(os.environ.get("HTTP_FUZZ_SEED", "1"))


class Site:
    """A worker's context over a table of its own; BTC and ETH are good, SOL disagrees, DOGE was never seen."""

    def __init__(self, private: Any, catalog: Catalog, make_answer: Any) -> None:
        columns = 1 + len(catalog.exchanges)
        self.private, self.context, words = private, private.context, private.words
        self.referred = refer_to(self.context)
        self.out = np.zeros(response_bytes_max(self.context), dtype=np.uint8)
        self.now_ns = 10**18
        for row, asset, fields in (
            (0, "BTC", {}),
            (1, "BTC", {"sources": 1}),
            (2, "BTC", {"state": AnswerState.NOT_LISTED, "has_last_good": 0}),
            (columns, "ETH", {}),
            (2 * columns, "SOL", {"state": AnswerState.SOURCES_DISAGREE}),
        ):
            times = {"valid_until_ns": self.now_ns + 1, "received_at_ns": self.now_ns - 10**9}
            record = make_answer(asset, **(times | fields))
            publish(words, row * ROW_WORDS, SLOT_WORDS, record.view(np.uint64))

    def answer(self, raw: bytes, last: bool = False) -> bytes:
        """The response to the one request in `raw`."""
        buffer = octets_of(raw)
        assert parse.parse_head(buffer, 0, buffer.size, self.context.head) == parse.REQUEST
        end = routes.answer_request(self.referred, buffer, last, self.now_ns, self.out, 0)
        return bytes(self.out[:end])

    def ask(self, target: str, method: str = "GET", last: bool = False) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body as h11 reads them; the body decoded from JSON."""
        raw = self.answer(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), last)
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target=target, headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(raw)
        head = client.next_event()
        assert isinstance(head, h11.Response)
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        assert client.trailing_data[0] == b""
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return head.status_code, headers, json.loads(body) if body else None


@pytest.fixture(scope="module")
def site(make_private: Any, catalog: Catalog, make_answer: Any) -> Site:
    return Site(make_private(), catalog, make_answer)


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/price?asset=SOL", 503, "sources_disagree"),
        ("/price?asset=DOGE", 503, "stale_price"),
        ("/price?asset=BTC&max_age_ms=999", 503, "price_too_old"),
        ("/price?asset=BTC&min_sources=6", 503, "too_few_sources"),
        ("/price?asset=BTC&exchange=kraken&min_sources=2", 503, "too_few_sources"),
        ("/price?asset=BTC&max_conf_bps=2.464", 503, "confidence_too_wide"),
        ("/price?asset=BTC&exchange=okx", 404, "unknown_market"),
        ("/price?asset=BTC&exchange=nyse", 404, "unknown_exchange"),
        ("/price?asset=BTC&exchange=", 404, "unknown_exchange"),
        ("/price?asset=XXX", 404, "unknown_asset"),
        ("/price?asset=BTC%20", 404, "unknown_asset"),
        ("/price", 400, "missing_asset"),
        ("/price?asset=", 400, "missing_asset"),
        ("/price?asset=BTC&max_agems=1", 400, "bad_parameter"),
        ("/prices?assets=BTC,,ETH", 400, "bad_parameter"),
        ("/prices?exchange=nyse", 404, "unknown_exchange"),
        ("/price?asset=%4", 400, "bad_request"),
        ("/nothing", 404, "unknown_path"),
        ("http://x/", 404, "unknown_path"),
        ("*", 400, "bad_request"),
    ],
)
def test_what_cannot_be_answered_has_a_status_and_a_stable_code(
    site: Site, target: str, status: int, code: str
) -> None:
    """Each failure is JSON with its own code, and the status that HTTP clients act on."""
    found, _, body = site.ask(target)
    assert (found, body["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("/price", "asset"),
        ("/price?asset=NOPE", "asset"),
        ("/prices?assets=BTC,,", "assets"),
        ("/price?asset=BTC&exchange=nyse", "exchange"),
        ("/price?asset=BTC&exchange=okx", "exchange"),
        ("/price?asset=BTC&max_age=1", "max_age"),
        ("/price?asset=BTC&max_age_ms=x", "max_age_ms"),
        ("/price?asset=BTC&max_age_ms=999", "max_age_ms"),
        ("/price?asset=BTC&min_sources=6", "min_sources"),
        ("/price?asset=BTC&max_conf_bps=2.464", "max_conf_bps"),
        ("/price?asset=BTC&api_key=a&api_key=b", "api_key"),
        ("/price?asset=SOL", None),
        ("/nothing", None),
    ],
)
def test_an_error_names_the_field_that_is_at_fault(site: Site, target: str, field: str | None) -> None:
    """And none where the request is as it should be."""
    assert site.ask(target)[2]["error"].get("field") == field


@pytest.mark.parametrize(("path", "names"), [("price", "asset, exchange"), ("prices", "assets, exchange")])
def test_a_parameter_that_is_none_is_told_which_there_are(site: Site, path: str, names: str) -> None:
    """Those of this path, as the reporting service says them."""
    message = site.ask(f"/{path}?max_age=1")[2]["error"]["message"]
    assert message.endswith(f"; there are: {names}, max_age_ms, min_sources, max_conf_bps, api_key")


@pytest.mark.parametrize(
    ("target", "nearest", "port"),
    [
        ("/pric?asset=BTC", "/price", 18080),
        ("/v1/PRICES", "/prices", 18080),
        ("/history?asset=BTC", "/history", 19090),
        ("/reports/usag", "/reports/usage", 19090),
        ("/quote", None, None),
        ("http://h", None, None),
    ],
)
def test_an_unknown_path_is_told_where_to_go(site: Site, target: str, nearest: str | None, port: int | None) -> None:
    """What there is, on which port the rest is, and which path may have been meant."""
    guide = make_guide(PortsSection(tcp_port_lpo=18080, tcp_port_lrs=19090), ("/history", "/reports/usage"))
    site.referred = refer_to(site.context._replace(guide=guide))
    try:
        status, _, body = site.ask(target)
    finally:
        site.referred = refer_to(site.context)
    assert (status, body["error"]["code"]) == (404, "unknown_path")
    assert "/price, /prices, /assets and /health" in body["error"]["message"]
    assert "port 19090" in body["error"]["message"]
    assert (body["error"].get("nearest"), body["error"].get("port")) == (nearest, port)


def test_a_path_may_have_its_version_in_front(site: Site) -> None:
    """/v1/... is the same answer, byte for byte behind the head."""
    for target in ("/price?asset=BTC", "/price?asset=SOL", "/prices?assets=BTC,ETH", "/assets", "/health"):
        plain, versioned = site.ask(target), site.ask(f"/v1{target}")
        assert (plain[0], plain[2]) == (versioned[0], versioned[2])


@pytest.mark.parametrize(
    "target", ["/price?asset=BTC", "/price?asset=btc&max_age_ms=1000&min_sources=5", "/price?asset=%42TC"]
)
def test_a_good_price_is_served_with_the_prepared_head(site: Site, target: str) -> None:
    """200, JSON, not to be stored, with a date and a request id."""
    status, headers, body = site.ask(target)
    assert (status, body["asset"], body["price"]) == (200, "BTC", 71002.5)
    assert headers["cache-control"] == "no-store"
    assert {"date", "x-request-id", "content-length"} <= set(headers)
    assert "connection" not in headers


def test_an_unmet_quality_shows_the_last_good_price_and_its_age(site: Site) -> None:
    """The caller sees what there was and how old it is, marked as not good."""
    _, _, body = site.ask("/price?asset=BTC&max_age_ms=1")
    assert (body["last_price"], body["age_ms"], body["status"]) == (71002.5, 1000, "price_too_old")


def test_prices_of_all_assets_come_each_with_its_own_status(site: Site) -> None:
    """A list is 200 whatever its elements are."""
    status, _, body = site.ask("/prices")
    assert status == 200
    assert [price["status"] for price in body["prices"]] == ["fresh", "fresh", "sources_disagree", "stale_price"]
    _, _, some = site.ask("/prices?assets=eth%2Cnope,btc&min_sources=5")
    assert [price["status"] for price in some["prices"]] == ["fresh", "unknown_asset", "fresh"]


def test_a_spare_row_is_served_and_listed_nowhere(make_private: Any, catalog: Catalog, make_answer: Any) -> None:
    """Good prices planted in every spare row change no byte of any answer, and no name leads to them."""
    site = Site(make_private(), catalog, make_answer)
    targets = ("/prices", "/assets", "/health", "/price?asset=SPARE", "/price?asset=", "/prices?assets=BTC,SPARE")
    before = [site.ask(target) for target in targets]
    columns = 1 + len(catalog.exchanges)
    record = make_answer("SPARE", valid_until_ns=site.now_ns + 1, received_at_ns=site.now_ns)
    for row in range(len(catalog.assets) * columns, (len(catalog.assets) + SPARE_ASSETS) * columns):
        publish(site.private.words, row * ROW_WORDS, SLOT_WORDS, record.view(np.uint64))
    assert [site.ask(target) for target in targets] == before
    assert [status for status, _, _ in before] == [200, 200, 200, 404, 400, 200]


def test_assets_and_health_tell_what_there_is(site: Site) -> None:
    """/assets lists names, exchanges and markets; /health counts fresh assets and marks the simulation."""
    _, _, assets = site.ask("/assets")
    assert assets["assets"] == ["BTC", "ETH", "SOL", "DOGE"]
    assert assets["markets"]["BTC"] == assets["exchanges"] == ["kraken", "okx"]
    _, _, health = site.ask("/health?x=1")
    expected = {"status": "ok", "node": "private", "worker": 0, "simulated": False, "assets": 4, "fresh": 2}
    assert health == expected


def test_head_gets_the_headers_of_get_and_no_body(site: Site) -> None:
    """Content-Length says how long GET's body is, for good prices, errors and lists."""
    for target in ("/price?asset=BTC", "/price?asset=SOL", "/prices", "/assets", "/nothing"):
        status, headers, body = site.ask(target, "HEAD")
        expected, get_headers, _ = site.ask(target)
        assert (status, body) == (expected, None)
        assert headers["content-length"] == get_headers["content-length"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get"])
def test_another_method_is_told_which_ones_there_are(site: Site, method: str) -> None:
    """405 with Allow on a known path; an unknown path stays 404."""
    status, headers, body = site.ask("/price?asset=BTC", method)
    assert (status, headers["allow"], body["error"]["code"]) == (405, "GET, HEAD, OPTIONS", "method_not_allowed")
    assert site.ask("/nothing", method)[0] == 404


def test_options_is_answered_anywhere(site: Site) -> None:
    """A browser's preflight gets 204."""
    assert [site.ask(target, "OPTIONS")[0] for target in ("*", "/price", "/nothing")] == [204, 204, 204]


def test_the_connection_header_follows_the_version_and_the_last_answer(site: Site) -> None:
    """HTTP/1.1 keeps silently, HTTP/1.0 is told, and a last answer says close."""
    kept = b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert b"\r\nConnection: keep-alive\r\n" in site.answer(kept)
    assert b"\r\nConnection: close\r\n" in site.answer(b"GET /health HTTP/1.0\r\n\r\n")
    assert site.ask("/health", last=True)[1]["connection"] == "close"


def test_a_refusal_is_a_whole_response_that_closes(site: Site) -> None:
    """What the parser refused is answered as JSON with Connection: close."""
    end = routes.refuse(site.context, parse.BODY, site.out, 0)
    raw = bytes(site.out[:end])
    assert raw.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in raw
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["error"]["code"] == "body_not_accepted"


def test_mutated_requests_get_one_whole_response_each(site: Site) -> None:
    """Any request that the parser lets through gets exactly one response whose length is as it says."""
    rng = random.Random(FUZZ_SEED)
    targets = [b"/price?asset=BTC", b"/prices?assets=BTC,ETH&min_sources=2", b"http://h/price?asset=%42tc", b"/health"]
    words = [b"%", b"%00", b"&", b"=", b"?", b"asset", b"max_age_ms=1", b",", b"/", b"exchange=okx", b"\xff", b"1" * 30]
    answered = 0
    for _ in range(FUZZ_COUNT):
        target = bytearray(rng.choice(targets))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(target) + 1)
            target[at : at + rng.randint(0, 3)] = rng.choice(words)
        buffer = octets_of(b"GET " + bytes(target) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        if parse.parse_head(buffer, 0, buffer.size, site.context.head) != parse.REQUEST:
            continue
        end = routes.answer_request(site.referred, buffer, False, site.now_ns, site.out, 0)
        head, _, body = bytes(site.out[:end]).partition(b"\r\n\r\n")
        assert int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]) == len(body)
        assert body[:1] + body[-1:] == b"{}"
        answered += 1
    assert answered > FUZZ_COUNT // 10


def test_an_alias_is_answered_under_its_assets_name(make_private: Any, catalog: Catalog, make_answer: Any) -> None:
    """Alone and in a list, in any case; /assets names it apart, and the ledger gets the asset's own name."""
    named = msgspec.structs.replace(catalog.assets[1], aliases=("ETHER",))
    renamed = msgspec.structs.replace(catalog, assets=(catalog.assets[0], named, *catalog.assets[2:]))
    site = Site(make_private(catalog=renamed), renamed, make_answer)
    for name in ("ETHER", "ether", "ETH"):
        status, _, body = site.ask(f"/price?asset={name}")
        assert (status, body["asset"]) == (200, "ETH")
        assert site.private.record()["asset"] == b"ETH"
    _, _, listed = site.ask("/prices?assets=BTC,Ether,ETHE")
    assert [item["asset"] for item in listed["prices"]] == ["BTC", "ETH", "ETHE"]
    _, _, assets = site.ask("/assets")
    assert assets["aliases"] == {"ETHER": "ETH"}
    assert "ETHER" not in assets["assets"]
