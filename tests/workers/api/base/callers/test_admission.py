"""What a call of the reporting service costs its caller: the rate and quota that lookups have, and what costs none."""

import hashlib
import ipaddress
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.node_fixture import busy_node
from tests.workers.api.conftest import (
    ADMIN_KEY,
    client_to,
    reporter_of,
    service,
    settings_of,
    tables_of,
    unlimited_keys,
)
from tests.workers.api.live import Live, live
from trinity.access.charge import charge
from trinity.access.gate import COUNTED_WORDS, admit, make_gate, turn_month
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import AccessSection
from trinity.limits import FREE_BURST, MISTAKES_PER_MINUTE
from trinity.memory.access import AccessMemory
from trinity.memory.limit_table import quota_left
from trinity.memory.usage_ring import UsageRing
from trinity.native.addresses import address_words
from trinity.native.octets import octets_of
from trinity.observe.metrics import REPORTER
from trinity.vocabulary import CODES, REPORTS, KeyState
from workers.api.base.callers.admission import make_admission
from workers.api.base.callers.throttle import LoginThrottle
from workers.api.base.context import Parts
from workers.api.base.problems import ProblemError
from workers.api.dropins.coins import feed_id_of
from workers.api.history import history
from workers.api.usage.datagram import reply_to

# Each kind of call that gives prices.
CALLS = (
    "/api/v3/simple/price?ids=bitcoin&vs_currencies=usd",
    "/v2/updates/price/latest?ids[]=e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43",
    "/twap?asset=BTC",
    "/node",
    "/node/asset?asset=BTC",
)
# Each kind that costs no month.
FREE_CALLS = ("/account", "/reports/summary", "/api/v3/ping", "/udf/config", "/v2/price_feeds")
_PRICE = CALLS[0]
_NOBODY = ipaddress.ip_address("::")


class StandingClock(SystemClock):
    """No debt is paid off while a test takes its time."""

    def __init__(self) -> None:
        self._now_ns = super().monotonic_ns()

    def monotonic_ns(self) -> int:
        return self._now_ns


def allow(tables: AccessMemory, rate: int = 0, burst: int = 0, quota: int = 0, dry_run: bool = False) -> None:
    """Give key 1, `key-1`, these limits."""
    digest = hashlib.sha256(b"key-1").digest()
    tables.keys.write(1, digest, KeyState.ACTIVE, rate, burst, quota, dry_run)


def counted(parts: Parts, name: str, code: str) -> int:
    return parts.context.block.read_counter(REPORTER.index(name, code))


@dataclass
class Served:
    """A service, and a client of it with `key-1`."""

    parts: Parts
    tables: AccessMemory
    client: httpx.AsyncClient


@pytest.fixture
async def served(usage_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    """Over a database with that key."""
    settings, tables = settings_of(tmp_path, database_url=usage_url), tables_of()
    async with service(settings, tables) as (parts, app), client_to(app) as client:
        parts.admission._gate.own["free_rate"] = 10
        client.headers["X-API-Key"] = "key-1"
        parts.admission._clock = StandingClock()
        served = Served(parts, tables, client)
        keep_fresh(served)
        yield served


async def test_every_call_takes_one_request_of_the_key_s_rate(served: Served) -> None:
    """Prices of all kinds; the next is refused with what a lookup would be told."""
    allow(served.tables, rate=1, burst=len(CALLS), quota=1000)
    for path in CALLS:
        status = (await served.client.get(path)).status_code
        assert status in (200, 404, 503), path  # 503: a price has become stale meanwhile; 404: no candle yet
    for path in CALLS:
        response = await served.client.get(path)
        assert (response.status_code, response.json()["code"]) == (429, "rate_limited"), path
        assert response.headers["Retry-After"] == "1"
        assert response.headers["RateLimit-Policy"] == '"second";q=1;w=1, "month";q=1000'
        assert response.headers["RateLimit"] == '"second";r=0;t=1'
    assert counted(served.parts, "report_access_refusals_total", "rate_limited") == len(CALLS)
    operator = {"X-API-Key": ADMIN_KEY}
    assert {(await served.client.get("/account", headers=operator)).status_code for _ in range(9)} == {200}


async def test_a_month_spent_on_lookups_is_spent_here_as_well(served: Served) -> None:
    """One quota for both ports, whichever took the last request; what costs no month is answered all the same."""
    allow(served.tables, quota=2)
    context, tables = served.parts.context, served.tables
    tables.keys.mark_loaded()
    counters = np.zeros(COUNTED_WORDS, dtype=np.uint64)
    gate = make_gate(tables.keys, tables.limits, tables.addresses, tables.blocks, counters, AccessSection())
    turn_month(gate, context.clock.wall_ns(), context.clock.monotonic_ns())
    key, address = octets_of(b"key-1"), address_words("::")

    def look_up() -> str:
        now_ns = context.clock.monotonic_ns()
        code = int(admit(gate, key, 0, key.size, address, False, False, now_ns))
        return CODES[code or int(charge(gate, 1, now_ns))]

    assert (await served.client.get(_PRICE)).status_code == 200
    assert look_up() == "ok"
    response = await served.client.get("/twap?asset=BTC")
    assert (response.status_code, response.json()["code"]) == (429, "quota_exceeded")
    assert response.headers["RateLimit-Policy"] == '"month";q=2'
    assert int(response.headers["Retry-After"]) > 0
    assert look_up() == "quota_exceeded"
    for path in FREE_CALLS:
        assert (await served.client.get(path)).status_code == 200, path


async def test_what_costs_no_month_has_a_rate_of_its_own(served: Served) -> None:
    """Beside that of prices, which it leaves alone; the refusal calls it by its name."""
    allow(served.tables, rate=1, burst=1, quota=100)
    for _ in range(FREE_BURST // len(FREE_CALLS)):
        for path in FREE_CALLS:
            assert (await served.client.get(path)).status_code == 200, path
    refused = await served.client.get("/account")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["RateLimit-Policy"] == '"free";q=10;w=1'
    assert refused.headers["RateLimit"] == '"free";r=0;t=1'
    assert _spent(served) == 0
    assert (await served.client.get(_PRICE)).status_code == 200


async def test_a_caller_s_mistakes_cost_nothing_up_to_a_bound_a_minute(served: Served) -> None:
    """400, 404 and CoinGecko's 422 alike; what is beyond costs as much as a price."""
    allow(served.tables, quota=3)
    wrong = (
        ("/node/asset?asset=NOPE", 404),
        ("/history?asset=NOPE", 404),
        ("/api/v3/coins/nope/market_chart?vs_currency=usd&days=1", 404),
        ("/api/v3/simple/price?vs_currencies=usd", 422),
    )
    for count in range(MISTAKES_PER_MINUTE):
        path, status = wrong[count % len(wrong)]
        assert (await served.client.get(path)).status_code == status, path
    assert _spent(served) == 0
    for spent in (1, 2, 3):
        assert (await served.client.get(wrong[0][0])).status_code == 404
        assert _spent(served) == spent
    assert (await served.client.get(wrong[0][0])).json()["code"] == "quota_exceeded"


async def test_a_good_answer_tells_what_is_left_and_can_be_told_not_to(served: Served) -> None:
    """Of the plan's limits, or of the rate for what is free; nothing to a key without limits."""
    allow(served.tables, rate=5, burst=5, quota=100)
    told = (await served.client.get(_PRICE)).headers["RateLimit"]
    assert re.fullmatch(r'"second";r=4, "month";r=99;t=[1-9]\d*', told)
    assert (await served.client.get("/account")).headers["RateLimit"] == f'"free";r={FREE_BURST - 1}'
    assert "RateLimit" not in (await served.client.get("/node/asset?asset=NOPE")).headers
    allow(served.tables)
    assert "RateLimit" not in (await served.client.get(_PRICE)).headers
    allow(served.tables, rate=5, burst=5, quota=100)
    served.parts.admission._gate.own["tells_limits"] = 0
    assert "RateLimit" not in (await served.client.get(_PRICE)).headers


async def test_an_answer_that_the_month_cannot_pay_any_more_is_not_given(served: Served) -> None:
    """Another call took the last lookup while this one was worked on: its answer is replaced by the refusal."""
    allow(served.tables, quota=1)
    taken: list[int] = []

    async def while_it_is_worked_on(*arguments: Any, **named: Any) -> Any:
        taken.append(served.parts.admission.charge(served.parts.admission.admit(1, _NOBODY, is_free=False), 1) or 1)
        return await fetch_candles(*arguments, **named)

    fetch_candles = history.fetch_candles
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "fetch_candles", while_it_is_worked_on)
        response = await served.client.get("/history?asset=BTC")
    assert (response.status_code, response.json()["code"], taken) == (429, "quota_exceeded", [1])
    assert response.json()["request_id"] == response.headers["X-Request-Id"]
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert _spent(served) == 1


async def test_a_plan_in_dry_run_is_only_counted(served: Served) -> None:
    """By code, as on the lookups' port."""
    allow(served.tables, rate=1, burst=1, dry_run=True)
    assert {(await served.client.get(_PRICE)).status_code for _ in range(3)} == {200}
    assert counted(served.parts, "report_limit_dry_run_total", "rate_limited") == 2
    assert counted(served.parts, "report_access_refusals_total", "rate_limited") == 0


async def test_a_key_that_this_node_has_not_taken_in_yet_is_asked_to_come_again(served: Served) -> None:
    """The database knows it and shared memory will in a moment: nobody is called wrong, nobody goes without limits."""
    served.tables.keys.words[8 + 8] = 0  # no version of key 1's terms
    response = await served.client.get("/account")
    assert (response.status_code, response.json()["code"]) == (503, "keys_unavailable")
    assert response.headers["Retry-After"] == "1"
    assert "RateLimit" not in response.headers


async def test_callers_without_a_key_share_the_limit_of_their_address(tmp_path: Path) -> None:
    """ANONYMOUS_RATE, and a refusal says when to come again; without a rate nobody is refused."""
    for rate, statuses in ((2, [200, 200, 429]), (0, [200] * 3)):
        settings = settings_of(tmp_path, auth="optional", anonymous_rate=rate)
        async with service(settings) as (parts, app), client_to(app) as client:
            parts.admission._clock = StandingClock()
            responses = [await client.get(_PRICE) for _ in statuses]
            assert [response.status_code for response in responses] == statuses
            assert rate == 0 or responses[-1].headers["RateLimit-Policy"] == '"second";q=2;w=1'


async def test_opening_a_stream_is_one_request(tmp_path: Path) -> None:
    """Server-sent events and WebSockets alike; what then comes through it costs nothing more."""
    async with live(tmp_path, anonymous_rate=2) as node, httpx.AsyncClient() as client:
        node.parts.admission._clock = StandingClock()
        sse, ws = f"{node.url}/stream/prices", f"ws://127.0.0.1:{node.port}/ws"
        async with client.stream("GET", sse) as stream, connect(ws) as socket:
            assert stream.status_code == 200
            for _ in range(5):
                await socket.send('{"type":"ping"}')
                assert await socket.recv() == '{"type":"pong","id":null}'
            refused = await client.get(sse)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
            with pytest.raises(InvalidStatus):
                await connect(ws)


async def test_every_asset_that_a_call_names_is_a_lookup_of_the_month(served: Served) -> None:
    """As on 8080: a call that the month has no room for is refused as a whole and takes nothing."""
    whole = (await served.client.get("/node", headers={"X-API-Key": ADMIN_KEY})).json()["assets"]
    many = (
        ("/api/v3/simple/price?vs_currencies=usd&symbols=btc,eth,BTC", 2),
        ("/api/v3/simple/price?vs_currencies=usd&ids=bitcoin", 1),
        (f"/v2/updates/price/latest?ids[]={feed_id_of('BTC')}&ids[]={feed_id_of('ETH')}", 2),
        ("/node", len([asset for asset in whole if asset["price"] is not None])),
        ("/node/asset?asset=BTC", 1),
    )
    for path, lookups in many:
        spent = _spent(served)
        allow(served.tables, quota=spent + lookups)
        assert (await served.client.get(path)).status_code == 200, path
        assert _spent(served) == spent + lookups, path
        allow(served.tables, quota=spent + 2 * lookups - 1)
        refused = await served.client.get(path)
        assert refused.status_code == 429, path
        assert _spent(served) == spent + lookups, "a refusal takes nothing"
        assert (await served.client.get(path, headers={"X-API-Key": ADMIN_KEY})).status_code == 200
        assert _spent(served) == spent + lookups, "the operator has no month"


async def test_what_an_answer_costs_the_month_is_its_usage_record(served: Served) -> None:
    """Of every kind of call, also in a dry run; what is free, a mistake or refused has none."""
    allow(served.tables, quota=1_000)
    for path in (*CALLS, "/account", "/price?asset=NOPE", "/prices?assets=BTC,ETH,NOPE"):
        await served.client.get(path)
    found = _records(served)
    assert int(found["assets"].sum()) == _spent(served) > len(CALLS)
    assert {(record["key_id"], record["status"], record["protocol"]) for record in found} == {(1, 200, REPORTS)}
    refused = await served.client.get("/price?asset=BTC&min_sources=20")
    (*found, last) = _records(served)
    assert refused.status_code == last["status"] == 503
    assert (CODES[last["code"]], last["assets"]) == ("too_few_sources", 1)
    found = _records(served)
    allow(served.tables, quota=1, dry_run=True)
    await served.client.get("/price?asset=BTC")
    assert len(_records(served)) == len(found) + 1
    allow(served.tables, quota=1)
    assert (await served.client.get("/price?asset=BTC")).status_code == 429
    assert len(_records(served)) == len(found) + 1


async def test_a_usage_record_names_the_one_asset_that_was_asked_for(served: Served) -> None:
    """By whatever name, as on 8080, so that reports by asset have the calls of both ports; of several it has none."""
    allow(served.tables, quota=1_000)
    single = ("/price?asset=btc", "/prices?assets=BTC", *CALLS[:2], "/udf/quotes?symbols=BTC")
    several = ("/node", "/prices?assets=BTC,ETH", "/api/v3/simple/price?ids=bitcoin,ethereum&vs_currencies=usd")
    for path in (*single, "/api/v3/coins/markets?vs_currency=usd&ids=bitcoin", *several):
        assert (await served.client.get(path)).status_code == 200, path
    assert [bytes(record["asset"]) for record in _records(served)] == [b"BTC"] * (len(single) + 1) + [b""] * 3


def _records(served: Served) -> np.ndarray[Any, Any]:
    ring = UsageRing(Path(), served.parts.admission._ring)
    return ring.read(ring.released, ring.capacity)


async def test_calls_that_wait_do_not_pay_for_one_another(served: Served) -> None:
    """What is charged belongs to the key that was let in, whoever was let in meanwhile; a dry run is counted once."""
    admission, nobody = served.parts.admission, ipaddress.ip_address("::")
    allow(served.tables, quota=5)
    first = admission.admit(1, nobody, is_free=False)
    admission.admit(2, nobody, is_free=False)
    admission.charge(first, 5)
    assert (_spent(served), _spent(served, 2)) == (5, 0)  # key 2 has no quota
    allow(served.tables, quota=5, dry_run=True)
    admission.charge(admission.admit(1, nobody, is_free=False), 3)
    assert counted(served.parts, "report_limit_dry_run_total", "quota_exceeded") == 1


def keep_fresh(served: Served) -> None:
    """Prices that stay good however slow this machine is."""
    answers = served.parts.prices._answers
    for asset in range(len(served.parts.prices.assets)):
        answer = answers.read(answers.row_of(asset))
        if answer is not None:
            answer = answer.copy()
            answer["valid_until_ns"] = served.parts.context.clock.monotonic_ns() + 3600 * NS_PER_SECOND
            answers.write(answers.row_of(asset), answer)


def _spent(served: Served | Live, key_id: int = 1) -> int:
    month = int(served.parts.admission._gate.own["month"])
    quota_max = 10**9
    return quota_max - int(quota_left(served.tables.limits.words, key_id, month, quota_max))


async def test_a_stream_costs_its_assets_when_it_is_opened_or_subscribes(tmp_path: Path) -> None:
    """What then comes costs nothing; a subscription that cannot be paid is refused and the connection stays."""
    async with live(tmp_path, keys=unlimited_keys()) as node, httpx.AsyncClient() as client:
        node.tables.keys.mark_loaded()  # `key-1` is known without a database
        key = {"X-API-Key": "key-1"}
        allow(node.tables, quota=4)
        async with client.stream("GET", f"{node.url}/stream/prices?assets=BTC,ETH", headers=key) as stream:
            assert stream.status_code == 200
            assert _spent(node) == 2
        refused = await client.get(f"{node.url}/stream/prices?assets=BTC,ETH,SOL,XRP", headers=key)
        assert (refused.status_code, refused.json()["code"], _spent(node)) == (429, "quota_exceeded", 2)
        async with connect(f"ws://127.0.0.1:{node.port}/ws", additional_headers=key) as socket:
            answers = []
            for assets in (["BTC", "ETH", "SOL"], ["BTC", "ETH"], ["BTC"]):
                await socket.send(json.dumps({"type": "subscribe", "assets": assets}))
                while (message := json.loads(await socket.recv()))["type"] == "prices":
                    pass
                answers.append(message.get("assets") or message["error"]["code"])
            assert answers == ["quota_exceeded", ["BTC", "ETH"], ["BTC", "ETH"]]
            assert _spent(node) == 4, "opening it was free"


async def test_a_report_over_udp_costs_no_month_and_is_held_to_the_rate_for_that(served: Served) -> None:
    """The same as over HTTP, also with a spent month; the operator has no limit."""
    allow(served.tables, rate=1, burst=1, quota=1)
    served.parts.admission.charge(served.parts.admission.admit(1, _NOBODY, is_free=False), 1)

    async def code(key: str) -> str:
        asked = msgspec.json.encode({"report": "summary", "api_key": key})
        _, reply, _ = await reply_to(served.parts, LoginThrottle(), asked, ipaddress.ip_address("127.0.0.1"))
        return str(msgspec.json.decode(reply).get("error", {}).get("code", "ok"))

    assert await code("key-1") == "ok"
    for _ in range(FREE_BURST - 1):
        served.parts.admission.admit(1, _NOBODY, is_free=True)
    assert await code("key-1") == "rate_limited"
    assert [await code(ADMIN_KEY) for _ in range(3)] == ["ok"] * 3
    assert _spent(served) == 1


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"), ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2")],
)
def test_an_ipv6_network_is_one_caller_and_a_mapped_address_is_ipv4(first: str, same: str, other: str) -> None:
    """As for lookups: the cells are those of the request workers."""
    with busy_node() as memory:
        context, _, tables, ring = reporter_of(memory, clock=StandingClock())
        admission = make_admission(context, tables, ring.words, AccessSection(auth="optional", anonymous_rate=1))
        admission.admit(0, ipaddress.ip_address(first), is_free=False)
        with pytest.raises(ProblemError, match="429 rate_limited"):
            admission.admit(0, ipaddress.ip_address(same), is_free=False)
        admission.admit(0, ipaddress.ip_address(other), is_free=False)
