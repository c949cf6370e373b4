"""Prices of the past and averages, as Hermes says them, out of stored minutes."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import psycopg
import pytest

from tests.workers.api.conftest import client_of, settings_of
from tests.workers.api.minutes import store_minutes
from workers.api.dropins.coins import feed_id_of
from workers.api.dropins.hermes_past import price_of
from workers.api.history.averages import ClosePrice

BTC, ETH, PEPE = feed_id_of("BTC"), feed_id_of("ETH"), feed_id_of("PEPE")
PAST = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PAST_SECONDS = int(PAST.timestamp())
UNKNOWN = "0x" + "ab" * 32


class RpcPrice(msgspec.Struct, forbid_unknown_fields=True):
    price: str
    conf: str
    expo: int
    publish_time: int


class Binary(msgspec.Struct, forbid_unknown_fields=True):
    encoding: Literal["hex", "base64"]
    data: list[str]


class ParsedTwap(msgspec.Struct, forbid_unknown_fields=True):
    """One average by Hermes' OpenAPI document."""

    id: str
    start_timestamp: int
    end_timestamp: int
    twap: RpcPrice
    down_slots_ratio: str


class LeftOut(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    code: str


class Twaps(msgspec.Struct, forbid_unknown_fields=True):
    """Hermes' TwapsResponse, with what this node says beside it."""

    binary: Binary
    parsed: list[ParsedTwap]
    note: str
    left_out: list[LeftOut] = []


@pytest.fixture
async def client(tmp_path: Path, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """BTC stood at 70,000 for five hours of a day, then at 80,000 for a minute; ETH for that minute alone."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
    store_minutes(database_url, "BTC", "70000.5", range(1, 301), PAST)
    store_minutes(database_url, "BTC", "80000", range(1), PAST)
    store_minutes(database_url, "ETH", "3500.25", range(1), PAST)
    async with client_of(settings_of(tmp_path, auth="optional", database_url=database_url)) as made:
        yield made


async def past(client: httpx.AsyncClient, moment: int, *ids: str, **more: str) -> Any:
    return (await client.get(f"/v2/updates/price/{moment}", params={"ids[]": ids, **more})).json()


@pytest.mark.parametrize("second", [0, 1, 59])
async def test_a_moment_of_the_past_is_its_minute(client: httpx.AsyncClient, second: int) -> None:
    """The minute's last price, published in its last second: at or after the moment, whatever second it is."""
    answer = await past(client, PAST_SECONDS + second, BTC, ETH)
    btc, eth = answer["parsed"]
    assert btc["price"] == {
        "price": "8000000000000",
        "conf": "200000000",
        "expo": -8,
        "publish_time": PAST_SECONDS + 59,
    }
    assert (btc["id"], eth["id"], eth["price"]["price"]) == (BTC, ETH, "350025000000")
    assert (answer["binary"]["data"], "left_out" in answer) == ([], False)
    assert answer["note"].startswith("unsigned")


async def test_the_average_of_the_past_is_that_of_its_own_four_hours(client: httpx.AsyncClient) -> None:
    """The EMA knows the minutes before the moment and none after; without any it is the price."""
    btc, eth = (await past(client, PAST_SECONDS, BTC, ETH))["parsed"]
    assert 70_000 < int(btc["ema_price"]["price"]) / 10**8 < 71_000
    assert eth["ema_price"] == eth["price"]
    (before,) = (await past(client, PAST_SECONDS - 60, BTC))["parsed"]
    assert before["price"]["price"] == before["ema_price"]["price"] == "7000050000000"


async def test_a_feed_without_a_price_there_is_left_out_and_told(client: httpx.AsyncClient) -> None:
    """So is an unknown id when asked so; without any price the answer is a 404 with the reason."""
    answer = await past(client, PAST_SECONDS - 60, ETH, BTC, UNKNOWN, ignore_invalid_price_ids="true")
    assert [feed["id"] for feed in answer["parsed"]] == [BTC]
    assert answer["left_out"] == [{"id": ETH, "code": "no_price"}, {"id": UNKNOWN, "code": "unknown_price_id"}]
    now = int(time.time())
    for moment, reason in (
        (PAST_SECONDS + 60, "none stood in that minute"),
        (now, "not stored yet"),
        (now + 3600, "in the future"),
        (0, "none stood in that minute"),
    ):
        refused = await client.get(f"/v2/updates/price/{moment}", params={"ids[]": BTC})
        assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (
            404,
            "no_price",
            "publish_time",
        )
        assert reason in refused.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status", "code", "field"),
    [
        (f"price/-1?ids[]={BTC}", 400, "bad_parameter", "publish_time"),
        (f"price/99999999999999999999?ids[]={BTC}", 400, "bad_parameter", "publish_time"),
        ("price/1", 400, "bad_parameter", "ids[]"),
        (f"price/1?ids[]={UNKNOWN}", 404, "unknown_price_id", "ids[]"),
        (f"price/1?ids[]={BTC}&parsed=false", 400, "bad_parameter", "parsed"),
        (f"price/1?ids[]={BTC}&encoding=morse", 400, "bad_parameter", "encoding"),
        (f"price/1?ids[]={BTC}", 503, "database_unavailable", None),
        (f"twap/0/latest?ids[]={BTC}", 400, "bad_parameter", "window_seconds"),
        (f"twap/601/latest?ids[]={BTC}", 400, "bad_parameter", "window_seconds"),
        ("twap/60/latest", 400, "bad_parameter", "ids[]"),
        (f"twap/60/latest?ids[]={UNKNOWN}", 404, "unknown_price_id", "ids[]"),
        (f"twap/60/latest?ids[]={BTC}", 503, "database_unavailable", None),
    ],
)
async def test_wrong_requests_are_refused(
    optional_client: httpx.AsyncClient, path: str, status: int, code: str, field: str | None
) -> None:
    """With a code and the field that is to blame."""
    answer = await optional_client.get(f"/v2/updates/{path}")
    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (status, code, field)


async def test_an_average_is_exact_over_the_minutes_that_it_names(tmp_path: Path, database_url: str) -> None:
    """Weighted by time over whole minutes, no fewer seconds than asked for; what did not stand is in the ratio."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
    now = datetime.now(UTC)
    store_minutes(database_url, "BTC", "70000", range(20), now)
    store_minutes(database_url, "PEPE", "0.0000123", range(20), now)
    with psycopg.connect(database_url) as connection:
        # Each minute its own price and confidence, and stood for half of it.
        connection.execute(
            "UPDATE price_minute SET weighted_ms = 30000, weighted_sum = 30000 * (70000 + n), confidence = n FROM ("
            "SELECT minute AS m, asset_id AS a, 10.0 + extract(epoch FROM minute)::bigint / 60 %% 7 AS n"
            " FROM price_minute) AS numbered, assets"
            " WHERE minute = m AND asset_id = a AND assets.id = asset_id AND assets.name = 'BTC'".replace("%%", "%")
        )
    async with client_of(settings_of(tmp_path, auth="optional", database_url=database_url)) as client:
        for window, minutes in ((1, 1), (60, 1), (61, 2), (600, 10)):
            path = f"/v2/updates/twap/{window}/latest"
            found = await client.get(path, params={"ids[]": [BTC, PEPE, ETH, UNKNOWN], "ignore_invalid_price_ids": "1"})
            answer = msgspec.json.decode(found.content, type=Twaps)
            btc, pepe = answer.parsed
            assert btc.end_timestamp - btc.start_timestamp == 60 * minutes
            assert btc.end_timestamp % 60 == 0
            assert 10 <= time.time() - btc.end_timestamp < 80
            steps = [10 + minute % 7 for minute in range(btc.start_timestamp // 60, btc.end_timestamp // 60)]
            mean = Decimal(sum(steps)) / minutes
            assert btc.twap.price == str(round((70_000 + mean) * 10**8))
            assert abs(int(btc.twap.conf) - mean * 10**8) <= 1
            assert (btc.twap.publish_time, btc.down_slots_ratio) == (btc.end_timestamp, "0.500000")
            assert (pepe.twap.price, pepe.twap.expo, pepe.down_slots_ratio) == ("123000", -10, "0.000000")
            assert {left.id: left.code for left in answer.left_out} == {ETH: "no_price", UNKNOWN: "unknown_price_id"}
        nothing = await client.get("/v2/updates/twap/60/latest", params={"ids[]": ETH})
        assert (nothing.status_code, nothing.json()["code"]) == (404, "no_price")


@pytest.mark.parametrize("price", ["70000", "7E+4", "0.00001234", "123456.789"])
@pytest.mark.parametrize("confidence", ["5", "0.000000001", "1E+1"])
def test_a_stored_price_keeps_every_digit(price: str, confidence: str) -> None:
    """Price and confidence have one scale, whatever digits each was stored with."""
    made = price_of("BTC", ClosePrice(PAST_SECONDS // 60, Decimal(price), Decimal(confidence)))
    assert (made.usd, Decimal(made.confidence).scaleb(-made.scale)) == (Decimal(price), Decimal(confidence))
    assert made.timestamp_ms == (PAST + timedelta(seconds=59)).timestamp() * 1000
