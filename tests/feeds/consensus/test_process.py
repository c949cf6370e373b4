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
from tests.feeds.consensus.cases import EXCHANGES, NOW_NS, ManualClock, seat_of, write_quote
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.limits import CONSENSUS_AHEAD_NS, CONSENSUS_WAIT_MS_MAX, INDEX_HOLD_NS
from trinity.memory.answer_table import ROW_WORDS, AnswerState
from trinity.memory.control import COMMAND, HEARTBEAT_NS, Command
from trinity.memory.price_table import RowState
from trinity.observe.metrics import CONSENSUS
from trinity.process import Seat

BTC, USDT = 0, 2
PRICES = ["71000", "71005", "70998", "71003", "71010", "71002"]
LEGS = [("coinbase", "USDT"), ("kraken", "USDT"), ("cryptocom", "USDT"), ("kraken", "USDC"), ("gateio", "USDC")]
DEADLINE_NS = 20 * NS_PER_SECOND


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def seat(clock: ManualClock) -> Iterator[Seat]:
    with seat_of(clock) as made:
        yield made


def write_market(seat: Seat, prices: list[str] = PRICES, coin: str = "1") -> None:
    for exchange, price in zip(EXCHANGES, prices, strict=True):
        write_quote(seat, exchange, "BTC", price)
    for exchange, asset in LEGS:
        write_quote(seat, exchange, asset, coin if asset == "USDT" else "1")


def consensus(seat: Seat, asset: int = BTC) -> np.void:
    record = seat.answers.read(seat.answers.row_of(asset))
    assert record is not None
    return record[0]


def versions(seat: Seat) -> list[int]:
    """The counter of each asset's consensus row."""
    return [int(seat.answers.words[seat.answers.row_of(asset) * ROW_WORDS]) for asset in range(4)]


def price_of(seat: Seat) -> object:
    row = consensus(seat)
    return json.loads(bytes(row["body"][: int(row["body_length"])]))["price"] if row["body_length"] else None


def test_a_predecessors_quotes_are_published_in_the_first_turn(seat: Seat, clock: ManualClock) -> None:
    """A restarted process needs no new quote: everything in the table is a change, the indexes included."""
    write_market(seat)

    Aggregator(seat).turn()

    assert price_of(seat) == 71002.5
    assert int(consensus(seat)["sources"]) == 6
    assert seat.block.read(HEARTBEAT_NS) == clock.monotonic_ns()


def test_a_changed_quote_is_published_in_the_next_turn(seat: Seat) -> None:
    """Only the asset of the changed cell gets a new version."""
    write_market(seat)
    process = Aggregator(seat)
    process.turn()
    before = versions(seat)

    for exchange in EXCHANGES:
        write_quote(seat, exchange, "BTC", "72000")
    process.turn()

    after = versions(seat)
    assert price_of(seat) == 72000
    assert [b != a for a, b in zip(after, before, strict=True)] == [True, False, False, False]


def test_a_frozen_mark_counts_without_a_new_quote(seat: Seat) -> None:
    """A row's state alone is a change."""
    write_market(seat)
    process = Aggregator(seat)
    process.turn()

    seat.prices.write_state(0, BTC, RowState.FROZEN)
    process.turn()

    assert int(consensus(seat)["sources"]) == 5


def test_time_alone_makes_an_asset_stale(seat: Seat, clock: ManualClock) -> None:
    """Nobody writes, the age limit passes, the answer says STALE and keeps the last price."""
    write_market(seat)
    process = Aggregator(seat)
    process.turn()
    clock.advance(10.2)
    process.turn()

    assert AnswerState(int(consensus(seat)["state"])) is AnswerState.STALE
    assert int(consensus(seat)["has_last_good"]) == 1


def test_a_price_that_loses_a_source_of_its_median_is_never_refused_in_between(seat: Seat, clock: ManualClock) -> None:
    """The turn before its end decides for that end, and the one after has nothing to make up for."""
    write_quote(seat, "okx", "BTC", PRICES[5])  # 71002, in the middle
    clock.advance(1)
    for exchange, price in zip(EXCHANGES[:5], PRICES, strict=False):
        write_quote(seat, exchange, "BTC", price)
    for exchange, asset in LEGS:
        write_quote(seat, exchange, asset, "1")
    process = Aggregator(seat)
    process.turn()
    end_ns = int(consensus(seat)["valid_until_ns"])
    assert end_ns == NOW_NS + 10 * NS_PER_SECOND + 1
    assert process.wait_ms() == CONSENSUS_WAIT_MS_MAX

    clock.now_ns = end_ns - 3 * CONSENSUS_AHEAD_NS
    process.turn()
    assert process.wait_ms() * NS_PER_MS == 2 * CONSENSUS_AHEAD_NS, "it sleeps no longer than up to then"
    assert int(consensus(seat)["sources"]) == 6
    clock.now_ns = end_ns - CONSENSUS_AHEAD_NS
    process.turn()

    assert int(consensus(seat)["sources"]) == 5
    assert int(consensus(seat)["valid_until_ns"]) == end_ns + NS_PER_SECOND
    assert json.loads(bytes(consensus(seat)["body"][: int(consensus(seat)["body_length"])]))["rejected"] == 1
    clock.now_ns += 1
    beat_ns = seat.block.read(HEARTBEAT_NS)
    process.turn()
    assert seat.block.read(HEARTBEAT_NS) >= beat_ns, "decided moments never go back"


def test_reviews_come_a_few_a_turn_behind_the_changed_assets(
    seat: Seat, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quote never waits behind all the assets that are due, and the turn says that more are due."""
    write_market(seat)
    process = Aggregator(seat)
    process.turn()
    clock.advance(10.2)
    monkeypatch.setattr("feeds.consensus.process.CONSENSUS_REVIEWS_MAX", 1)
    for exchange in EXCHANGES:
        write_quote(seat, exchange, "BTC", "72000")

    done = [process.turn() for _ in range(3)]

    assert done == [False, False, True]
    assert price_of(seat) == 72000
    states = [AnswerState(int(consensus(seat, asset)["state"])) for asset in range(4)]
    assert states == [AnswerState.GOOD, AnswerState.EMPTY, AnswerState.STALE, AnswerState.STALE]


def test_one_exchange_off_by_a_tenth_in_everything_does_not_move_the_price(seat: Seat) -> None:
    """Kraken scales BTC, USDT/USD and USDC/USD by 1.1: it is left out, the index and the price stay."""
    write_market(seat)
    process = Aggregator(seat)
    process.turn()
    for asset, price in (("BTC", "78097.8"), ("USDT", "1.1"), ("USDC", "1.1")):
        write_quote(seat, "kraken", asset, price)
    for _ in range(3):
        process.turn()
        clock = seat.clock
        assert isinstance(clock, ManualClock)
        clock.advance(0.2)

    row = consensus(seat)
    assert AnswerState(int(row["state"])) is AnswerState.GOOD
    assert 70998 <= float(price_of(seat)) <= 71010  # type: ignore[arg-type]
    assert int(row["rejected"]) >= 1


def test_a_depeg_is_measured_used_and_raised(seat: Seat, clock: ManualClock) -> None:
    """USDT at 0.97: index words and gauges show it, and the USDT venues still agree with the others."""
    usdt = [f"{float(price) / 0.97:.2f}" if i in (3, 5) else price for i, price in enumerate(PRICES)]
    write_market(seat, usdt, coin="0.97")
    process = Aggregator(seat)
    process.turn()

    assert seat.answers.read_index(0) == pytest.approx(0.97)
    assert seat.block.read_gauge(CONSENSUS.index("oracle_usdt_usd_index")) == pytest.approx(0.97)
    assert seat.block.read_gauge(CONSENSUS.index("oracle_stablecoin_depeg", "USDT")) == 2
    assert int(consensus(seat)["sources"]) == 6
    assert Aggregator(seat)._pegs["USDT"].level == 2


def test_without_legs_the_usdt_venues_are_left_out(seat: Seat) -> None:
    """No index is no conversion at 1.00: four USD venues make the price, and the index words say 0."""
    for exchange, price in zip(EXCHANGES, PRICES, strict=True):
        write_quote(seat, exchange, "BTC", price)
    process = Aggregator(seat)
    process.turn()

    assert int(consensus(seat)["sources"]) == 4
    assert seat.answers.read_index(0) == 0


def test_two_liars_of_six_make_no_price_although_the_index_was_good_before(seat: Seat, clock: ManualClock) -> None:
    """Kraken and Crypto.com lie by 5 % in all their markets: nothing of theirs is ever published, then or after a
    restart, and the state says why."""
    write_market(seat)
    process = Aggregator(seat)
    process.turn()
    for exchange in ("kraken", "cryptocom"):
        for asset, price in (("BTC", "67450"), ("USDT", "0.95"), ("USDC", "0.95")):
            if seat.prices.read(seat.catalog.exchange_index(exchange), seat.catalog.asset_index(asset)) is not None:
                write_quote(seat, exchange, asset, price)
    for _ in range(20):
        process.turn()
        price = price_of(seat)
        assert price is None or 70998 <= float(price) <= 71010  # type: ignore[arg-type]
        clock.advance(0.2)

    assert AnswerState(int(consensus(seat)["state"])) is AnswerState.SOURCES_DISAGREE
    assert AnswerState(int(consensus(seat, USDT)["state"])) is not AnswerState.GOOD
    assert seat.answers.read_index(0) == 0
    Aggregator(seat).turn()
    assert AnswerState(int(consensus(seat)["state"])) is AnswerState.SOURCES_DISAGREE


def test_a_restart_recalls_the_index_and_its_age(seat: Seat, clock: ManualClock) -> None:
    """What was measured is held by the successor for what is left of its time."""
    write_market(seat)
    Aggregator(seat).turn()
    write_quote(seat, "kraken", "USDT", "0.95")
    write_quote(seat, "kraken", "USDC", "0.95")
    for seconds, is_held in ((INDEX_HOLD_NS / NS_PER_SECOND - 1, True), (2, False)):
        clock.advance(seconds)
        write_market(seat)
        write_quote(seat, "kraken", "USDT", "0.95")
        write_quote(seat, "kraken", "USDC", "0.95")
        process = Aggregator(seat)
        process.turn()
        assert seat.answers.read_index(0) == (1.0 if is_held else 0)


# --- a real process ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(seat: Seat) -> Iterator[BaseProcess]:
    with tempfile.TemporaryDirectory() as data_dir:
        folder = Path(data_dir)
        observers = [*open_candles(seat, folder), DecisionRecorder(seat, RecordSettings(folder, 1 << 26))]
        process = get_context("fork").Process(target=aggregator.run, args=(seat, observers))
        process.start()
        try:
            yield process
        finally:
            process.kill()
            process.join()


def wait_for(seat: Seat, condition: Callable[[], bool]) -> None:
    until_ns = seat.clock.monotonic_ns() + DEADLINE_NS
    while not condition():
        assert seat.clock.monotonic_ns() < until_ns, "not in time"
        os.sched_yield()


def write_live(seat: Seat, prices: list[str]) -> None:
    """Six quotes of now, and one wake-up, as a feed does."""
    for exchange, price in zip(EXCHANGES, prices, strict=True):
        write_quote(seat, exchange, "BTC", price)
    os.eventfd_write(seat.wake_fd, 1)


@pytest.fixture
def live_seat() -> Iterator[Seat]:
    with seat_of(SystemClock()) as made:
        yield made


def served(seat: Seat) -> object:
    record = seat.answers.read(seat.answers.row_of(BTC))
    return price_of(seat) if record is not None and record["body_length"][0] else None


def test_a_woken_process_publishes_and_a_signal_ends_it(live_seat: Seat) -> None:
    """Quotes and a wake-up lead to the price; SIGTERM leads to exit code 0."""
    with running(live_seat) as process:
        write_live(live_seat, ["71000"] * 6)
        wait_for(live_seat, lambda: served(live_seat) == 71000)
        write_live(live_seat, ["71001.5"] * 6)
        wait_for(live_seat, lambda: served(live_seat) == 71001.5)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join(20)
        assert process.exitcode == 0


def test_a_killed_process_is_replaced_without_losing_a_price(live_seat: Seat) -> None:
    """After SIGKILL the old answer stays readable, and a successor goes on from the table."""
    with running(live_seat) as process:
        write_live(live_seat, ["71000"] * 6)
        wait_for(live_seat, lambda: served(live_seat) == 71000)
        process.kill()
        process.join()
        assert served(live_seat) == 71000
    updates = CONSENSUS.index("oracle_price_updates_total")
    counted = live_seat.block.read_counter(updates)
    with running(live_seat):
        write_live(live_seat, ["71001"] * 6)
        wait_for(live_seat, lambda: served(live_seat) == 71001)
    assert live_seat.block.read_counter(updates) > counted


def test_the_drain_command_ends_the_process(live_seat: Seat) -> None:
    """The supervisor's word and its eventfd are enough; an eventfd without the word is only emptied."""
    with running(live_seat) as process:
        wait_for(live_seat, lambda: live_seat.block.read(HEARTBEAT_NS) > 0)
        os.eventfd_write(live_seat.control_fd, 1)
        beat_ns = live_seat.block.read(HEARTBEAT_NS)
        wait_for(live_seat, lambda: live_seat.block.read(HEARTBEAT_NS) > beat_ns)
        live_seat.block.write(COMMAND, Command.DRAIN)
        os.eventfd_write(live_seat.control_fd, 1)
        process.join(20)
        assert process.exitcode == 0
