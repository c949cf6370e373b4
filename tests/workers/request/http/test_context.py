"""workers/request/http/context.py"""

import json

import numpy as np
import pytest

from trinity.config import AccessSection
from trinity.limits import COUNTER_WORDS, HEAD_BYTES_MAX
from trinity.markets import load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.answer_table import ROW_WORDS
from workers.request.http.context import RequestContext, make_private_context, response_bytes_max

CATALOG = load_catalog()


@pytest.fixture(scope="module")
def context() -> RequestContext:
    """A worker's memory without a node."""
    words = np.zeros(len(CATALOG.assets) * (1 + len(CATALOG.exchanges)) * ROW_WORDS, dtype=np.uint64)
    counters = np.zeros(COUNTER_WORDS, dtype=np.uint64)
    return make_private_context(words, CATALOG, counters, AccessSection(), AccessMemory.private(10))


def test_the_list_of_assets_is_the_catalog(context: RequestContext) -> None:
    """Every asset with the exchanges that have it, and each other name with the asset that it means."""
    told = json.loads(bytes(context.assets_body))
    assert told["assets"] == [asset.name for asset in CATALOG.assets]
    assert {(asset, exchange) for asset, found in told["markets"].items() for exchange in found} == {
        (market.asset, market.exchange) for market in CATALOG.markets
    }
    assert {CATALOG.names()[alias] for alias in told["aliases"]} == {
        CATALOG.names()[asset] for asset in told["aliases"].values()
    }


def test_the_longest_response_holds_every_body_with_a_head(context: RequestContext) -> None:
    """The loop's output has room for it whatever is asked."""
    for body in (context.body, context.assets_body, context.health_body):
        assert response_bytes_max(context) > body.size
    assert response_bytes_max(context) < 2**20 < HEAD_BYTES_MAX * 2**10


def test_contexts_share_no_scratch_memory() -> None:
    """Two workers in one process, as in tests and benchmarks, do not write into each other's answers."""
    first, second = (
        make_private_context(
            np.zeros(ROW_WORDS, dtype=np.uint64),
            CATALOG,
            np.zeros(COUNTER_WORDS, dtype=np.uint64),
            AccessSection(),
            AccessMemory.private(10),
        )
        for _ in range(2)
    )
    for name in ("body", "head", "query", "wanted"):
        assert not np.shares_memory(getattr(first, name), getattr(second, name))
