"""The answer table: what request workers serve, rendered once per change.

    row = asset * (1 + exchanges) + 0            the consensus price of the asset
    row = asset * (1 + exchanges) + 1 + exchange that exchange's own price

Assets count to the table's capacity, of which the first `assets` are the catalog's; the others are spare, and
asset_table.py says whose they are.

    +-------------------------------------------------------------------+
    | header (segment.py)                                               |
    +-------------------------------------------------------------------+
    | row 0: counter line, slot 0 (ANSWER_DTYPE), slot 1 (ANSWER_DTYPE)  |
    | row 1: ...                                                        |
    +-------------------------------------------------------------------+
    | verdict words: exchanges * capacity, one word each                |
    +-------------------------------------------------------------------+
    | index words: float64 bits of USDT/USD, USDC/USD (0: none),         |
    |   the last of each that was measured, when (monotonic ns), 2 spare |
    +-------------------------------------------------------------------+

A verdict word says what the consensus made of a source: 0 nothing yet, 1 used, 2 + i rejected for
`vocabulary.REJECT_REASONS[i]`.

Rules: one writer, the consensus process; of spare rows the resolver. A slot holds the numbers that a worker checks
(state, validity, sources, confidence) and the bytes that it copies: `head` is the status line and the headers that do
not change with the request, each ended by CRLF, without the blank line; `body` is the JSON object. A worker decides
freshness itself against `valid_until_ns`, so that a dead consensus process leads to `stale_price` and never to an old
number.

A price is as old as the oldest source that its median stands on (`received_at_ns`, `timestamp_ms`). One that cannot
be given keeps its last good number in `price`, `price_text`, `timestamp_ms` and `received_at_ns`, for the error
answer; `body_length` and `sources` are then 0. What is a price, and what a source is to it, is read in one way by
all who show it: `served_state`, `standing_of`.
"""

import enum
import hashlib
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled
from trinity.errors import LayoutError
from trinity.memory.atomics import Words, load_acquire, store_release
from trinity.memory.cell import COUNTER_WORDS, WORD_BYTES, cell_words, publish, snapshot
from trinity.memory.segment import Segment

LAYOUT_VERSION = 3

# 19 digits, a point and a leading "0" fit in 32 bytes.
PRICE_TEXT_BYTES = 32
# Status line, Content-Type, Cache-Control, CORS and Content-Length: 160 bytes today.
HEAD_BYTES = 256
# The longest consensus body, six marked exchanges by name, all numbers at full length, has some 510 bytes; the record
# is then 1 KiB.
BODY_BYTES = 632

ANSWER_DTYPE = np.dtype(
    [
        ("state", np.int64),  # AnswerState
        ("valid_until_ns", np.int64),  # monotonic: from then on the price is stale
        ("received_at_ns", np.int64),  # monotonic receipt of the oldest quote that the price stands on: its age
        ("timestamp_ms", np.int64),  # wall clock of the same receipt
        ("price", np.int64),  # mantissa
        ("confidence", np.int64),  # mantissa, same scale
        ("confidence_milli_bps", np.int64),  # confidence / price in 1/1000 basis points, rounded up
        ("disagreement_milli_bps", np.int64),  # (highest - lowest) / price before any was left out
        ("scale", np.int32),
        ("sources", np.int32),  # exchanges in the price, 0 when there is none
        ("rejected", np.int32),
        ("sources_required", np.int32),
        ("voters", np.int32),  # exchanges that no step left out, also when no price came of them
        ("majority", np.int32),  # exchanges that had to agree and did not; 0 when it was not that
        ("has_last_good", np.int32),  # 1 when price, price_text and timestamp_ms hold a price
        ("price_text_length", np.int32),
        ("head_length", np.int32),
        ("body_length", np.int32),
        ("price_text", np.uint8, PRICE_TEXT_BYTES),
        ("head", np.uint8, HEAD_BYTES),
        ("body", np.uint8, BODY_BYTES),
    ],
    align=True,
)
assert ANSWER_DTYPE.itemsize % 64 == 0, "a slot is whole cache lines"

SLOT_WORDS = ANSWER_DTYPE.itemsize // WORD_BYTES
ROW_WORDS = cell_words(SLOT_WORDS)
assert ANSWER_DTYPE.fields is not None
PRICE_TEXT_AT, HEAD_AT, BODY_AT = (int(ANSWER_DTYPE.fields[name][1]) for name in ("price_text", "head", "body"))
# The head and the body: what of a record is not carried on beside a price that cannot be given.
_TEXTS_WORD = HEAD_AT // WORD_BYTES
assert HEAD_AT % WORD_BYTES == 0
_FIELDS = {name: field[0] for name, field in ANSWER_DTYPE.fields.items()}
_RECORD = struct.Struct("=" + "".join({8: "q", 4: "i"}.get(it.itemsize, f"{it.itemsize}s") for it in _FIELDS.values()))
assert _RECORD.size == ANSWER_DTYPE.itemsize, "no gaps between the fields"

INDEX_WORDS = 8
# The coins of the index words, in their order.
COINS = ("USDT", "USDC")
# Behind the two index words: two of the last measured indexes, two of their times.
_MEASURED, _MEASURED_AT = 2, 4
VERDICT_NONE, VERDICT_USED, VERDICT_REJECTED = range(3)


class AnswerState(enum.IntEnum):
    """Why a row can or cannot be served; the error codes are those of the answers."""

    EMPTY = 0  # stale_price: nothing was ever received
    GOOD = 1
    STALE = 2  # stale_price
    TOO_FEW_SOURCES = 3  # too_few_sources
    SOURCES_DISAGREE = 4  # sources_disagree
    NOT_LISTED = 5  # unknown_market: the exchange does not list the asset


ERROR_CODES = {
    AnswerState.EMPTY: "stale_price",
    AnswerState.STALE: "stale_price",
    AnswerState.TOO_FEW_SOURCES: "too_few_sources",
    AnswerState.SOURCES_DISAGREE: "sources_disagree",
    AnswerState.NOT_LISTED: "unknown_market",
}


# What a source that no step left out is to the answer; it is part of a price only where there is one.
_STANDINGS = {AnswerState.GOOD: "used", AnswerState.SOURCES_DISAGREE: "disputed"}


def served_state(record: NDArray[np.void] | None, now_ns: int) -> AnswerState:
    """What a request worker makes of a record at `now_ns` (monotonic): GOOD only for as long as it is valid."""
    if record is None:
        return AnswerState.EMPTY
    return state_at(int(record["state"][0]), int(record["valid_until_ns"][0]), now_ns)


def state_at(state: int, valid_until_ns: int, now_ns: int) -> AnswerState:
    """The same of a record's two numbers."""
    if state not in ERROR_CODES and not (state == AnswerState.GOOD and now_ns < valid_until_ns):
        return AnswerState.STALE
    return AnswerState(state)


def standing_of(state: AnswerState) -> str:
    """`used`, `disputed`, or `unused`: good, but there is no price for it to be in."""
    return _STANDINGS.get(state, "unused")


class AnswerTable:
    """Answers by row; `words` is for the compiled readers of the request workers."""

    def __init__(self, segment: Segment, exchanges: int, assets: int, capacity: int) -> None:
        self.segment = segment
        self.words: Words = segment.body
        self.exchanges = exchanges
        self.assets = assets
        self._capacity = capacity
        self._verdicts_base = capacity * (1 + exchanges) * ROW_WORDS
        self._indexes_base = self._verdicts_base + exchanges * capacity
        self._indexes = self.words[self._indexes_base :].view(np.float64)

    @classmethod
    def create(cls, name: str, exchanges: int, assets: int, capacity: int) -> "AnswerTable":
        """Make an empty table (see Segment.create for the errors)."""
        layout_hash = layout_hash_of(exchanges, capacity)
        segment = Segment.create(name, LAYOUT_VERSION, layout_hash, body_words(exchanges, capacity))
        return cls(segment, exchanges, assets, capacity)

    @classmethod
    def attach(cls, name: str, exchanges: int, assets: int, capacity: int) -> "AnswerTable":
        """Open the table of a running node (see Segment.attach for the errors)."""
        segment = Segment.attach(name, LAYOUT_VERSION, layout_hash_of(exchanges, capacity))
        if assets > capacity:
            raise LayoutError(name, "assets in use", capacity, assets)
        return cls(segment, exchanges, assets, capacity)

    def row_of(self, asset: int, exchange: int | None = None) -> int:
        """Row of the consensus (exchange None) or of one exchange's own price."""
        column = 0 if exchange is None else 1 + exchange
        if not (0 <= asset < self._capacity and 0 <= column <= self.exchanges):
            raise IndexError(f"no answer row for asset {asset}, exchange {exchange}")
        return asset * (1 + self.exchanges) + column

    def write(self, row: int, answer: NDArray[np.void]) -> None:
        """Publish `answer`, an array of one ANSWER_DTYPE record; only the writer of the row may call it."""
        publish(self.words, row * ROW_WORDS, SLOT_WORDS, answer.view(np.uint64))

    def read(self, row: int) -> NDArray[np.void] | None:
        """A copy of the newest record as an array of one, None when there is none or the tries ran out."""
        answer = np.zeros(1, dtype=ANSWER_DTYPE)
        found = snapshot(self.words, row * ROW_WORDS, SLOT_WORDS, answer.view(np.uint64))
        return answer if found else None

    def read_values(self, row: int) -> dict[str, Any] | None:
        """The same as values by field, texts as bytes: 2 us in all, where each field of a record costs one."""
        slot = np.empty(SLOT_WORDS, dtype=np.uint64)
        found = snapshot(self.words, row * ROW_WORDS, SLOT_WORDS, slot)
        return dict(zip(_FIELDS, _RECORD.unpack(slot.tobytes()), strict=True)) if found else None

    def write_verdict(self, exchange: int, asset: int, verdict: int) -> None:
        """Say what became of a source; only the writer of the asset's rows may call it."""
        store_release(self.words, self._verdict(exchange, asset), verdict)

    def read_verdict(self, exchange: int, asset: int) -> int:
        return int(load_acquire(self.words, self._verdict(exchange, asset)))

    def write_index(self, coin: int, usd: float) -> None:
        """Publish USDT/USD (coin 0) or USDC/USD (coin 1), 0 when there is none; for people and tools."""
        self._indexes[coin] = usd

    def read_index(self, coin: int) -> float:
        return float(self._indexes[coin])

    def write_measured(self, coin: int, usd: float, measured_at_ns: int) -> None:
        """Keep a coin's last measured index for the next consensus process; half a one has no time and is none."""
        place = self._indexes_base + coin
        store_release(self.words, place + _MEASURED_AT, 0)
        store_release(self.words, place + _MEASURED, int(np.float64(usd).view(np.uint64)))
        store_release(self.words, place + _MEASURED_AT, measured_at_ns)

    def read_measured(self, coin: int) -> tuple[float, int]:
        """USD and when; the time is 0 when there is none."""
        place = self._indexes_base + coin
        measured_at_ns = int(load_acquire(self.words, place + _MEASURED_AT))
        return float(self._indexes[_MEASURED + coin]), measured_at_ns

    @property
    def verdicts_base(self) -> int:
        """The word of the first verdict, for `publish_verdict`."""
        return self._verdicts_base

    def _verdict(self, exchange: int, asset: int) -> int:
        if not (0 <= exchange < self.exchanges and 0 <= asset < self._capacity):
            raise IndexError(f"no verdict [{exchange}, {asset}]")
        return self._verdicts_base + exchange * self._capacity + asset


@compiled
def take_last_good(words: Words, row: int, answer: Words) -> None:
    """Fill `answer` (SLOT_WORDS words) with the row's newest record without what is not the last good price.

    For the only writer of the table: what it published last cannot change meanwhile.
    """
    if not snapshot(words, row * ROW_WORDS, SLOT_WORDS, answer):
        for i in range(SLOT_WORDS):
            answer[i] = np.uint64(0)
    for i in range(_TEXTS_WORD, SLOT_WORDS):
        answer[i] = np.uint64(0)


@compiled
def publish_if_new(words: Words, row: int, answer: Words) -> bool:
    """Publish `answer` where it differs from the row's newest record in any bit; only the consensus process may."""
    base = row * ROW_WORDS
    counter = np.int64(words[base])
    newest = base + COUNTER_WORDS + (counter & 1) * SLOT_WORDS
    is_new: bool = counter == 0
    for i in range(SLOT_WORDS):
        is_new = is_new or words[newest + i] != answer[i]
    if is_new:
        publish(words, base, SLOT_WORDS, answer)
    return bool(is_new)


@compiled
def publish_verdict(words: Words, place: int, verdict: int) -> bool:
    """Say what became of the source whose word is at `place`; whether that is another than before."""
    if np.int64(load_acquire(words, place)) == verdict:
        return False
    store_release(words, place, verdict)
    return True


def body_words(exchanges: int, capacity: int) -> int:
    """Words of a table with room for so many assets."""
    return capacity * (1 + exchanges) * ROW_WORDS + exchanges * capacity + INDEX_WORDS


def layout_hash_of(exchanges: int, capacity: int) -> int:
    """Hash of everything that the bytes' meaning depends on."""
    text = f"{ANSWER_DTYPE.descr}|{ROW_WORDS}|{exchanges}|{capacity}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
