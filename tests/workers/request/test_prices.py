"""Prices of several names, over a table written by hand; names beyond the catalog: test_beyond.py."""

import json
from typing import Any

import numpy as np
import pytest

from trinity.clock import NS_PER_MS
from trinity.compiled import refer_to
from trinity.memory.answer_table import ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.cell import publish
from trinity.native.octets import octets_of
from trinity.process import AskerMemory
from workers.request import answer
from workers.request.answer import CONSENSUS
from workers.request.beyond import make_beyond
from workers.request.prices import write_prices

pytestmark = pytest.mark.uncompiled

NOW = 1_000_000 * NS_PER_MS
ASSETS = answer.make_names(["BTC", "ETH", "DOGE"])
EXCHANGES = answer.make_names(["kraken", "okx"])
BEYOND = make_beyond(AskerMemory.private(), 3, False, 0)


def test_one_bad_asset_never_fails_the_others(make_answer: Any) -> None:
    """A list answers each asset with its own status, in the order asked, unknown names included."""
    words = np.zeros(9 * ROW_WORDS, dtype=np.uint64)
    for row, asset, fields in ((0, "BTC", {}), (3, "ETH", {"state": AnswerState.SOURCES_DISAGREE})):
        good = {"valid_until_ns": NOW + 1, "received_at_ns": NOW - 1500 * NS_PER_MS}
        publish(words, row * ROW_WORDS, SLOT_WORDS, make_answer(asset, **(good | fields)).view(np.uint64))
    request = octets_of(b'btc,"evil\\,ETH,doge,BTC')
    wanted = np.zeros((8, 3), dtype=np.int64)
    count = answer.parse_assets(ASSETS, request, 0, request.size, wanted)
    out = np.zeros(8 * answer.PRICE_BYTES_MAX, dtype=np.uint8)
    record = answer.make_record()
    end, lookups = write_prices(
        words, record, ASSETS, EXCHANGES, refer_to(BEYOND), request, wanted, count, CONSENSUS, NOW, 0, 0, 0, out, 0
    )
    assert lookups == 2, "what has no price costs nothing"
    prices = json.loads(bytes(out[:end]))["prices"]
    assert [price["status"] for price in prices] == [
        "fresh",
        "unknown_asset",
        "sources_disagree",
        "stale_price",
        "fresh",
    ]
    assert prices[1]["asset"] == "?evil?"
