"""workers/push/message.py: bodies joined from shared pieces, read by a foreign JSON parser."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.contexts import OpenContext, open_context
from tests.workers.push.conftest import CATALOG, write_price
from trinity.clock import NS_PER_SECOND
from trinity.limits import SUBSCRIPTION_ASSETS_MAX
from workers.push.message import Recipe, make_recipe, message_id, render
from workers.push.prices import CurrentPrices

NAMES = [asset.name for asset in CATALOG.assets]
PLACES = {name: place for place, name in enumerate(NAMES)}
TIMES = (b"2026-01-01T00:00:00.000Z", b"2026-01-01T00:00:10.000Z")


@pytest.fixture(scope="module")
def context() -> Iterator[OpenContext]:
    with open_context("pusher", "pusher", CATALOG) as made:
        for asset in range(len(NAMES)):
            if asset != 2:
                write_price(made.answers, asset, 123_456_789_012 + asset, scale=8)
        yield made


@pytest.fixture
def prices(context: OpenContext) -> CurrentPrices:
    made = CurrentPrices(context.answers, NAMES)
    made.turn(time.monotonic_ns())
    return made


def _recipe(names: list[str], max_age_ms: int = 0, min_sources: int = 0, *, is_simulated: bool = False) -> Recipe:
    return make_recipe(12, names, PLACES.get, max_age_ms, min_sources, is_simulated=is_simulated)


def test_a_body_is_the_documented_json(prices: CurrentPrices) -> None:
    """CurrentPrices in the order of the subscription, refused ones told by their code."""
    recipe = _recipe([NAMES[4], NAMES[2], NAMES[0]], is_simulated=True)
    body = json.loads(render(recipe, prices, time.monotonic_ns(), 4294967297, "interval", *TIMES))
    assert body["type"] == "price.update"
    assert body["timestamp"] == "2026-01-01T00:00:00.000Z"
    told = body["data"].pop("prices")
    assert body["data"] == {
        "subscription": 12,
        "sequence": 4294967297,
        "reason": "interval",
        "expires_at": "2026-01-01T00:00:10.000Z",
        "simulated": True,
    }
    assert [price["asset"] for price in told] == [NAMES[4], NAMES[2], NAMES[0]]
    assert told[0]["price"] == "1234.56789016"
    assert told[1] == {"asset": NAMES[2], "error": "stale_price"}


def test_what_is_always_the_same_is_not_said_of_real_prices(prices: CurrentPrices) -> None:
    """Only simulated ones are marked."""
    assert b"simulated" not in render(_recipe(NAMES[:3]), prices, time.monotonic_ns(), 1, "interval", *TIMES)


def test_quality_is_the_subscriptions_own(prices: CurrentPrices) -> None:
    """Too old, too few exchanges, or not of this node: each price by itself."""
    now_ns = time.monotonic_ns()
    old = json.loads(
        render(
            _recipe([NAMES[0], NAMES[2]], max_age_ms=1_000), prices, now_ns + 60 * NS_PER_SECOND, 1, "interval", *TIMES
        )
    )
    assert [price["error"] for price in old["data"]["prices"]] == ["price_too_old", "stale_price"]
    few = json.loads(render(_recipe([NAMES[0]], min_sources=7), prices, now_ns, 1, "interval", *TIMES))
    assert few["data"]["prices"][0]["error"] == "too_few_sources"
    other = json.loads(render(_recipe([NAMES[0], "GONE"], max_age_ms=600_000), prices, now_ns, 1, "interval", *TIMES))
    assert "price" in other["data"]["prices"][0]
    assert other["data"]["prices"][1] == {"asset": "GONE", "error": "unknown_asset"}


def test_the_longest_body_stays_below_what_the_specification_asks_for(prices: CurrentPrices) -> None:
    """150 prices with 12 digits are less than 20 kB (Standard Webhooks 1.0)."""
    names = (NAMES * SUBSCRIPTION_ASSETS_MAX)[:SUBSCRIPTION_ASSETS_MAX]
    body = render(_recipe(names), prices, time.monotonic_ns(), (1 << 53) - 1, "deviation", *TIMES)
    assert len(json.loads(body)["data"]["prices"]) == SUBSCRIPTION_ASSETS_MAX
    assert len(body) < 20_000


def test_a_single_asset_is_a_list_of_one(prices: CurrentPrices) -> None:
    """Like any other number of them."""
    assert len(json.loads(render(_recipe(NAMES[:1]), prices, 0, 1, "interval", *TIMES))["data"]["prices"]) == 1


def test_an_id_has_no_dot() -> None:
    """It would be mistaken for the next part of what is signed."""
    assert message_id(12, 4294967297) == "msg_12_4294967297"
