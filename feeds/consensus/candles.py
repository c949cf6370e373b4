"""Published consensus prices -> one-minute candles in the candle files.

    follow        compiled: the running minutes of all assets as step functions of time, and which of them are closed
    CandleBook    the consensus process's files: what each published decision does to them (a TurnObserver)
    open_candles  the book of a running node, as far as its disk has one

Rules: a price stands from its publication until the next one, until it may no longer be served, or until the asset
has no price, whichever is first. A minute in which one stood has a candle, also when none was published in it; any
other minute is a gap and is never filled. Minutes are the wall clock's: set back, it closes the running minute and
begins another; set ahead, no price stands for longer than it was valid.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feeds.consensus.integers.arrays import PUBLISHED_DTYPE
from feeds.consensus.turn import TurnFacts
from trinity.clock import NS_PER_MS
from trinity.compiled import compile_for, compiled
from trinity.limits import ASSETS_MAX
from trinity.memory.answer_table import AnswerState, AnswerTable
from trinity.memory.candle_table import (
    CANDLE_DTYPE,
    CANDLES,
    CLOSE,
    CONFIDENCE,
    EXPONENT,
    HIGH,
    LOW,
    OPEN,
    CandleFile,
    open_or_renew,
)
from trinity.native.octets import Integers
from trinity.native.wide import Wide, high_half, join, load_wide, narrow, store_wide, widen
from trinity.observe.metrics import CONSENSUS
from trinity.process import ProcessContext

MS_PER_MINUTE = 60_000
# When so many minutes were closed they are taken before it goes on: two for each asset that a node may have.
CLOSED_MAX = 2 * ASSETS_MAX

CANDLESTICK_DTYPE = np.dtype(
    [
        ("asset", np.int64),
        ("seen_minute", np.int64),  # the wall clock's when it was looked at last
        ("is_new", np.int64),  # 1: its file does not say it yet
        ("candle", CANDLE_DTYPE),  # the running minute; without one its prices are those of the newest
    ],
    align=True,
)
BOOK_DTYPE = np.dtype(
    [
        ("count", np.int64),  # assets
        ("closed_count", np.int64),
        ("closed", CANDLESTICK_DTYPE, (CLOSED_MAX,)),
        ("sticks", CANDLESTICK_DTYPE, (ASSETS_MAX,)),
    ],
    align=True,
)
_GOOD = int(AnswerState.GOOD)
_FAILED = CONSENSUS.index("candles_failed")
_OVERWRITTEN = CONSENSUS.index("candles_overwritten_total")


def _words_of_units() -> Integers:
    """A candle's unit in those of a price with so many places, two words each: 1 / 10**-EXPONENT and less."""
    units = (10 ** (EXPONENT - places) for places in range(EXPONENT + 1))
    return np.frombuffer(b"".join(unit.to_bytes(16, "little") for unit in units), dtype=np.int64).copy()


_UNITS = _words_of_units()


@compiled
def follow(book: np.void, notes: NDArray[np.void], start: int, wall_ms: int) -> int:
    """Take notes[start:] (PUBLISHED_DTYPE), each at its own moment, then close the minutes that are over at `wall_ms`.

    Where to go on, once the closed minutes were taken, because there was no more room for them; behind everything that
    is one more than there are notes.
    """
    for number in range(start, notes.size):
        note = notes[number]
        if not _take(book, book["sticks"][note["asset"]], note):
            return number
    minute = wall_ms // MS_PER_MINUTE
    for asset in range(book["count"]):
        stick = book["sticks"][asset]
        if stick["seen_minute"] != minute:
            if not _advance(book, stick, wall_ms):
                return notes.size
            stick["seen_minute"], stick["is_new"] = minute, 1
    return notes.size + 1


@compiled
def _take(book: np.void, stick: np.void, note: np.void) -> bool:
    """What one published decision says; False when a minute that it closes finds no room."""
    candle, now_ms = stick["candle"], note["wall_ns"] // NS_PER_MS
    stick["is_new"] = 1
    if not _advance(book, stick, now_ms):
        return False
    stick["seen_minute"] = now_ms // MS_PER_MINUTE
    if note["state"] != _GOOD:
        _stop_standing(candle)
        return True
    unit = load_wide(_UNITS, note["places"])
    price = widen(note["price"]) * unit
    if candle["minute"] == 0:
        _begin(candle, now_ms // MS_PER_MINUTE, price)
    prices = candle["prices"]
    if price > load_wide(prices, HIGH):
        store_wide(prices, HIGH, price)
    if price < load_wide(prices, LOW):
        store_wide(prices, LOW, price)
    store_wide(prices, CLOSE, price)
    store_wide(prices, CONFIDENCE, widen(note["confidence"]) * unit)
    candle["samples"] += 1
    candle["sources"] = note["sources"]
    candle["stands"], candle["since_ms"] = 1, now_ms
    candle["until_ms"] = now_ms + (note["valid_until_ns"] - note["now_ns"]) // NS_PER_MS
    return True


@compiled
def _advance(book: np.void, stick: np.void, now_ms: int) -> bool:
    """Give the standing price its time up to now, and close every minute that is over; False when one had no room."""
    candle = stick["candle"]
    if candle["stands"] != 0:
        end_ms = min(now_ms, candle["until_ms"])
        while candle["since_ms"] < end_ms:
            if not _weigh(book, stick, end_ms):
                return False
        if now_ms >= candle["until_ms"]:
            _stop_standing(candle)
    is_over = candle["minute"] != 0 and candle["minute"] != now_ms // MS_PER_MINUTE
    return not is_over or _close(book, stick)


@compiled
def _weigh(book: np.void, stick: np.void, end_ms: int) -> bool:
    """Count the standing price within one minute, `end_ms` at the latest; False when the one before had no room."""
    candle = stick["candle"]
    minute, close = candle["since_ms"] // MS_PER_MINUTE, load_wide(candle["prices"], CLOSE)
    if candle["minute"] != minute:
        if candle["minute"] != 0 and not _close(book, stick):
            return False
        _begin(candle, minute, close)
    until_ms = min(end_ms, (minute + 1) * MS_PER_MINUTE)
    _add_product(candle["weighted_sum"], close, until_ms - candle["since_ms"])
    candle["weighted_ms"] += until_ms - candle["since_ms"]
    candle["since_ms"] = until_ms
    return True


@compiled
def _add_product(words: Integers, price: Wide, duration_ms: int) -> None:
    """Add price times duration to a number of three words."""
    duration = widen(duration_ms)
    low = join(0, words[0]) + join(0, narrow(price)) * duration
    middle = join(0, words[1]) + widen(high_half(price)) * duration + widen(high_half(low))
    words[0], words[1] = narrow(low), narrow(middle)
    words[2] += high_half(middle)


@compiled
def _begin(candle: np.void, minute: int, price: Wide) -> None:
    """Another minute, which begins with this price."""
    candle["minute"], candle["weighted_ms"], candle["samples"] = minute, 0, 0
    for word in range(3):
        candle["weighted_sum"][word] = 0
    for which in (OPEN, HIGH, LOW, CLOSE):
        store_wide(candle["prices"], which, price)


@compiled
def _stop_standing(candle: np.void) -> None:
    candle["stands"], candle["since_ms"], candle["until_ms"] = 0, 0, 0


@compiled
def _close(book: np.void, stick: np.void) -> bool:
    """Put the running minute among the closed ones; False when there is no room."""
    count = book["closed_count"]
    if count == CLOSED_MAX:
        return False
    closed = book["closed"]
    closed[count] = stick
    _stop_standing(closed[count]["candle"])
    book["closed_count"] += 1
    stick["candle"]["minute"] = 0
    return True


def make_book(count: int) -> np.void:
    """A book of so many assets, a record of BOOK_DTYPE, in which no minute runs."""
    book: np.void = np.zeros(1, dtype=BOOK_DTYPE)[0]
    book["count"] = count
    book["sticks"]["asset"] = np.arange(ASSETS_MAX)
    return book


def warm_up() -> None:
    """Compile what the process of the consensus calls for its candles, or load it."""
    compile_for(follow, make_book(0), np.zeros(1, dtype=PUBLISHED_DTYPE), 0, 0)


class CandleBook:
    """The candlesticks of all assets over their files; `set_aside` says which files were unreadable, and why."""

    def __init__(self, folder: Path, assets: Sequence[str], on_overwritten: Callable[[], None]) -> None:
        self.set_aside: dict[str, str] = {}
        self._on_overwritten = on_overwritten
        self._files: list[CandleFile] = []
        self._book = make_book(len(assets))
        self._sticks = self._book["sticks"][: len(assets)]
        for asset, stick in zip(assets, self._sticks, strict=True):
            file, reason = open_or_renew(folder, asset)
            if reason:
                self.set_aside[asset] = reason
            running = file.read_running()
            if running is not None:
                stick["candle"] = running
            self._files.append(file)

    def recall(self, asset: int, is_served: bool) -> None:
        """A successor goes on with what the files say; a price that nobody serves any more does not stand."""
        if not is_served:
            for name in ("stands", "since_ms", "until_ms"):
                self._sticks[asset]["candle"][name] = 0

    wants_each_turn = False

    def on_turn(self, facts: TurnFacts) -> None:
        """Take note of what was published, close the minutes that are over, and let the files say what is."""
        notes, at = facts.published, 0
        while at <= notes.size:
            at = int(follow(self._book, notes, at, facts.wall_ns // NS_PER_MS))
            self._append_closed()
        for asset in self._sticks["is_new"].nonzero()[0].tolist():
            self._files[asset].write_running(self._sticks["candle"][asset])
        self._sticks["is_new"] = 0

    def close(self, now_ns: int) -> None:
        """Nothing is left to write: what was told was written."""

    def _append_closed(self) -> None:
        for stick in self._book["closed"][: int(self._book["closed_count"])]:
            if not self._files[stick["asset"]].append(stick["candle"]):
                self._on_overwritten()
        self._book["closed_count"] = 0


def open_candles(context: ProcessContext, answers: AnswerTable, data_dir: Path) -> list[CandleBook]:
    """The candle files; none, loudly, when the disk does not have them: prices are worth more than their history."""
    folder = data_dir / CANDLES
    try:
        book = CandleBook(
            folder,
            [asset.name for asset in context.catalog.assets],
            lambda: context.block.count(_OVERWRITTEN),
        )
    except OSError as error:
        context.log.error("no candles are written", extra={"fields": {"folder": str(folder), "error": str(error)}})
        context.block.set_gauge(_FAILED, 1.0)
        return []
    context.block.set_gauge(_FAILED, 0.0)
    for asset, reason in book.set_aside.items():
        context.log.error("unreadable candles set aside", extra={"fields": {"asset": asset, "reason": reason}})
    for index in range(len(context.catalog.assets)):
        record = answers.read(answers.row_of(index))
        book.recall(index, is_served=record is not None and int(record["state"][0]) == AnswerState.GOOD)
    return [book]
