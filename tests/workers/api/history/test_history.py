"""/history, /twap, /price_at and /explain over a real database: numbers, gaps, and everything that is refused."""

import asyncio
import dataclasses
import json
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.workers.api.conftest import application_of, client_to, opened, settings_of
from trinity.errors import AbsentError
from workers.api.history.history import CANDLES_MAX

# Ten minutes of two hours ago: 0, 1, 2 and 7, 8 have a price.
MINUTE = timedelta(minutes=1)
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
PRICES = {0: ("100", 60_000), 1: ("200.5", 60_000), 2: ("300", 30_000), 7: ("400", 60_000), 8: ("410", 60_000)}


UNDER_WAY, GO_ON = threading.Event(), threading.Event()


def explain(asset: str, at_ns: int | None) -> object:
    if asset == "ETH" and at_ns is not None:
        UNDER_WAY.set()
        assert GO_ON.wait(20)
    if at_ns is not None and at_ns < 1_700_000_000 * 10**9:
        raise AbsentError("recording", f"of {asset} at that time", "it was off")
    return {"asset": asset, "at": at_ns}


@pytest.fixture
async def client(tmp_path: Path, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO assets (name) VALUES ('BTC'), ('LUNA')")
        for offset, (price, weighted_ms) in PRICES.items():
            connection.execute(
                "INSERT INTO price_minute VALUES ((SELECT id FROM assets WHERE name = 'BTC'), %(at)s, %(price)s, "
                "%(price)s, %(price)s, %(price)s, 5, 0.25, 3, %(sum)s, %(ms)s, 1)",
                {"at": START + MINUTE * offset, "price": price, "sum": Decimal(price) * weighted_ms, "ms": weighted_ms},
            )
    settings = settings_of(tmp_path, auth="optional", database_url=database_url)
    async with opened(settings) as made:
        history = dataclasses.replace(made.features.history, explain=explain)
        explaining = dataclasses.replace(made, features=made.features._replace(history=history))
        async with client_to(application_of(explaining)) as asking:
            yield asking


def at(offset: int) -> str:
    return (START + MINUTE * offset).isoformat().replace("+00:00", "Z")


async def get(client: httpx.AsyncClient, path: str, **parameters: Any) -> Any:
    response = await client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal)


async def refusal(client: httpx.AsyncClient, path: str, **parameters: Any) -> tuple[int, str, str | None]:
    response = await client.get(path, params=parameters)
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, problem["code"], problem.get("field")


async def test_candles_come_with_their_gaps(client: httpx.AsyncClient) -> None:
    """Every bucket of the range is either a candle or within a gap, and prices are exact numbers."""
    report = await get(client, "/history", **{"asset": "btc", "granularity": "1m", "from": at(0), "to": at(10)})

    assert [(candle["start"], candle["close"]) for candle in report["candles"]] == [
        (at(offset), Decimal(price)) for offset, (price, _) in PRICES.items()
    ]
    assert [(gap["start"], gap["end"]) for gap in report["gaps"]] == [(at(3), at(7)), (at(9), at(10))]
    third = report["candles"][2]
    assert (third["coverage"], third["sources"], third["confidence"]) == (Decimal("0.5"), 5, Decimal("0.25"))


async def test_coarser_candles_are_made_of_minutes(client: httpx.AsyncClient) -> None:
    """Five minutes and the hour: open of the first, close of the last, extremes, average by time."""
    query = {"asset": "BTC", "from": at(0), "to": at(10)}
    five = (await get(client, "/history", granularity="5m", **query))["candles"]
    assert [(one["open"], one["high"], one["low"], one["close"], one["samples"]) for one in five] == [
        (100, 300, 100, 300, 9),
        (400, 410, 400, 410, 6),
    ]
    assert five[0]["average"] == Decimal("180.2")
    (hour,) = (await get(client, "/history", granularity="1h", **query))["candles"]
    assert (hour["open"], hour["close"], hour["samples"]) == (100, 410, 15)


async def test_what_is_not_stored_yet_is_no_gap(client: httpx.AsyncClient) -> None:
    """The running minute and the future have neither candle nor gap."""
    now = datetime.now(UTC)
    report = await get(client, "/history", asset="BTC", to=(now + timedelta(hours=1)).isoformat())
    assert datetime.fromisoformat(report["gaps"][-1]["end"]) <= now
    report = await get(client, "/history", **{"asset": "BTC", "from": "2090-01-01", "to": "2090-01-02"})
    assert (report["candles"], report["gaps"]) == ([], [])


async def test_an_average_says_what_it_covers_or_is_refused(client: httpx.AsyncClient) -> None:
    """Weighted by time over whole minutes; below the bound only when it is asked for."""
    whole = await get(client, "/twap", **{"asset": "BTC", "from": at(0), "to": at(2)})
    assert (whole["price"], whole["coverage"], whole["minutes"]) == (Decimal("150.25"), 1, 2)

    query = {"asset": "BTC", "from": at(0), "to": at(4)}
    assert await refusal(client, "/twap", **query) == (404, "coverage_too_low", "min_coverage")
    part = await get(client, "/twap", min_coverage=0.5, **query)
    assert (part["price"], part["coverage"]) == (Decimal("180.2"), Decimal("0.625"))
    nothing = {"asset": "BTC", "from": at(3), "to": at(7), "min_coverage": 0}
    assert (await refusal(client, "/twap", **nothing))[1] == "coverage_too_low"


async def test_a_moment_is_answered_by_its_minute(client: httpx.AsyncClient) -> None:
    """The candle that covers it and its resolution; in a gap a 404 that names the neighbours."""
    moment = (START + MINUTE + timedelta(seconds=31)).isoformat()
    found = await get(client, "/price_at", asset="BTC", timestamp=moment)
    assert (found["price"], found["resolution"], found["candle"]["start"]) == (Decimal("200.5"), "1m", at(1))

    response = await client.get("/price_at", params={"asset": "BTC", "timestamp": at(4)})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (404, "no_price")
    assert (START + 2 * MINUTE).isoformat() in problem["detail"]
    assert (START + 7 * MINUTE).isoformat() in problem["detail"]
    now = datetime.now(UTC)
    for moment, reason in (
        (START + 4 * MINUTE, "it is in a gap"),
        (now, "it is not stored yet"),
        (now + timedelta(days=1), "it is in the future"),
    ):
        response = await client.get("/price_at", params={"asset": "BTC", "timestamp": moment.isoformat()})
        assert reason in response.json()["detail"]


async def test_a_border_belongs_to_the_minute_that_it_begins(client: httpx.AsyncClient) -> None:
    """For a moment, for an average and for candles alike; a range without length is refused."""
    assert (await get(client, "/price_at", asset="BTC", timestamp=at(1)))["price"] == Decimal("200.5")
    before = (START + MINUTE - timedelta(microseconds=1)).isoformat()
    assert (await get(client, "/price_at", asset="BTC", timestamp=before))["price"] == 100
    second = {"asset": "BTC", "from": at(1), "to": at(2)}
    assert (await get(client, "/twap", **second))["price"] == Decimal("200.5")
    assert [one["close"] for one in (await get(client, "/history", **second))["candles"]] == [Decimal("200.5")]
    for path in ("/twap", "/history"):
        nothing = {"asset": "BTC", "from": at(1), "to": at(1)}
        assert await refusal(client, path, **nothing) == (400, "bad_parameter", "to")


async def test_explanations_come_from_the_rules_that_were_put_in(client: httpx.AsyncClient) -> None:
    """Now, or at a recorded moment; one that was not recorded is a 404."""
    assert await get(client, "/explain", asset="btc") == {"asset": "BTC", "at": None}
    past = await get(client, "/explain", asset="BTC", at="2026-01-01T00:00:00.000001Z")
    assert past["at"] == 1_767_225_600_000_001_000
    assert await refusal(client, "/explain", asset="BTC", at="2001-01-01") == (404, "not_recorded", "at")
    assert await refusal(client, "/explain", asset="DOGECOINX") == (404, "unknown_asset", "asset")
    unknown = await refusal(client, "/explain", asset="DOGECOINX", at="2001-01-01")
    assert unknown == (404, "unknown_asset", "asset")


async def test_recorded_moments_are_explained_one_at_a_time(client: httpx.AsyncClient) -> None:
    """A second caller is sent away until the first work has ended, also when nobody waits for it any more."""
    past = {"at": "2026-01-01T00:00:00Z"}
    UNDER_WAY.clear()
    GO_ON.clear()
    first = asyncio.create_task(client.get("/explain", params={"asset": "ETH"} | past))
    assert await asyncio.to_thread(UNDER_WAY.wait, 20)
    first.cancel()
    await asyncio.wait([first])
    refused = await client.get("/explain", params={"asset": "BTC"} | past)
    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_explanations")
    assert refused.headers["Retry-After"] == "1"
    assert (await client.get("/explain", params={"asset": "BTC"})).status_code == 200
    GO_ON.set()
    async with asyncio.timeout(60):
        while (await client.get("/explain", params={"asset": "BTC"} | past)).status_code != 200:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "parameters", "expected"),
    [
        ("/history", {"asset": "NOPE"}, (404, "unknown_asset", "asset")),
        ("/history", {}, (400, "bad_parameter", "asset")),
        ("/history", {"asset": "BTC,ETH"}, (400, "bad_parameter", "asset")),
        ("/history", {"asset": "'; DROP TABLE price_minute; --"}, (404, "unknown_asset", "asset")),
        ("/history", {"asset": "BTC", "granularity": "2m"}, (400, "bad_parameter", "granularity")),
        ("/history", {"asset": "BTC", "from": "yesterday"}, (400, "bad_parameter", "from")),
        ("/history", {"asset": "BTC", "from": "2026-02-30"}, (400, "bad_parameter", "from")),
        ("/history", {"asset": "BTC", "from": at(5), "to": at(4)}, (400, "bad_parameter", "to")),
        ("/history", {"asset": "BTC", "tz": "Mars/Olympus"}, (400, "bad_parameter", "tz")),
        ("/history", {"asset": "BTC", "limit": "5"}, (400, "unknown_parameter", "limit")),
        ("/twap", {"asset": "BTC", "min_coverage": "2"}, (400, "bad_parameter", "min_coverage")),
        ("/twap", {"asset": "BTC", "from": "2090-01-01", "to": "2090-01-02"}, (400, "bad_parameter", "to")),
        ("/price_at", {"asset": "BTC"}, (400, "bad_parameter", "timestamp")),
        ("/price_at", {"asset": "BTC", "timestamp": "9" * 30}, (400, "bad_parameter", "timestamp")),
        ("/price_at", {"asset": "LUNA", "timestamp": at(0)}, (404, "no_price", "timestamp")),
        ("/explain", {"asset": "BTC", "at": "x"}, (400, "bad_parameter", "at")),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_refused_by_name(
    client: httpx.AsyncClient, path: str, parameters: dict[str, str], expected: tuple[int, str, str | None]
) -> None:
    """A typed problem with the parameter to blame."""
    assert await refusal(client, path, **parameters) == expected


async def test_a_range_is_bounded(client: httpx.AsyncClient) -> None:
    """More candles than an answer holds are refused, and the sentence says the bound."""
    first = (datetime.now(UTC) - timedelta(days=20)).isoformat()
    response = await client.get("/history", params={"asset": "BTC", "from": first})
    assert (response.status_code, response.json()["code"]) == (400, "range_too_large")
    assert str(CANDLES_MAX) in response.json()["detail"]
    assert (
        await client.get("/history", params={"asset": "BTC", "from": first, "granularity": "5m"})
    ).status_code == 200
