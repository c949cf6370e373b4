"""Who may ask over HTTP: keys in every place, states, limits, blocked addresses, and what the refusals say."""

import ipaddress
import json
from typing import Any

import numpy as np
import pytest

from tests.support.quota import quota_used
from tests.workers.request.conftest import EXCHANGES, answer_of
from trinity.compiled import refer_to
from trinity.config import AccessSection
from trinity.limits import FREE_BURST, MISTAKES_PER_MINUTE
from trinity.memory.answer_table import ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.cell import publish
from trinity.native.addresses import address_words
from trinity.native.octets import octets_of
from trinity.rates import rate_of
from trinity.vocabulary import CODES, KeyState
from workers.request.forwarded import set_peer
from workers.request.http import parse, routes
from workers.request.http.context import response_bytes_max

pytestmark = pytest.mark.uncompiled

NOW = 10**18
PEER = "203.0.113.9"
PRICE = "/price?asset=BTC"


class Door:
    """A worker where keys are required, behind one trusted proxy at 10.0.0.1; BTC and ETH have good prices."""

    def __init__(self, private: Any) -> None:
        self.private, self.context = private, private.context
        columns = 1 + len(EXCHANGES)
        for row, asset in ((0, "BTC"), (columns, "ETH"), (2 * columns, "SOL")):
            state = AnswerState.SOURCES_DISAGREE if asset == "SOL" else AnswerState.GOOD
            record = answer_of(asset, state=state, received_at_ns=NOW - 10**9, valid_until_ns=NOW + 1)
            publish(private.words, row * ROW_WORDS, SLOT_WORDS, record.view(np.uint64))
        self.out = np.zeros(response_bytes_max(self.context), dtype=np.uint8)

    def ask(self, target: str, *headers: str, peer: str = PEER, method: str = "GET") -> tuple[int, dict[str, str], Any]:
        """Status, headers in lower case, and decoded body."""
        head = "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""))
        buffer = octets_of(head.encode("latin-1"))
        assert parse.parse_head(buffer, 0, buffer.size, self.context.head) == parse.REQUEST
        set_peer(self.context.caller, address_words(peer), 0)
        return self.read(routes.answer_request(refer_to(self.context), buffer, False, NOW, self.out, 0))

    def read(self, end: int) -> tuple[int, dict[str, str], Any]:
        found, _, body = bytes(self.out[:end]).partition(b"\r\n\r\n")
        status, *lines = found.decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        assert int(headers.get("content-length", len(body))) == len(body) or not body
        return int(status.split(" ")[1]), headers, json.loads(body) if body else None

    def code(self, target: str, *headers: str, peer: str = PEER, method: str = "GET") -> str:
        """ "ok", or the code of the refusal, which must be that of the record too."""
        status, _, body = self.ask(target, *headers, peer=peer, method=method)
        code: str = (body or {}).get("error", {}).get("code", "ok")
        record = self.private.record(NOW, NOW + 5)
        assert (CODES[record["code"]], record["status"]) == (code, status)
        return code


@pytest.fixture(scope="module")
def door(make_private: Any) -> Door:
    private = make_private(AccessSection(auth="required", trusted_proxies=("10.0.0.1",)))
    private.add_key(7, b"good key+/%")
    private.add_key(8, b"held", KeyState.SUSPENDED)
    private.add_key(9, b"gone", KeyState.REVOKED)
    return Door(private)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/assets", ("X-API-Key: good key+/%",)),
        ("/assets", ("x-api-key:   good key+/%  ",)),
        ("/assets", ("Authorization: Bearer good key+/%",)),
        ("/assets", ("authorization: bearer good key+/%", "X-Other: 1")),
        ("/assets?api_key=good%20key%2B%2F%25", ()),
        ("/assets?api_key=good%20key+/%25", ()),
        ("/assets?x=%zz&api_key=good%20key%2b%2f%25", ()),
        ("http://host/assets?api_key=good%20key%2B/%25", ()),
        ("/assets", ("Authorization: Basic abc", "X-API-Key: good key+/%")),
    ],
)
def test_a_key_opens_the_door_from_each_place(door: Door, target: str, headers: tuple[str, ...]) -> None:
    """Header, bearer token and parameter, in any case and encoding; the record names the key and not its text."""
    assert door.code(target, *headers) == "ok"
    record = door.private.ring.read(door.private.ring.written - 1, 1)[0]
    assert record["key_id"] == 7
    assert ipaddress.ip_address(record["address"].tobytes()).ipv4_mapped == ipaddress.ip_address(PEER)  # type: ignore[union-attr]


@pytest.mark.parametrize("place", ["X-API-Key: {}", "Authorization: Bearer {}", "api_key={}"])
@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", "missing_key"),
        ("wrong", "invalid_key"),
        ("good key+/", "invalid_key"),
        ("GOOD KEY+/%", "invalid_key"),
        ("\xd0\xba\xff", "invalid_key"),
        ("k" * 129, "invalid_key"),
        ("k" * 600, "invalid_key"),
        ("held", "key_suspended"),
        ("gone", "key_revoked"),
    ],
)
def test_no_other_key_does(door: Door, place: str, key: str, code: str) -> None:
    """Guesses, cut keys, bytes beyond ASCII and keys that are no longer good, each with its own code."""
    if place.startswith("api_key"):
        encoded = "".join(f"%{byte:02x}" for byte in key.encode("latin-1"))
        assert door.code(f"/assets?api_key={encoded}") == code
        return
    assert door.code("/assets", place.format(key)) == code


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/assets", ("X-API-Key: good key+/%", "X-API-Key: good key+/%")),
        ("/assets", ("X-API-Key: good key+/%", "Authorization: Bearer other")),
        ("/assets?api_key=a", ("X-API-Key: good key+/%",)),
        ("/assets?api_key=a&api_key=b", ()),
    ],
)
def test_several_keys_are_refused_instead_of_choosing_one(door: Door, target: str, headers: tuple[str, ...]) -> None:
    """Whose request it is must never depend on the order of its parts."""
    assert door.code(target, *headers) == "bad_parameter"


def test_without_a_key_there_is_health_and_the_preflight_and_nothing_else(door: Door) -> None:
    """A stranger learns neither assets nor paths nor methods."""
    assert door.code("/health") == "ok"
    assert door.code("/health?api_key=wrong") == "ok"
    assert door.ask("/price", method="OPTIONS")[0] == 204
    for target in ("/price?asset=BTC", "/prices", "/assets", "/nothing", "/%zz", "/price?nonsense=1", "*"):
        assert door.code(target) == "missing_key"
    assert door.code("/price?asset=BTC", method="POST") == "missing_key"


def test_the_refusal_says_how_to_ask_and_never_shows_the_key(door: Door) -> None:
    """401 has WWW-Authenticate; neither head nor body repeats what was sent."""
    status, headers, body = door.ask("/assets?api_key=s3cret-guess")
    assert (status, headers["www-authenticate"], body["error"]["code"]) == (401, "Bearer", "invalid_key")
    assert b"s3cret" not in bytes(door.out)
    allowed = door.ask("/price", method="OPTIONS")[1]["access-control-allow-headers"]
    assert {"Authorization", "X-API-Key"} <= {name.strip() for name in allowed.split(",")}


def test_over_the_rate_the_answer_says_when_to_come_again(make_private: Any) -> None:
    """429 with Retry-After, RateLimit-Policy and RateLimit; HEAD has them too."""
    door = Door(make_private(AccessSection()))
    door.private.add_key(1, b"slow", rate=2, burst=3, monthly_quota=1000)
    assert [door.code(PRICE, "X-API-Key: slow") for _ in range(4)] == ["ok", "ok", "ok", "rate_limited"]
    for method in ("GET", "HEAD"):
        status, headers, _ = door.ask(PRICE, "X-API-Key: slow", method=method)
        assert (status, headers["retry-after"]) == (429, "1")
        assert headers["ratelimit-policy"] == '"second";q=2;w=1, "month";q=1000'
        assert headers["ratelimit"] == '"second";r=0;t=1'
        assert {"date", "x-request-id", "content-length"} <= set(headers)


def test_a_rate_below_one_a_second_is_told_with_its_window(make_private: Any) -> None:
    """One in five seconds: q=1;w=5, and come again in five."""
    door = Door(make_private(AccessSection()))
    door.private.add_key(1, b"slow", rate=rate_of(1, 5), burst=1)
    assert [door.code(PRICE, "X-API-Key: slow") for _ in range(2)] == ["ok", "rate_limited"]
    headers = door.ask(PRICE, "X-API-Key: slow")[1]
    assert (headers["ratelimit-policy"], headers["retry-after"]) == ('"second";q=1;w=5', "5")


def test_when_the_month_is_used_up_the_answer_says_so(make_private: Any) -> None:
    """The quota's own code, with the month in the headers, also beside a rate and in a dry run."""
    door = Door(make_private(AccessSection()))
    door.private.add_key(1, b"small", monthly_quota=2)
    door.private.add_key(2, b"both", rate=1000, burst=9, monthly_quota=1)
    door.private.add_key(3, b"dry", monthly_quota=1, dry_run=True)
    assert [door.code(PRICE, "X-API-Key: small") for _ in range(3)] == ["ok", "ok", "quota_exceeded"]
    _, headers, _ = door.ask(PRICE, "X-API-Key: small")
    assert headers["ratelimit-policy"] == '"month";q=2'
    assert headers["ratelimit"].startswith('"month";r=0;t=')
    assert [door.code(PRICE, "X-API-Key: both") for _ in range(2)] == ["ok", "quota_exceeded"]
    assert door.ask(PRICE, "X-API-Key: both")[1]["ratelimit-policy"] == '"second";q=1000;w=1, "month";q=1'
    assert [door.code(PRICE, "X-API-Key: dry") for _ in range(3)] == ["ok", "ok", "ok"]


def test_each_price_of_a_list_is_a_lookup_of_the_month(make_private: Any) -> None:
    """Named or not, but only what has a price; a list that is too long for what is left takes nothing."""
    door = Door(make_private(AccessSection()))
    door.private.add_key(1, b"small", monthly_quota=6)
    assert door.code("/prices", "X-API-Key: small") == "ok", "two of them are good"
    refused, headers, _ = door.ask("/prices?assets=BTC,ETH,BTC,ETH,BTC", "X-API-Key: small")
    assert (refused, headers["ratelimit"][:12]) == (429, '"month";r=4;')
    assert door.code("/prices?assets=BTC,NOPE,SOL,ETH,BTC", "X-API-Key: small") == "ok"
    assert [door.code(PRICE, "X-API-Key: small") for _ in range(2)] == ["ok", "quota_exceeded"]


def test_what_has_no_price_costs_nothing_and_what_the_client_s_own_limits_refuse_does(make_private: Any) -> None:
    """The node has the price then, and gives it as the last good one."""
    door = Door(make_private(AccessSection()))
    door.private.add_key(1, b"small", monthly_quota=3)
    for target, code, left in (
        ("/price?asset=SOL", "sources_disagree", 3),
        ("/price?asset=DOGE", "stale_price", 3),
        ("/assets", "ok", 3),
        ("/price?asset=BTC&max_age_ms=1", "price_too_old", 2),
        ("/price?asset=BTC&min_sources=9", "too_few_sources", 1),
        ("/price?asset=BTC&max_conf_bps=0.001", "confidence_too_wide", 0),
    ):
        assert door.code(target, "X-API-Key: small") == code
        assert quota_used(door.private.access.limits, 1)[1] == 3 - left, target
    assert door.code("/price?asset=SOL", "X-API-Key: small") == "quota_exceeded"
    assert door.code("/assets", "X-API-Key: small") == "ok", "what costs nothing is answered"


def test_mistakes_cost_nothing_up_to_a_bound_a_minute(make_private: Any) -> None:
    """Whatever the mistake is: a name, a parameter, a path, a method; behind the bound each costs a lookup."""
    door = Door(make_private(AccessSection()))
    door.private.add_key(1, b"typing", monthly_quota=2)
    wrong = (
        ("/price?asset=NOPE", "GET", "unknown_asset"),
        ("/price", "GET", "missing_asset"),
        ("/price?asset=BTC&max_age=1", "GET", "bad_parameter"),
        ("/price?asset=BTC&exchange=nope", "GET", "unknown_exchange"),
        ("/prices?assets=,", "GET", "bad_parameter"),
        ("/price?asset=%zz", "GET", "bad_request"),
        ("/nothing", "GET", "unknown_path"),
        ("/price?asset=BTC", "POST", "method_not_allowed"),
    )
    for number in range(MISTAKES_PER_MINUTE):
        target, method, code = wrong[number % len(wrong)]
        assert door.code(target, "X-API-Key: typing", method=method) == code
    assert quota_used(door.private.access.limits, 1)[1] == 0
    for used in (1, 2):
        assert door.code("/price?asset=NOPE", "X-API-Key: typing") == "unknown_asset"
        assert quota_used(door.private.access.limits, 1)[1] == used
    assert door.code("/price?asset=NOPE", "X-API-Key: typing") == "quota_exceeded"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_good_answer_says_what_is_left_and_leaves_it_out_where_it_is_told_to(make_private: Any, method: str) -> None:
    """One price, a list and what is free; not to a key without limits, not with RATE_LIMIT_HEADERS=off."""
    for tells in (True, False):
        door = Door(make_private(AccessSection(rate_limit_headers=tells)))
        door.private.add_key(1, b"both", rate=5, burst=5, monthly_quota=100)
        door.private.add_key(2, b"free")
        said = []
        for target in (PRICE, "/prices?assets=BTC,ETH", "/assets"):
            status, headers, _ = door.ask(target, "X-API-Key: both", method=method)
            assert status == 200
            said.append(headers.get("ratelimit"))
            assert "ratelimit" not in door.ask(target, "X-API-Key: free", method=method)[1]
        told = ['"second";r=4, "month";r=99;t=0', '"second";r=3, "month";r=97;t=0', f'"free";r={FREE_BURST - 1}']
        assert said == (told if tells else [None] * 3)
        assert "ratelimit" not in door.ask("/health", method=method)[1], "no limit was asked for"


def test_before_the_keys_are_loaded_the_node_says_that_it_cannot_know(make_private: Any) -> None:
    """503 and when to come again, not 401: a good customer must not think that the key is wrong."""
    door = Door(make_private(AccessSection()))
    assert door.code("/assets", "X-API-Key: any") == "keys_unavailable"
    status, headers, _ = door.ask("/assets", "X-API-Key: any")
    assert (status, headers["retry-after"], "ratelimit" in headers) == (503, "1", False)
    assert door.code("/health") == "ok"


def test_anonymous_callers_share_the_limit_of_their_address(make_private: Any) -> None:
    """Each address has its own, a /64 counts as one, and a proxy's callers are told apart."""
    door = Door(make_private(AccessSection(auth="optional", anonymous_rate=2, trusted_proxies=("10.0.0.1",))))
    assert [door.code(PRICE) for _ in range(3)] == ["ok", "ok", "rate_limited"]
    assert door.code(PRICE, peer="203.0.113.10") == "ok"
    assert [door.code(PRICE, peer=f"2001:db8::{i}") for i in (1, 2, 3)] == ["ok", "ok", "rate_limited"]
    forwarded = [door.code(PRICE, f"X-Forwarded-For: 1.2.3.{i}", peer="10.0.0.1") for i in range(5)]
    assert forwarded == ["ok"] * 5


def test_a_blocked_address_is_refused_everything_and_everywhere(door: Door) -> None:
    """With a good key, on /health, as a preflight, for what is no request, and through a proxy."""
    door.private.access.blocks.write([ipaddress.ip_network("198.51.100.0/24")])
    blocked = "198.51.100.7"
    try:
        for target in ("/assets", "/health", "/nothing"):
            assert door.code(target, "X-API-Key: good key+/%", peer=blocked) == "address_blocked"
        assert door.code("/assets", "X-API-Key: a", "X-API-Key: b", peer=blocked) == "address_blocked"
        assert door.code("/price", method="OPTIONS", peer=blocked) == "address_blocked"
        through = ("X-API-Key: good key+/%", f"X-Forwarded-For: {blocked}")
        assert door.code("/assets", *through, peer="10.0.0.1") == "address_blocked"
        assert door.code("/assets", *through) == "ok"
        set_peer(door.context.caller, address_words(blocked), 0)
        status, _, body = door.read(routes.refuse(door.context, parse.BAD_REQUEST_LINE, door.out, 0))
        assert (status, body["error"]["code"]) == (403, "address_blocked")
    finally:
        door.private.access.blocks.write([])
