"""The consensus process over real shared memory: what it notices, and a real process that is woken and stopped."""

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from feeds.audit.recorder import DecisionRecorder, RecordSettings
from feeds.consensus import process as aggregator
from feeds.consensus.candles import open_candles
from feeds.consensus.process import Aggregator
from tests.feeds.consensus.cases import EXCHANGES, NOW_NS, context_of, write_quote
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.limits import CONSENSUS_AHEAD_NS, CONSENSUS_WAIT_MS_MAX, INDEX_HOLD_NS
from trinity.memory.answer_table import ROW_WORDS, AnswerState
from trinity.memory.control import COMMAND, HEARTBEAT_NS, Command
from trinity.memory.price_table import RowState
from trinity.observe.metrics import CONSENSUS

BTC, USDT = 0, 2
PRICES = ["71000", "71005", "70998", "71003", "71010", "71002"]
LEGS = [("coinbase", "USDT"), ("kraken", "USDT"), ("cryptocom", "USDT"), ("kraken", "USDC"), ("gateio", "USDC")]
DEADLINE_NS = 60 * NS_PER_SECOND


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def context(clock: ManualClock) -> Iterator[OpenContext]:
    with context_of(clock) as made:
        yield made


def write_market(context: OpenContext, prices: list[str] = PRICES, coin: str = "1") -> None:
    for exchange, price in zip(EXCHANGES, prices, strict=True):
        write_quote(context, exchange, "BTC", price)
    for exchange, asset in LEGS:
        write_quote(context, exchange, asset, coin if asset == "USDT" else "1")


def consensus(context: OpenContext, asset: int = BTC) -> np.void:
    record = context.answers.read(context.answers.row_of(asset))
    assert record is not None
    return record[0]


def versions(context: OpenContext) -> list[int]:
    """The counter of each asset's consensus row."""
    return [int(context.answers.words[context.answers.row_of(asset) * ROW_WORDS]) for asset in range(4)]


def price_of(context: OpenContext) -> object:
    row = consensus(context)
    return json.loads(bytes(row["body"][: int(row["body_length"])]))["price"] if row["body_length"] else None


def test_a_predecessors_quotes_are_published_in_the_first_turn(context: OpenContext, clock: ManualClock) -> None:
    """A restarted process needs no new quote: everything in the table is a change, the indexes included."""
    write_market(context)

    Aggregator(context, context.of_consensus).turn()

    assert price_of(context) == 71002.5
    assert int(consensus(context)["sources"]) == 6
    assert context.block.read(HEARTBEAT_NS) == clock.monotonic_ns()


def test_a_changed_quote_is_published_in_the_next_turn(context: OpenContext) -> None:
    """Only the asset of the changed cell gets a new version."""
    write_market(context)
    process = Aggregator(context, context.of_consensus)
    process.turn()
    before = versions(context)

    for exchange in EXCHANGES:
        write_quote(context, exchange, "BTC", "72000")
    process.turn()

    after = versions(context)
    assert price_of(context) == 72000
    assert [b != a for a, b in zip(after, before, strict=True)] == [True, False, False, False]


def test_a_frozen_mark_counts_without_a_new_quote(context: OpenContext) -> None:
    """A row's state alone is a change."""
    write_market(context)
    process = Aggregator(context, context.of_consensus)
    process.turn()

    context.prices.write_state(0, BTC, RowState.FROZEN)
    process.turn()

    assert int(consensus(context)["sources"]) == 5


def test_time_alone_makes_an_asset_stale(context: OpenContext, clock: ManualClock) -> None:
    """Nobody writes, the age limit passes, the answer says STALE and keeps the last price."""
    write_market(context)
    process = Aggregator(context, context.of_consensus)
    process.turn()
    clock.advance(10.2)
    process.turn()

    assert AnswerState(int(consensus(context)["state"])) is AnswerState.STALE
    assert int(consensus(context)["has_last_good"]) == 1


def test_a_price_that_loses_a_source_of_its_median_is_never_refused_in_between(
    context: OpenContext, clock: ManualClock
) -> None:
    """The turn before its end decides for that end, and the one after has nothing to make up for."""
    write_quote(context, "okx", "BTC", PRICES[5])  # 71002, in the middle
    clock.advance(1)
    for exchange, price in zip(EXCHANGES[:5], PRICES, strict=False):
        write_quote(context, exchange, "BTC", price)
    for exchange, asset in LEGS:
        write_quote(context, exchange, asset, "1")
    process = Aggregator(context, context.of_consensus)
    process.turn()
    end_ns = int(consensus(context)["valid_until_ns"])
    assert end_ns == NOW_NS + 10 * NS_PER_SECOND + 1
    assert process.wait_ms() == CONSENSUS_WAIT_MS_MAX

    clock.now_ns = end_ns - 3 * CONSENSUS_AHEAD_NS
    process.turn()
    assert process.wait_ms() * NS_PER_MS == 2 * CONSENSUS_AHEAD_NS, "it sleeps no longer than up to then"
    assert int(consensus(context)["sources"]) == 6
    clock.now_ns = end_ns - CONSENSUS_AHEAD_NS
    process.turn()

    assert int(consensus(context)["sources"]) == 5
    assert int(consensus(context)["valid_until_ns"]) == end_ns + NS_PER_SECOND
    assert json.loads(bytes(consensus(context)["body"][: int(consensus(context)["body_length"])]))["rejected"] == 1
    clock.now_ns += 1
    beat_ns = context.block.read(HEARTBEAT_NS)
    process.turn()
    assert context.block.read(HEARTBEAT_NS) >= beat_ns, "decided moments never go back"


def test_what_is_due_is_reviewed_behind_the_changed_assets(context: OpenContext, clock: ManualClock) -> None:
    """One turn publishes what a quote changed and what time alone has changed, the changed first."""
    write_market(context)
    process = Aggregator(context, context.of_consensus)
    process.turn()
    clock.advance(10.2)
    for exchange in EXCHANGES:
        write_quote(context, exchange, "SOL" if exchange in ("coinbase", "gemini", "kraken") else "BTC", "72000")

    process.turn()

    assert process.market.reviewed() == [0, 1, 2, 3]
    states = [AnswerState(int(consensus(context, asset)["state"])) for asset in range(4)]
    assert states == [AnswerState.GOOD, AnswerState.GOOD, AnswerState.STALE, AnswerState.STALE]


def test_one_exchange_off_by_a_tenth_in_everything_does_not_move_the_price(context: OpenContext) -> None:
    """Kraken scales BTC, USDT/USD and USDC/USD by 1.1: it is left out, the index and the price stay."""
    write_market(context)
    process = Aggregator(context, context.of_consensus)
    process.turn()
    for asset, price in (("BTC", "78097.8"), ("USDT", "1.1"), ("USDC", "1.1")):
        write_quote(context, "kraken", asset, price)
    for _ in range(3):
        process.turn()
        clock = context.clock
        assert isinstance(clock, ManualClock)
        clock.advance(0.2)

    row = consensus(context)
    assert AnswerState(int(row["state"])) is AnswerState.GOOD
    assert 70998 <= float(price_of(context)) <= 71010  # type: ignore[arg-type]
    assert int(row["rejected"]) >= 1


def test_a_depeg_is_measured_used_and_raised(context: OpenContext, clock: ManualClock) -> None:
    """USDT at 0.97: index words and gauges show it, and the USDT venues still agree with the others."""
    usdt = [f"{float(price) / 0.97:.2f}" if i in (3, 5) else price for i, price in enumerate(PRICES)]
    write_market(context, usdt, coin="0.97")
    process = Aggregator(context, context.of_consensus)
    process.turn()

    assert context.answers.read_index(0) == pytest.approx(0.97)
    assert context.block.read_gauge(CONSENSUS.index("stablecoin_usd_index", "USDT")) == pytest.approx(0.97)
    assert context.block.read_gauge(CONSENSUS.index("stablecoin_depeg", "USDT")) == 2
    assert int(consensus(context)["sources"]) == 6
    assert Aggregator(context, context.of_consensus)._pegs["USDT"].level == 2


def test_a_price_of_18_digits_beside_a_millionth_ends_nothing(context: OpenContext) -> None:
    """A liar beyond all sense is left out like any other, and its distance is bounded in the answer."""
    write_market(context, ["0.00001231", "0.00001232", "0.0000123", "0.00001233", "0.00001234", "99999999999999999"])
    process = Aggregator(context, context.of_consensus)
    process.turn()

    assert AnswerState(int(consensus(context)["state"])) is AnswerState.GOOD
    assert int(consensus(context)["rejected"]) == 1
    assert int(consensus(context)["disagreement_milli_bps"]) == 10**15


def test_without_legs_the_usdt_venues_are_left_out(context: OpenContext) -> None:
    """No index is no conversion at 1.00: four USD venues make the price, and the index words say 0."""
    for exchange, price in zip(EXCHANGES, PRICES, strict=True):
        write_quote(context, exchange, "BTC", price)
    process = Aggregator(context, context.of_consensus)
    process.turn()

    assert int(consensus(context)["sources"]) == 4
    assert context.answers.read_index(0) == 0


def test_two_liars_of_six_make_no_price_although_the_index_was_good_before(
    context: OpenContext, clock: ManualClock
) -> None:
    """Kraken and Crypto.com lie by 5 % in all their markets: nothing of theirs is ever published, then or after a
    restart, and the state says why."""
    write_market(context)
    process = Aggregator(context, context.of_consensus)
    process.turn()
    for exchange in ("kraken", "cryptocom"):
        for asset, price in (("BTC", "67450"), ("USDT", "0.95"), ("USDC", "0.95")):
            if (
                context.prices.read(context.catalog.exchange_index(exchange), context.catalog.asset_index(asset))
                is not None
            ):
                write_quote(context, exchange, asset, price)
    for _ in range(20):
        process.turn()
        price = price_of(context)
        assert price is None or 70998 <= float(price) <= 71010  # type: ignore[arg-type]
        clock.advance(0.2)

    assert AnswerState(int(consensus(context)["state"])) is AnswerState.SOURCES_DISAGREE
    assert AnswerState(int(consensus(context, USDT)["state"])) is not AnswerState.GOOD
    assert context.answers.read_index(0) == 0
    Aggregator(context, context.of_consensus).turn()
    assert AnswerState(int(consensus(context)["state"])) is AnswerState.SOURCES_DISAGREE


def test_a_restart_recalls_the_index_and_its_age(context: OpenContext, clock: ManualClock) -> None:
    """What was measured is held by the successor for what is left of its time."""
    write_market(context)
    Aggregator(context, context.of_consensus).turn()
    write_quote(context, "kraken", "USDT", "0.95")
    write_quote(context, "kraken", "USDC", "0.95")
    for seconds, is_held in ((INDEX_HOLD_NS / NS_PER_SECOND - 1, True), (2, False)):
        clock.advance(seconds)
        write_market(context)
        write_quote(context, "kraken", "USDT", "0.95")
        write_quote(context, "kraken", "USDC", "0.95")
        process = Aggregator(context, context.of_consensus)
        process.turn()
        assert context.answers.read_index(0) == (1.0 if is_held else 0)


# --- a real process ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(context: OpenContext) -> Iterator[BaseProcess]:
    with tempfile.TemporaryDirectory() as data_dir:
        folder = Path(data_dir)
        observers = [
            *open_candles(context, context.answers, folder),
            DecisionRecorder(context, RecordSettings(folder, 1 << 26)),
        ]
        process = get_context("fork").Process(target=aggregator.run, args=(context, context.of_consensus, observers))
        process.start()
        try:
            yield process
        finally:
            process.kill()
            process.join()


def wait_for(context: OpenContext, condition: Callable[[], bool]) -> None:
    until_ns = context.clock.monotonic_ns() + DEADLINE_NS
    while not condition():
        assert context.clock.monotonic_ns() < until_ns, "not in time"
        os.sched_yield()


def write_live(context: OpenContext, prices: list[str]) -> None:
    """Six quotes of now, and one wake-up, as a feed does."""
    for exchange, price in zip(EXCHANGES, prices, strict=True):
        write_quote(context, exchange, "BTC", price)
    os.eventfd_write(context.wake_fd, 1)


@pytest.fixture
def live_context() -> Iterator[OpenContext]:
    with context_of(SystemClock()) as made:
        yield made


def served(context: OpenContext) -> object:
    record = context.answers.read(context.answers.row_of(BTC))
    return price_of(context) if record is not None and record["body_length"][0] else None


def test_a_woken_process_publishes_and_a_signal_ends_it(live_context: OpenContext) -> None:
    """Quotes and a wake-up lead to the price; SIGTERM leads to exit code 0."""
    with running(live_context) as process:
        write_live(live_context, ["71000"] * 6)
        wait_for(live_context, lambda: served(live_context) == 71000)
        write_live(live_context, ["71001.5"] * 6)
        wait_for(live_context, lambda: served(live_context) == 71001.5)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join(20)
        assert process.exitcode == 0


def test_a_killed_process_is_replaced_without_losing_a_price(live_context: OpenContext) -> None:
    """After SIGKILL the old answer stays readable, and a successor goes on from the table."""
    with running(live_context) as process:
        write_live(live_context, ["71000"] * 6)
        wait_for(live_context, lambda: served(live_context) == 71000)
        process.kill()
        process.join()
        assert served(live_context) == 71000
    updates = CONSENSUS.index("price_updates_total")
    counted = live_context.block.read_counter(updates)
    with running(live_context):
        write_live(live_context, ["71001"] * 6)
        wait_for(live_context, lambda: served(live_context) == 71001)
        wait_for(live_context, lambda: live_context.block.read_counter(updates) > counted)


def test_the_drain_command_ends_the_process(live_context: OpenContext) -> None:
    """The supervisor's word and its eventfd are enough; an eventfd without the word is only emptied."""
    with running(live_context) as process:
        wait_for(live_context, lambda: live_context.block.read(HEARTBEAT_NS) > 0)
        os.eventfd_write(live_context.control_fd, 1)
        beat_ns = live_context.block.read(HEARTBEAT_NS)
        wait_for(live_context, lambda: live_context.block.read(HEARTBEAT_NS) > beat_ns)
        live_context.block.write(COMMAND, Command.DRAIN)
        os.eventfd_write(live_context.control_fd, 1)
        process.join(20)
        assert process.exitcode == 0
