"""A node's shared memory without its processes: tests write what feeds, consensus and supervisor would have written."""

import contextlib
import uuid
from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from tests.support.quotes import stored_quote
from trinity.markets import load_catalog
from trinity.memory.answer_table import ANSWER_DTYPE, AnswerState, AnswerTable
from trinity.memory.control import HEARTBEAT_NS, PID, RESTARTS, STARTED_NS
from trinity.memory.node import Card, NodeMemory, ProcessEntry, name_of
from trinity.memory.price_table import PriceTable, RowState, Via
from trinity.observe.metrics import FEED, FLUSHER

MS = 1_000_000
SECOND = 1_000_000_000
# Long ago on any machine that runs tests: who goes by the system's clock finds prices that are over.
NOW_NS = 200 * SECOND
WALL_NS = 1_700_000_000 * SECOND
CATALOG = load_catalog()
ENTRIES = (
    *[ProcessEntry(f"feed-{exchange}", "feed") for exchange in CATALOG.exchanges],
    ProcessEntry("consensus", "consensus"),
    ProcessEntry("worker-0", "worker"),
    ProcessEntry("worker-1", "worker"),
    ProcessEntry("health", "health"),
    ProcessEntry("database", "database"),
    ProcessEntry("access", "access"),
    ProcessEntry("operator", "operator"),
    ProcessEntry("reporter-0", "reporter"),
    ProcessEntry("flusher", "flusher"),
)


@contextlib.contextmanager
def empty_node(simulated: bool = False) -> Iterator[NodeMemory]:
    """A node that has just made its memory: nothing has happened yet."""
    card = Card(f"t-{uuid.uuid4().hex[:12]}", simulated, ENTRIES, CATALOG)
    memory = NodeMemory.create(card)
    try:
        yield memory
    finally:
        memory.unlink()


@contextlib.contextmanager
def busy_node(simulated: bool = False) -> Iterator[NodeMemory]:
    """A node at `NOW_NS` in which everything is well."""
    with empty_node(simulated) as memory:
        for index in range(len(ENTRIES)):
            set_process(memory, index, beat_age_ns=100 * MS)
        for exchange_index, exchange in enumerate(CATALOG.exchanges):
            memory.control.block(exchange_index).set_gauge(FEED.index("ws_connected"), 1.0)
            for market in CATALOG.markets_of(exchange):
                set_source(memory, exchange, market.asset)
        for asset in CATALOG.assets:
            set_answer(memory, asset.name)
        for gauge in ("usage_database_up", "usage_spool_writable", "usage_spool_synced"):
            memory.control.block(len(ENTRIES) - 1).set_gauge(FLUSHER.index(gauge), 1.0)
        memory.answers.write_index(0, 0.9995)
        memory.answers.write_index(1, 1.0001)
        yield memory


def set_process(memory: NodeMemory, index: int, beat_age_ns: int, restarts: int = 0) -> None:
    """A process that was started 100 s ago and last beat `beat_age_ns` ago."""
    block = memory.control.block(index)
    block.write(PID, 1000 + index)
    block.write(STARTED_NS, NOW_NS - 100 * SECOND)
    block.write(RESTARTS, restarts)
    block.write(HEARTBEAT_NS, NOW_NS - beat_age_ns)


def set_source(
    memory: NodeMemory, exchange: str, asset: str, state: RowState = RowState.LIVE, via: Via = Via.WS, age_ms: int = 50
) -> None:
    """A row with one quote that is used by the consensus."""
    row = CATALOG.exchange_index(exchange), CATALOG.asset_index(asset)
    quote = stored_quote(Decimal("10.1"), Decimal("10.3"), None, None, NOW_NS - age_ms * MS, WALL_NS, via)
    memory.prices.write(*row, quote)
    memory.prices.write_state(*row, state)
    memory.answers.write_verdict(*row, 1)


def set_answer(
    memory: NodeMemory,
    asset: str,
    state: AnswerState = AnswerState.GOOD,
    valid_for_ns: int = 10 * SECOND,
    majority: int = 3,
) -> None:
    """A consensus price of 71002.5 out of five sources, one rejected; an error keeps it as the last good one."""
    answer = np.zeros(1, dtype=ANSWER_DTYPE)
    row = answer[0]
    row["state"] = state
    row["valid_until_ns"] = NOW_NS + valid_for_ns
    row["received_at_ns"] = NOW_NS - 30 * MS
    row["timestamp_ms"] = WALL_NS // MS - 30
    row["price"], row["scale"] = 710025, 1
    row["sources"], row["rejected"], row["sources_required"], row["has_last_good"] = 5, 1, 3, 1
    row["voters"] = 5
    if state is not AnswerState.GOOD:
        row["sources"], row["confidence"] = 0, 0
    row["majority"] = majority if state is AnswerState.SOURCES_DISAGREE else 0
    row["disagreement_milli_bps"], row["confidence_milli_bps"] = 1690, 2500
    memory.answers.write(memory.answers.row_of(CATALOG.asset_index(asset)), answer)


def fill_spare_rows(memory: NodeMemory) -> None:
    """Good prices, quotes and verdicts in every row that is not in use, by who takes all of them to be."""
    card = memory.card
    shape = len(card.catalog.exchanges), card.capacity, card.capacity
    answers = AnswerTable.attach(name_of(card.node, "answers"), *shape)
    prices = PriceTable.attach(name_of(card.node, "prices"), *shape)
    answer = memory.answers.read(memory.answers.row_of(0))
    quote = memory.prices.read(0, CATALOG.asset_index(CATALOG.markets_of(CATALOG.exchanges[0])[0].asset))
    assert answer is not None
    assert quote is not None
    for asset in range(len(card.catalog.assets), card.capacity):
        answers.write(answers.row_of(asset), answer)
        for exchange in range(len(card.catalog.exchanges)):
            answers.write(answers.row_of(asset, exchange), answer)
            answers.write_verdict(exchange, asset, 1)
            prices.write(exchange, asset, quote)
            prices.write_state(exchange, asset, RowState.LIVE)
