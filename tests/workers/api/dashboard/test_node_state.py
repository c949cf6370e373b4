"""workers/api/dashboard/node_state.py"""

from pathlib import Path

import httpx

from tests.support.node_fixture import CATALOG, busy_node
from tests.trinity.observe.test_status import ring_with
from tests.workers.api.conftest import application_of, client_of, client_to, reporter_of, settings_of
from tests.workers.api.live import live
from tests.workers.request.conftest import answer_of
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.memory.answer_table import VERDICT_USED, AnswerState
from trinity.memory.control import HEARTBEAT_NS
from trinity.observe.status import read_node, report_health
from workers.api.server import open_service


async def test_the_node_s_state_names_each_feed_and_each_asset(optional_client: httpx.AsyncClient) -> None:
    """What the page shows to everyone comes in one answer, with reasons."""
    state = (await optional_client.get("/node")).json()
    assert set(state["feeds"])
    for feed in state["feeds"].values():
        assert feed["status"] in ("ws", "rest", "down")
    assert [asset["asset"] for asset in state["assets"]]
    for asset in state["assets"]:
        assert isinstance(asset["price"], float) is (asset["status"] == "fresh"), "a price that became stale is null"
    assert state["status"] in ("ok", "degraded", "down")
    assert abs(state["time_ms"] / 1000 - SystemClock().wall_ns() / NS_PER_SECOND) < 10
    assert state["database"] is False


async def test_an_asset_s_state_has_every_exchange_that_lists_it(optional_client: httpx.AsyncClient) -> None:
    """Prices come with their currency, their value in USD, their age and their verdict; any case will do."""
    asset = (await optional_client.get("/node")).json()["assets"][0]["asset"]
    state = (await optional_client.get("/node/asset", params={"asset": asset.lower()})).json()
    assert state["asset"] == asset
    for row in state["exchanges"]:
        assert set(row) == {"exchange", "currency", "price", "price_usd", "age_ms", "via", "state", "verdict"}
        assert isinstance(row["price"], float | None)


async def test_a_refused_price_is_null_and_its_sources_are_disputed(tmp_path: Path) -> None:
    """The last good one stands under its own name with its time and age, and what was needed beside the spread."""
    async with live(tmp_path) as service, httpx.AsyncClient(base_url=service.url) as client:
        for exchange in range(6):
            service.memory.answers.write_verdict(exchange, CATALOG.asset_index("ETH"), VERDICT_USED)
        spread = {"disagreement_milli_bps": 948_100, "voters": 6, "majority": 4, "sources": 0}
        service.publish("ETH", "2484.5", state=AnswerState.SOURCES_DISAGREE, timestamp_ms=77, **spread)
        state = (await client.get("/node/asset", params={"asset": "ETH"})).json()
        listed = next(one for one in (await client.get("/node")).json()["assets"] if one["asset"] == "ETH")

    assert (state["status"], state["price"], state["timestamp"]) == ("sources_disagree", None, None)
    assert (state["last_price"], state["last_timestamp"], state["confidence_bps"]) == (2484.5, 77, None)
    assert state["age_ms"] >= 0
    assert (state["sources"], state["voters"], state["majority"], state["majority_window_bps"]) == (0, 6, 4, 100)
    assert state["reason"] == "6 exchanges lie 948.1 bps apart: 4 of them within 100 bps are needed"
    assert {row["verdict"] for row in state["exchanges"]} == {"disputed"}
    assert {name: state[name] for name in listed if name != "age_ms"} == {
        name: value for name, value in listed.items() if name != "age_ms"
    }


async def test_an_exchange_s_own_price_ends_with_its_time(tmp_path: Path) -> None:
    """A consensus process that died leaves no exchange's price behind as if it were of now."""
    async with live(tmp_path) as service, httpx.AsyncClient(base_url=service.url) as client:
        answers, now_ns = service.memory.answers, SystemClock().monotonic_ns()
        asset, exchange = CATALOG.asset_index("ETH"), CATALOG.exchange_index("kraken")
        for valid_until_ns, price in ((now_ns + 60 * NS_PER_SECOND, 2484.5), (now_ns, None)):
            answers.write(answers.row_of(asset, exchange), answer_of("ETH", "2484.5", valid_until_ns=valid_until_ns))
            rows = (await client.get("/node/asset", params={"asset": "ETH"})).json()["exchanges"]
            kraken = next(row for row in rows if row["exchange"] == "kraken")
            assert (kraken["price"], kraken["price_usd"]) == (price, price)


async def test_an_unknown_asset_is_refused_by_name(optional_client: httpx.AsyncClient) -> None:
    """As by a lookup: the field is named, and where the names stand. An alias is a name."""
    answer = await optional_client.get("/node/asset", params={"asset": "' OR 1=1"})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (404, "unknown_asset", "asset")
    assert (await optional_client.get("/node/asset", params={"asset": "ton"})).json()["asset"] == "GRAM"


async def test_a_silent_flusher_is_the_same_to_the_page_and_to_health(tmp_path: Path) -> None:
    """One reading: what waits in the rings and what they lost counts for both."""
    with busy_node() as memory:
        flusher = [entry.kind for entry in memory.card.processes].index("flusher")
        rings = (ring_with(420, refused=7),)
        memory.control.block(flusher).write(HEARTBEAT_NS, 0)
        reporter = reporter_of(memory, rings=rings)
        _, health = report_health(read_node(memory, reporter.context.clock.monotonic_ns(), rings))
        async with (
            open_service(*reporter, settings_of(tmp_path, auth="optional"), None) as made,
            client_to(application_of(made)) as client,
        ):
            state = (await client.get("/node")).json()
    codes = [reason["code"] for reason in health["reasons"]]
    assert {"ledger_silent", "ledger_alarm", "ledger_lost"} <= set(codes)
    assert [reason["code"] for reason in state["reasons"]] == codes


async def test_where_keys_are_required_the_state_needs_one_too(tmp_path: Path) -> None:
    """The page of a closed node shows nothing before the login."""
    async with client_of(settings_of(tmp_path)) as client:
        assert (await client.get("/node")).status_code == 401
        assert (await client.get("/")).status_code == 200, "the page itself holds no secret"
