"""TradingView's data feed, as its charting library asks it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import psycopg
import pytest

from tests.workers.api.conftest import client_of, settings_of
from tests.workers.api.live import live
from trinity.memory.answer_table import AnswerState

START = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp())


@pytest.fixture
async def charts(tmp_path: Path, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A service with ten minutes of BTC, and one of the day after."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
        connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
        for minute in (*range(10), 1440):
            connection.execute(
                "INSERT INTO price_minute (asset_id, minute, open, high, low, close, sources, confidence, samples,"
                " weighted_sum, weighted_ms, node_id) SELECT assets.id, to_timestamp(%s), 50, 52, 49, %s, 5, 2, 9,"
                " 3000000, 60000, nodes.id FROM assets, nodes",
                (START + 60 * minute, 50 + minute / 4),
            )
    async with client_of(settings_of(tmp_path, auth="optional", database_url=database_url)) as client:
        yield client


async def test_a_chart_gets_its_symbol_and_its_bars(charts: httpx.AsyncClient) -> None:
    """As the library asks: config, symbol, then history by time or by count."""
    config = (await charts.get("/udf/config")).json()
    assert config["supports_search"] is not config["supports_group_request"]
    for name in ("BTC", "btcusd", "BTC/USD", "TRINITY:BTC", "Crypto.BTC/USD"):
        symbol = (await charts.get("/udf/symbols", params={"symbol": name})).json()
        assert (symbol["ticker"], symbol["has_intraday"]) == ("BTC", True)
    assert [found["ticker"] for found in (await charts.get("/udf/search?query=bitcoin&limit=1")).json()] == ["BTC"]
    assert (await charts.get("/udf/time")).text.isdigit()
    query = {"symbol": "BTC", "resolution": "1", "from": START, "to": START + 600}
    bars = (await charts.get("/udf/history", params=query)).json()
    assert bars["s"] == "ok"
    assert bars["t"] == [START + 60 * minute for minute in range(10)]
    assert (bars["o"][0], bars["h"][0], bars["l"][0], bars["c"][-1]) == (50, 52, 49, 52.25)
    counted = (await charts.get("/udf/history", params=query | {"countback": 3})).json()
    assert counted["t"] == bars["t"][-3:]
    fives = (await charts.get("/udf/history", params=query | {"resolution": "5"})).json()
    assert fives["t"] == [START, START + 300]


class Exchange(msgspec.Struct, forbid_unknown_fields=True):
    value: str
    name: str
    desc: str


class SymbolType(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    value: str


class Configuration(msgspec.Struct, forbid_unknown_fields=True):
    """The answer to /config by TradingView's description of UDF."""

    supports_search: bool
    supports_group_request: bool
    supports_marks: bool
    supports_timescale_marks: bool
    supports_time: bool
    supported_resolutions: list[str]
    exchanges: list[Exchange]
    symbols_types: list[SymbolType]


class SymbolInfo(msgspec.Struct, forbid_unknown_fields=True):
    """The library's LibrarySymbolInfo, as far as it is sent."""

    name: str
    ticker: str
    full_name: str
    description: str
    type: str
    session: Literal["24x7"]
    timezone: Literal["Etc/UTC"]
    exchange: str
    listed_exchange: str
    format: Literal["price", "volume"]
    minmov: int
    pricescale: int
    has_intraday: bool
    has_daily: bool
    has_weekly_and_monthly: bool
    intraday_multipliers: list[str]
    daily_multipliers: list[str]
    weekly_multipliers: list[str]
    monthly_multipliers: list[str]
    supported_resolutions: list[str]
    visible_plots_set: Literal["ohlcv", "ohlc", "c"]
    volume_precision: int
    data_status: Literal["streaming", "endofday", "delayed_streaming"]
    currency_code: str


class Found(msgspec.Struct, forbid_unknown_fields=True):
    """One result of a search."""

    symbol: str
    full_name: str
    description: str
    exchange: str
    ticker: str
    type: str


async def test_answers_have_the_shapes_of_the_protocol(charts: httpx.AsyncClient) -> None:
    """No field that it does not know, each of its kind; what says how to show a price does not need one."""
    configuration = msgspec.json.decode((await charts.get("/udf/config")).content, type=Configuration)
    symbol = msgspec.json.decode((await charts.get("/udf/symbols?symbol=BTC")).content, type=SymbolInfo)
    found = msgspec.json.decode((await charts.get("/udf/search?query=")).content, type=list[Found])
    assert symbol.supported_resolutions == configuration.supported_resolutions
    assert set(symbol.intraday_multipliers) == {name for name in configuration.supported_resolutions if name.isdigit()}
    multiples = [f"{n}D" for n in symbol.daily_multipliers] + [f"{n}W" for n in symbol.weekly_multipliers]
    assert multiples == [name for name in configuration.supported_resolutions if not name.isdigit()]
    assert {hit.exchange for hit in found} == {exchange.value for exchange in configuration.exchanges}
    assert {hit.type for hit in found} == {kind.value for kind in configuration.symbols_types}
    scales = {
        name: (await charts.get("/udf/symbols", params={"symbol": name})).json()["pricescale"]
        for name in ("BTC", "DOGE", "PEPE")
    }
    assert scales == {"BTC": 100, "DOGE": 100_000, "PEPE": 10_000_000_000}


async def test_a_search_is_narrowed_by_exchange_and_type(charts: httpx.AsyncClient) -> None:
    """As the library's dialog sends them: empty for all."""
    for query, count in (
        ("type=&exchange=", 1),
        ("type=crypto&exchange=TRINITY", 1),
        ("type=stock&exchange=", 0),
        ("exchange=NYSE", 0),
    ):
        assert len((await charts.get(f"/udf/search?query=bitcoin&limit=1&{query}")).json()) == count


async def test_so_many_bars_are_counted_back_across_gaps(charts: httpx.AsyncClient) -> None:
    """`countback` goes before `from`; a day without prices between two bars costs none of them."""
    later = START + 86_400
    query: dict[str, Any] = {"symbol": "BTC", "resolution": "1", "from": later, "to": later + 60}
    counted = (await charts.get("/udf/history", params=query | {"countback": 3})).json()
    assert counted["t"] == [START + 480, START + 540, later]
    everything = (await charts.get("/udf/history", params=query | {"countback": 10_000})).json()
    assert everything["t"] == [*(START + 60 * minute for minute in range(10)), later]
    fives = (await charts.get("/udf/history", params=query | {"resolution": "5", "countback": 2})).json()
    assert fives["t"] == [START + 300, later]
    # The end is left out, a bar that begins with `from` is not.
    border = query | {"from": START + 60, "to": START + 120}
    assert (await charts.get("/udf/history", params=border)).json()["t"] == [START + 60]


async def test_nothing_there_is_said_with_where_to_look(charts: httpx.AsyncClient) -> None:
    """`nextTime` is the last bar before the range, in seconds, as the resolution has it; without any there is none."""
    after = {"symbol": "BTC", "resolution": "1", "from": START + 3600, "to": START + 7200}
    week = int(datetime(2025, 12, 29, tzinfo=UTC).timestamp())  # 1 January 2026 is a Thursday
    for resolution, begin in (("1", START + 540), ("15", START), ("240", START), ("1D", START - 43_200), ("1W", week)):
        answer = (await charts.get("/udf/history", params=after | {"resolution": resolution})).json()
        assert answer == {"s": "no_data", "nextTime": begin}
    before = after | {"from": START - 7200, "to": START - 3600}
    assert (await charts.get("/udf/history", params=before)).json() == {"s": "no_data"}
    assert (await charts.get("/udf/history", params=before | {"countback": 5})).json() == {"s": "no_data"}


async def test_a_range_ahead_of_now_has_no_bars_of_its_past(charts: httpx.AsyncClient) -> None:
    """From tomorrow on there is nothing, and `nextTime` is the newest bar; a range that reaches ahead ends now."""
    ahead = {"symbol": "BTC", "resolution": "1", "from": 32_000_000_000, "to": 32_000_086_400}
    assert (await charts.get("/udf/history", params=ahead)).json() == {"s": "no_data", "nextTime": START + 86_400}
    reaching = ahead | {"from": START + 540}
    assert (await charts.get("/udf/history", params=reaching)).json()["t"] == [START + 540, START + 86_400]
    counted = (await charts.get("/udf/history", params=ahead | {"countback": 2})).json()
    assert counted["t"] == [START + 540, START + 86_400]


@pytest.mark.parametrize("begin", [-1, -(10**12), 0, -(10**30)])
async def test_a_chart_may_ask_from_before_1970(charts: httpx.AsyncClient, begin: int) -> None:
    """A week times many bars goes back before the epoch; all bars there are come, and before 1970 there are none."""
    query = {"symbol": "BTC", "resolution": "1W", "from": begin, "to": START + 86_400}
    bars = (await charts.get("/udf/history", params=query)).json()
    assert bars["t"] == [int(datetime(2025, 12, 29, tzinfo=UTC).timestamp())]
    assert (await charts.get("/udf/history", params=query | {"to": begin})).json() == {"s": "no_data"}


async def test_a_chart_goes_back_to_the_first_bar(charts: httpx.AsyncClient) -> None:
    """As TradingView's client does: page by page to the left, over a gap by `nextTime`, until there is nothing more."""
    query: dict[str, Any] = {"symbol": "BTC", "resolution": "1", "currencyCode": "USD"}
    times, to, page = set(), START + 86_460, 300
    for _ in range(20):
        answer = (await charts.get("/udf/history", params=query | {"from": to - page, "to": to})).json()
        times.update(answer.get("t", []))
        if answer["s"] == "no_data" and "nextTime" not in answer:
            break
        to = answer["nextTime"] + 60 if answer["s"] == "no_data" else to - page
    assert sorted(times) == [*(START + 60 * minute for minute in range(10)), START + 86_400]


async def test_all_symbols_come_as_a_table(charts: httpx.AsyncClient) -> None:
    """`symbol_info` says of a group what `symbols` says of one; a list holds a value for each symbol."""
    table = (await charts.get("/udf/symbol_info?group=TRINITY")).json()
    assert (await charts.get("/udf/symbol_info")).json() == table
    for column, field in (
        ("description", "description"),
        ("pricescale", "pricescale"),
        ("supported-resolutions", "supported_resolutions"),
        ("intraday-multipliers", "intraday_multipliers"),
        ("session-regular", "session"),
        ("timezone", "timezone"),
        ("exchange-traded", "exchange"),
        ("currency-code", "currency_code"),
        ("has-weekly-and-monthly", "has_weekly_and_monthly"),
    ):
        for index, name in enumerate(table["symbol"]):
            value = table[column][index] if isinstance(table[column], list) else table[column]
            symbol = (await charts.get("/udf/symbols", params={"symbol": name})).json() if index < 3 else None
            assert symbol is None or symbol[field] == value


async def test_quotes_are_prices_now_and_the_day_so_far(tmp_path: Path, database_url: str) -> None:
    """Each by the name it was asked for; what is unknown or not fresh is an error at its place and spoils no other."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
        connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
        for minute, prices in ((-1, (1, 1, 1, 69_000)), (0, (70_000, 70_500, 60_000, 70_100)), (1, (1, 72_000, 1, 1))):
            connection.execute(
                "INSERT INTO price_minute SELECT id, %s + make_interval(mins => %s), %s, %s, %s, %s, 5, 2, 9, 0, 1, 1"
                " FROM assets",
                (midnight, minute, *prices),
            )
    async with (
        live(tmp_path, database_url=database_url) as service,
        httpx.AsyncClient(base_url=service.url) as client,
    ):
        service.publish("BTC", "71400")
        service.publish("SOL", state=AnswerState.STALE)
        answer = (await client.get("/udf/quotes?symbols=TRINITY:BTC,NOPE,SOL,ETH,")).json()
    assert answer["s"] == "ok"
    btc, nope, sol, eth, nothing = answer["d"]
    assert (btc["s"], btc["n"]) == ("ok", "TRINITY:BTC")
    assert btc["v"] == {
        "short_name": "BTC", "exchange": "TRINITY", "description": "Bitcoin / US Dollar",
        "original_name": "TRINITY:BTC", "lp": 71_400, "ch": 1_400, "chp": 2, "open_price": 70_000,
        "high_price": 72_000, "low_price": 1, "prev_close_price": 69_000,
    }  # fmt: skip
    assert nope == {"s": "error", "n": "NOPE", "errmsg": "unknown_symbol", "v": {}}
    assert sol == {"s": "error", "n": "SOL", "errmsg": "stale_price", "v": {}}
    assert (eth["s"], eth["v"]["lp"], "ch" in eth["v"]) == ("ok", 71_002.5, False)
    assert nothing["errmsg"] == "unknown_symbol"


async def test_quotes_go_on_without_the_database(tmp_path: Path) -> None:
    """With the price alone."""
    async with live(tmp_path) as service, httpx.AsyncClient(base_url=service.url) as client:
        (btc,) = (await client.get("/udf/quotes?symbols=BTC")).json()["d"]
    assert (btc["s"], btc["v"]["lp"], "ch" in btc["v"]) == ("ok", 71_002.5, False)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("symbols?symbol=NOPE", 404, "unknown_symbol"),
        ("symbols?symbol=%FF", 404, "unknown_symbol"),
        ("symbols", 400, "bad_parameter"),
        ("search?limit=0", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=7&from=1&to=2", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&to=2", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&from=x&to=2", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&from=1&to=99999999999999999", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&from=9&to=5", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&to=5&countback=0", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&to=5&countback=10001", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&to=5&from=1&currencyCode=EUR", 400, "bad_parameter"),
        ("symbols?symbol=BTC&currencyCode=EUR", 400, "bad_parameter"),
        ("symbol_info?group=NYSE", 404, "unknown_group"),
        ("quotes", 400, "bad_parameter"),
        ("quotes?symbols=" + ",".join(["BTC"] * 65), 400, "too_many_assets"),
        ("history?symbol=BTC&resolution=1&from=1&to=2", 503, "database_unavailable"),
    ],
)
async def test_wrong_requests_are_refused_in_udf_s_words(
    optional_client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    """{"s":"error"} with our code beside it; a database that is away is one of them."""
    answer = await optional_client.get(f"/udf/{path}")
    assert (answer.status_code, answer.json()["s"], answer.json()["code"]) == (status, "error", code)
    if status < 500:
        assert answer.json()["field"]
        assert answer.json()["errmsg"].startswith(answer.json()["field"])


async def test_a_resolution_that_is_none_is_told_all_there_are(optional_client: httpx.AsyncClient) -> None:
    """The error names the field and everything that is allowed, the same as /config."""
    error = (await optional_client.get("/udf/history?symbol=BTC&resolution=7&from=1&to=2")).json()
    allowed = (await optional_client.get("/udf/config")).json()["supported_resolutions"]
    assert allowed == ["1", "5", "15", "30", "60", "120", "240", "1D", "1W"]
    assert error["field"] == "resolution"
    assert error["errmsg"] == f"resolution: '7' is not one of {', '.join(allowed)}"


async def test_a_database_without_tables_is_told_in_udf_s_words(charts: httpx.AsyncClient, database_url: str) -> None:
    """Whatever it is that a database cannot do now."""
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TABLE price_minute CASCADE")
    answer = await charts.get(f"/udf/history?symbol=BTC&resolution=1&from={START}&to={START + 60}")
    assert (answer.status_code, answer.json()["s"], answer.json()["code"]) == (503, "error", "database_unavailable")
