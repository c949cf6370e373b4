"""Prices of this service against the compiled rules of the request workers."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.node_fixture import CATALOG, empty_node
from tests.workers.api.live import publish
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.memory.answer_table import AnswerState
from trinity.memory.node import NodeMemory
from trinity.native.octets import octets_of
from workers.api.base.prices import FRESH, Prices
from workers.request import answer

pytestmark = pytest.mark.uncompiled

ASSETS = answer.make_names([asset.name for asset in CATALOG.assets])
EXCHANGES = answer.make_names(CATALOG.exchanges)


@pytest.fixture(scope="module")
def memory() -> Iterator[NodeMemory]:
    with empty_node() as made:
        yield made


def as_a_worker(words: Any, asset: int, now_ns: int) -> tuple[str, bytes]:
    """What the compiled path makes of the same row."""
    record = answer.make_record()
    out = np.zeros(answer.PRICE_BYTES_MAX, dtype=np.uint8)
    answer.read_answer(words, answer.row_of(EXCHANGES, asset, answer.CONSENSUS), record)
    verdict = answer.judge(record, now_ns, 0, 0, 0)
    end = answer.write_price(record, verdict, ASSETS, asset, now_ns, out, 0)
    return answer.VERDICT_CODES[verdict], out[:end].tobytes()


@settings(max_examples=50)
@given(
    state=st.sampled_from(list(AnswerState)),
    price=st.decimals(min_value="0.00000001", max_value=10**6, places=8).map(lambda number: format(number, "f")),
    valid_for_ns=st.integers(-NS_PER_SECOND, NS_PER_SECOND),
    age_ns=st.integers(-5, 10**12),
    has_last_good=st.booleans(),
)
def test_a_price_is_judged_and_worded_as_the_workers_do(
    memory: NodeMemory, state: AnswerState, price: str, valid_for_ns: int, age_ns: int, has_last_good: bool
) -> None:
    """Same code and same bytes for every state, age and validity."""
    now_ns = SystemClock().monotonic_ns()
    times = {"valid_until_ns": now_ns + valid_for_ns, "received_at_ns": now_ns - age_ns}
    publish(memory, "ETH", price, state=state, has_last_good=int(has_last_good), **times)
    prices = Prices(CATALOG, memory.answers)
    index = prices.find("eth")
    assert index is not None
    found = prices.read(index, now_ns)
    assert (found.code, found.body) == as_a_worker(memory.answers.words, index, now_ns)
    assert found.is_fresh == (found.code == FRESH)
    if found.is_fresh:
        assert format(found.usd, "f") == price


def test_an_asset_without_any_price_is_stale() -> None:
    """Nothing was published yet: the same refusal as a lookup's."""
    with empty_node() as memory:
        prices = Prices(CATALOG, memory.answers)
        found = prices.read(3, 1)
        assert (found.code, found.body) == as_a_worker(memory.answers.words, 3, 1)
        assert json.loads(found.body)["status"] == "stale_price"


def test_the_version_changes_with_every_publication() -> None:
    """And with nothing else."""
    with empty_node() as memory:
        prices = Prices(CATALOG, memory.answers)
        btc, eth = prices.find("BTC"), prices.find("ETH")
        assert btc is not None
        assert eth is not None
        before = prices.version(btc), prices.version(eth)
        publish(memory, "BTC")
        assert prices.version(btc) != before[0]
        assert prices.version(eth) == before[1]


@pytest.mark.parametrize("name", ["", "NOPE", "BTC ", "\u017fOL", "B\0TC", "BTC,ETH", "\ud800"])
def test_foreign_names_are_no_assets(name: str) -> None:
    """Also letters whose capitals are ASCII."""
    with empty_node() as memory:
        assert Prices(CATALOG, memory.answers).find(name) is None


def test_an_alias_is_its_asset() -> None:
    """Found in any case, and named as the asset is; a name that left the catalog stays what it is."""
    with empty_node() as memory:
        prices = Prices(CATALOG, memory.answers)
        assert prices.find("ton") == prices.find("GRAM") == CATALOG.asset_index("GRAM")
        assert (prices.name_of("TON"), prices.name_of("GRAM"), prices.name_of("LUNA")) == ("GRAM", "GRAM", "LUNA")
        assert prices.called("GRAM") == "GRAM TON"
        assert len(prices.assets) == len(CATALOG.assets)


@given(st.text(min_size=1, max_size=40) | st.from_regex(r"x{0,9}trk_[a-z0-9]{0,20}", fullmatch=True))
def test_an_unknown_name_is_worded_as_the_workers_do(name: str) -> None:
    """Cut, without what JSON would need to escape, and without what might be a key."""
    octets = octets_of(name.encode(errors="replace"))
    out = np.zeros(answer.PRICE_BYTES_MAX, dtype=np.uint8)
    end = answer.write_refused_name(answer.UNKNOWN_ASSET, octets, 0, octets.size, out, 0)
    assert Prices.unknown(name) == out[:end].tobytes()
