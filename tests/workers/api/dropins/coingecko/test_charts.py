"""Charts and candles, with the client that CoinGecko's users have."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.api.dropins.coingecko.conftest import ask, client_of
from tests.workers.api.live import live
from tests.workers.api.minutes import store_minutes
from workers.api.dropins.coingecko.charts import merge_candles
from workers.api.history.candles import Candle

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


async def test_a_chart_is_made_of_stored_minutes_and_the_newest_price(tmp_path: Path, database_url: str) -> None:
    """Closes with the time at which they stood, in milliseconds."""
    store_minutes(database_url, "BTC", "50.25", range(20, 40))
    async with live(tmp_path, database_url=database_url) as service:
        client = client_of(service.url)
        chart = await ask(client.get_coin_market_chart_by_id, id="bitcoin", vs_currency="usd", days=1)
        *closes, (_, newest) = chart["prices"]
        assert 3 <= len(closes) <= 5
        assert {price for _, price in closes} == {50.25}
        assert all(time % 300_000 == 0 for time, _ in closes)
        assert newest == 71002.5
        service.publish("BTC", timestamp_ms=closes[-1][0])
        again = await ask(client.get_coin_market_chart_by_id, id="bitcoin", vs_currency="usd", days=1)
        assert again["prices"] == closes, "times only ever go on"
        for wrong in ({"id": "nope"}, {"vs_currency": "xxx"}, {"days": "many"}, {"interval": "never"}):
            arguments = {"id": "bitcoin", "vs_currency": "usd", "days": "1"} | wrong
            with pytest.raises(ValueError, match="error"):
                await ask(client.get_coin_market_chart_by_id, **arguments)


async def test_a_chart_has_the_interval_that_is_asked_for(tmp_path: Path, database_url: str) -> None:
    """Five minutes, hours or days, of the past days or of a range; the bound of an answer is said."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = int(day.timestamp()) - 2 * 86_400
    store_minutes(database_url, "BTC", "50.25", range(2 * 1440 + 5), day)
    async with live(tmp_path, database_url=database_url) as service:
        client = client_of(service.url)
        by_days, by_range = client.get_coin_market_chart_by_id, client.get_coin_market_chart_range_by_id
        for interval, step in (("5m", 300), ("hourly", 3600), ("daily", 86_400)):
            got = await ask(by_days, id="bitcoin", vs_currency="usd", days=3, interval=interval)
            times = [time for time, _ in got["prices"][:-1]]
            # The newest stored minute is the first one of today.
            assert {after - before for before, after in itertools.pairwise(times)} == {step * 1000}
            span = {"from_timestamp": start, "to_timestamp": start + 86_400}
            got = await ask(by_range, id="bitcoin", vs_currency="usd", interval=interval, **span)
            times = [time for time, _ in got["prices"]]
            assert times == list(range(start * 1000, (start + 86_400) * 1000 + 1, step * 1000))
        for wrong in (
            {"days": 11, "interval": "5m"},
            {"days": 1, "interval": "weekly"},
        ):
            with pytest.raises(ValueError, match="interval"):
                await ask(by_days, id="bitcoin", vs_currency="usd", **wrong)
        for first, last in ((start, start), (start + 1, start), (start - 100 * 86_400, start)):
            with pytest.raises(ValueError, match="bad_parameter"):
                await ask(by_range, id="bitcoin", vs_currency="usd", from_timestamp=first, to_timestamp=last)
        with psycopg.connect(database_url) as connection:
            connection.execute("DROP TABLE price_minute CASCADE")
        with pytest.raises(ValueError, match="database_unavailable"):
            await ask(by_days, id="bitcoin", vs_currency="usd", days=1)


async def test_a_range_takes_dates_and_fractions(tmp_path: Path, database_url: str) -> None:
    """ISO 8601 with and without a time, seconds with a fraction: the same points."""
    day = MIDNIGHT - timedelta(days=1)
    store_minutes(database_url, "BTC", "50.25", range(1445), MIDNIGHT)
    start, end = day.timestamp(), MIDNIGHT.timestamp()
    async with live(tmp_path, database_url=database_url) as service:
        by_range = client_of(service.url).get_coin_market_chart_range_by_id
        spans = (
            (start, end), (f"{start}", f"{end + 0.5}"), (f"{day:%Y-%m-%d}", f"{MIDNIGHT:%Y-%m-%d}"),
            (f"{day:%Y-%m-%dT%H:%M}", f"{MIDNIGHT:%Y-%m-%dT%H:%MZ}"), (start * 1000, end * 1000),
        )  # fmt: skip
        asked = {"id": "bitcoin", "vs_currency": "usd", "interval": "hourly"}
        got = [await ask(by_range, from_timestamp=first, to_timestamp=last, **asked) for first, last in spans]
        assert len(got[0]["prices"]) == 25
        assert all(chart == got[0] for chart in got)
        with pytest.raises(ValueError, match="'field': 'from'"):
            await ask(by_range, id="bitcoin", vs_currency="usd", from_timestamp="yesterday", to_timestamp=end)


async def test_a_chart_in_another_coin_is_the_quotient_of_closes(tmp_path: Path, database_url: str) -> None:
    """Where both have one; the newest price is one too."""
    store_minutes(database_url, "BTC", "100", range(10, 40))
    store_minutes(database_url, "ETH", "25", range(20, 60))
    async with live(tmp_path, database_url=database_url) as service:
        chart = await ask(client_of(service.url).get_coin_market_chart_by_id, id="ethereum", vs_currency="btc", days=1)
        *closes, (_, newest) = chart["prices"]
        assert {price for _, price in closes} == {0.25}
        assert 3 <= len(closes) <= 5
        assert newest == 1


async def test_candles_are_those_of_the_span_and_stand_at_their_end(tmp_path: Path, database_url: str) -> None:
    """Half hours of a day, four hours of a week, four days of more, or as asked for; in USD alone."""
    for offset, price in enumerate(("50", "70", "40", "60")):
        store_minutes(database_url, "BTC", price, range(offset, 3 * 1440, 4), MIDNIGHT)
    async with live(tmp_path, database_url=database_url) as service:
        client = client_of(service.url)
        for days, interval, step in (
            ("7", "", 4 * 3600), ("7", "hourly", 3600), ("90", "daily", 86_400), ("1", "", 1800),
        ):  # fmt: skip
            arguments = {"interval": interval} if interval else {}
            rows = await ask(client.get_coin_ohlc_by_id, id="bitcoin", vs_currency="usd", days=days, **arguments)
            if days != "1" or rows:  # of today there is one minute alone
                assert {after[0] - before[0] for before, after in itertools.pairwise(rows)} <= {step * 1000}
                assert all(at % (step * 1000) == 0 for at, *_ in rows)
                assert [high for _, _, high, _, _ in rows[1:-1]] == [70] * len(rows[1:-1])
                assert [low for _, _, _, low, _ in rows[1:-1]] == [40] * len(rows[1:-1])
        span = {"from_timestamp": f"{MIDNIGHT - timedelta(days=2):%Y-%m-%d}", "to_timestamp": f"{MIDNIGHT:%Y-%m-%d}"}
        rows = await ask(client.get_coin_ohlc_by_id_range, id="bitcoin", vs_currency="usd", interval="daily", **span)
        assert [at for at, *_ in rows] == [int((MIDNIGHT - timedelta(days=age)).timestamp()) * 1000 for age in (1, 0)]
        for wrong in ({"vs_currency": "btc"}, {"interval": "1m"}, {"days": "-1"}, {"id": "nope"}):
            with pytest.raises(ValueError, match="error"):
                await ask(client.get_coin_ohlc_by_id, **({"id": "bitcoin", "vs_currency": "usd", "days": "1"} | wrong))


@given(
    minutes=st.lists(st.integers(0, 600), unique=True).map(sorted),
    prices=st.lists(st.integers(1, 99), min_size=601, max_size=601),
    steps=st.sampled_from((1, 3, 60)),
)
def test_merged_candles_lose_nothing(minutes: list[int], prices: list[int], steps: int) -> None:
    """Each has the extremes, the first and the last price of the small ones inside it, and they stand in order."""
    small = timedelta(minutes=5)
    epoch = datetime.fromtimestamp(0, UTC)

    def candle(minute: int) -> Candle:
        price = Decimal(prices[minute])
        start = epoch + minute * small
        return Candle(start, start + small, price, price + 1, price - 1, price, price, Decimal(0), 5, 9, 1.0)

    merged = list(merge_candles([candle(minute) for minute in minutes], steps * small))
    assert [end for end, *_ in merged] == sorted({epoch + (minute // steps + 1) * steps * small for minute in minutes})
    for end, first, high, low, last in merged:
        inside = [prices[minute] for minute in minutes if end - steps * small <= epoch + minute * small < end]
        assert (first, high, low, last) == (inside[0], max(inside) + 1, min(inside) - 1, inside[-1])
