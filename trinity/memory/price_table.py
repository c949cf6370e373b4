"""The price table: the newest quote of each exchange for each asset.

    +--------------------------------------------------------------------+
    | header (segment.py)                                                |
    +--------------------------------------------------------------------+
    | row state words: exchanges * capacity, one word each:              |
    |   byte 0 RowState, bytes 1 and 2 Absence of WebSocket and REST,    |
    |   bytes 4 to 7 of a spare row: the version of its cell             |
    +--------------------------------------------------------------------+
    | cell [exchange 0, asset 0]                                         |
    |   0    counter, padded to one 64-byte line (cell.py)               |
    |   64   slot 0: QUOTE_DTYPE, 128 bytes                              |
    |   192  slot 1: QUOTE_DTYPE, 128 bytes                              |
    | cell [exchange 0, asset 1] ...                                     |
    +--------------------------------------------------------------------+
    | REST turns: a line of 8 words each exchange, of which the first is |
    |   the moment (monotonic) from which its REST may be asked again    |
    +--------------------------------------------------------------------+

The first `assets` of the capacity are the catalog's; the others are spare, and asset_table.py says whose they are.

Rules: one writer a cell, the feed process of its exchange. An exchange's cells and states are contiguous. Prices
are integers: mantissa * 10**-scale, so no digit that an exchange sent is lost. Each of bid, ask and last has its own
times, for they come in different frames: one that is renewed does not make the others young. Absence is a flag, never
a zero price. `read` returns a copied value; no view of the memory leaves this file but `words`, for compiled readers.
"""

import enum
import hashlib
import struct
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled
from trinity.errors import LayoutError
from trinity.memory.atomics import Words, compare_and_swap, load_acquire, signed, store_release
from trinity.memory.cell import COUNTER_WORDS, WORD_BYTES, cell_words, publish, snapshot
from trinity.memory.segment import Segment

LAYOUT_VERSION = 4

# Each field three times: of the bid, of the ask, of the last price.
QUOTE_DTYPE = np.dtype(
    [
        ("mantissa", np.int64, 3),
        ("exchange_time_ns", np.int64, 3),
        ("received_at_ns", np.int64, 3),
        ("received_wall_ns", np.int64, 3),
        ("scale", np.uint8, 3),
        ("is_there", np.uint8, 3),
        ("has_exchange_time", np.uint8, 3),
        ("via", np.uint8),
        ("reserved", np.uint8, 22),
    ],
    align=True,
)
assert QUOTE_DTYPE.itemsize == 128, "one slot is two cache lines"
# The same fields in one call, several times quicker. Only ever over a table's private scratch row.
_ROW = struct.Struct("<12q10B")
assert QUOTE_DTYPE.fields is not None
assert QUOTE_DTYPE.fields["reserved"][1] == _ROW.size

SLOT_WORDS = QUOTE_DTYPE.itemsize // WORD_BYTES
CELL_WORDS = cell_words(SLOT_WORDS)

# 18 decimal digits always fit a signed 64-bit mantissa; the finest tick seen on the six exchanges is 12 digits.
SCALE_MAX = 18


class Via(enum.IntEnum):
    """How a quote reached us; the names are those of the answers' `via`."""

    NONE = 0
    WS = 1
    REST = 2


class RowState(enum.IntEnum):
    """What the feed says of one of its rows, beside the quote itself."""

    UNKNOWN = 0  # the exchange does not list it, or the feed has not started
    STARTING = 1  # subscribed, nothing received yet
    LIVE = 2
    QUIET = 3  # no message for longer than its own baseline: REST asks for it
    STALE = 4  # older than its limit
    FROZEN = 5  # the other exchanges moved, this one did not: left out of the consensus


class Absence(enum.IntEnum):
    """Why a feed leaves a row out over one of its two ways; it asks again after minutes, then hours."""

    NONE = 0
    UNKNOWN_SYMBOL = 1  # the exchange said that it does not know the symbol
    NOT_ACKNOWLEDGED = 2  # it is not in what the exchange says that it delivers


class LeftOut(NamedTuple):
    """A row's absences over the WebSocket and over REST."""

    ws: Absence = Absence.NONE
    rest: Absence = Absence.NONE


NOT_LEFT_OUT = LeftOut()
_STATE_BITS = 0xFF
ROW_VERSION_MASK = 0xFFFF_FFFF
# Two processes share an exchange's turns, and the longest gap is a second.
_TURN_WAIT_MAX_NS = 60_000_000_000
_STATE_MASK = np.uint64(_STATE_BITS)


class Side(NamedTuple):
    """One price of a quote with the times of the frame that it came in; `exchange_time_ns` None: it had none."""

    price: Decimal
    exchange_time_ns: int | None
    received_at_ns: int
    received_wall_ns: int


class StoredQuote(NamedTuple):
    """A quote as the table keeps it; a side is None where the exchange has none. `via` is how the newest frame came."""

    bid: Side | None
    ask: Side | None
    last: Side | None
    via: Via

    @property
    def newest(self) -> Side | None:
        """The side that was received last."""
        sides = [side for side in self[:3] if side is not None]
        return max(sides, key=lambda side: side.received_at_ns) if sides else None


class PriceTable:
    """Quotes by (exchange index, asset index); indexes are those of the node's catalog."""

    def __init__(self, segment: Segment, exchanges: int, assets: int, capacity: int) -> None:
        self.segment = segment
        self.words: Words = segment.body
        self.exchanges = exchanges
        self.assets = assets
        self._capacity = capacity
        shape = exchanges, capacity
        cells_base = exchanges * capacity
        self._states = self.words[:cells_base].reshape(shape)[:, :assets]
        self._turns_base = cells_base + exchanges * capacity * CELL_WORDS
        every_counter = self.words[cells_base : self._turns_base : CELL_WORDS].reshape(shape)
        self._counters, self._spare_counters = every_counter[:, :assets], every_counter[:, assets:]
        self._scratch: NDArray[np.void] = np.zeros(1, dtype=QUOTE_DTYPE)
        self._scratch_words: Words = self._scratch.view(np.uint64)
        self._scratch_bytes = self._scratch_words.data.cast("B")

    @classmethod
    def create(cls, name: str, exchanges: int, assets: int, capacity: int) -> "PriceTable":
        """Make an empty table (see Segment.create for the errors)."""
        layout_hash = layout_hash_of(exchanges, capacity)
        segment = Segment.create(name, LAYOUT_VERSION, layout_hash, body_words(exchanges, capacity))
        return cls(segment, exchanges, assets, capacity)

    @classmethod
    def attach(cls, name: str, exchanges: int, assets: int, capacity: int) -> "PriceTable":
        """Open the table of a running node (see Segment.attach for the errors)."""
        segment = Segment.attach(name, LAYOUT_VERSION, layout_hash_of(exchanges, capacity))
        if assets > capacity:
            raise LayoutError(name, "assets in use", capacity, assets)
        return cls(segment, exchanges, assets, capacity)

    def write(self, exchange: int, asset: int, quote: StoredQuote) -> None:
        """Publish a quote; only the feed process of `exchange` may call it.

        ValueError when a price has more digits than a cell holds.
        """
        record = pack_quote(quote).view(np.uint64)
        publish(self.words, self._cell(exchange, asset), SLOT_WORDS, record)

    def copy(self, exchange: int, asset: int, record: Words) -> bool:
        """As `read`, into the words of a QUOTE_DTYPE record; False when there is nothing."""
        return snapshot(self.words, self._cell(exchange, asset), SLOT_WORDS, record)

    def read(self, exchange: int, asset: int) -> StoredQuote | None:
        """The newest quote, None when there is none yet or it could not be read in a bounded number of tries."""
        if not snapshot(self.words, self._cell(exchange, asset), SLOT_WORDS, self._scratch_words):
            return None
        return unpack_quote(self._scratch_bytes)

    def write_state(
        self, exchange: int, asset: int, state: RowState, left_out: LeftOut = NOT_LEFT_OUT, row_version: int = 0
    ) -> None:
        """Say what the feed thinks of a row, and of a spare one for which version of its cell (asset_table.py) that
        and its quotes are; only the feed process of `exchange` may call it."""
        word = int(state) | int(left_out.ws) << 8 | int(left_out.rest) << 16 | (row_version & ROW_VERSION_MASK) << 32
        store_release(self.words, exchange * self._capacity + asset, word)

    def read_state(self, exchange: int, asset: int) -> RowState:
        return RowState(self._state_word(exchange, asset) & 0xFF)

    def read_left_out(self, exchange: int, asset: int) -> LeftOut:
        word = self._state_word(exchange, asset)
        return LeftOut(Absence(word >> 8 & 0xFF), Absence(word >> 16 & 0xFF))

    def read_row_version(self, exchange: int, asset: int) -> int:
        """The last 32 bits of the version that a spare row was taken for, 0 for none."""
        return self._state_word(exchange, asset) >> 32

    def versions(self) -> NDArray[np.uint64]:
        """A copy of all counters of the catalog, shape [exchanges, assets]: a cell changed when its counter did."""
        return self._counters.copy()

    def spare_versions(self) -> NDArray[np.uint64]:
        """As `versions`, of the spare assets' cells."""
        return self._spare_counters.copy()

    def states(self) -> NDArray[np.uint64]:
        """A copy of all row states of the catalog, shape [exchanges, assets]."""
        return self._states & _STATE_MASK

    def rest_wait_ns(self, exchange: int, now_ns: int) -> int:
        """How long it is until an exchange's REST may be asked."""
        return _wait_until(int(load_acquire(self.words, self._turns_base + exchange * COUNTER_WORDS)), now_ns)

    def take_rest_turn(self, exchange: int, gap_ns: int, now_ns: int) -> int:
        """Take the next turn at an exchange's REST, in whatever process; returns how long it is until then."""
        return int(take_turn(self.words, self._turns_base + exchange * COUNTER_WORDS, gap_ns, now_ns))

    def _state_word(self, exchange: int, asset: int) -> int:
        return int(load_acquire(self.words, exchange * self._capacity + asset))

    @property
    def capacity(self) -> int:
        """Assets that there is room for: an exchange's cells and states are so many."""
        return self._capacity

    def _cell(self, exchange: int, asset: int) -> int:
        if not (0 <= exchange < self.exchanges and 0 <= asset < self._capacity):
            raise IndexError(f"no cell [{exchange}, {asset}] in a table of [{self.exchanges}, {self._capacity}]")
        return cell_at(self.exchanges, self._capacity, exchange, asset)


def unpack_quote(slot: memoryview) -> StoredQuote:
    """A QUOTE_DTYPE record, as bytes, in the words of Python."""
    row = _ROW.unpack_from(slot)
    bid, ask, last = (
        Side(
            Decimal(row[i]).scaleb(-row[12 + i]),
            row[3 + i] if row[18 + i] else None,
            row[6 + i],
            row[9 + i],
        )
        if row[15 + i]
        else None
        for i in range(3)
    )
    return StoredQuote(bid, ask, last, Via(row[21]))


@compiled
def _wait_until(free_at_ns: int, now_ns: int) -> int:
    """A moment that no gap explains is none: what was there when the machine's clock began anew."""
    wait_ns = free_at_ns - now_ns
    return wait_ns if 0 < wait_ns <= _TURN_WAIT_MAX_NS else 0


@compiled
def take_turn(words: Words, place: int, gap_ns: int, now_ns: int) -> int:
    """Move the next free moment on by a gap; returns how long it is until the one that was taken."""
    while True:
        free_at_ns = signed(load_acquire(words, place))
        wait_ns = _wait_until(free_at_ns, now_ns)
        if compare_and_swap(words, place, free_at_ns, now_ns + wait_ns + gap_ns):
            return wait_ns


def warm_up() -> None:
    """Compile what Python calls of the turns at an exchange's REST, or load its machine code, before the fork."""
    take_turn(np.zeros(1, dtype=np.uint64), 0, 0, 0)
    _wait_until(0, 0)


@compiled
def cell_at(exchanges: int, capacity: int, exchange: int, asset: int) -> int:
    """The word at which a cell begins; whoever asks knows that there is one."""
    return exchanges * capacity + (exchange * capacity + asset) * CELL_WORDS


@compiled
def state_of(words: Words, capacity: int, exchange: int, asset: int) -> int:
    """A row's RowState, for compiled readers."""
    return signed(load_acquire(words, exchange * capacity + asset)) & _STATE_BITS


@compiled
def publish_quote(words: Words, exchanges: int, capacity: int, exchange: int, asset: int, quote: Words) -> None:
    """Publish the words of a QUOTE_DTYPE record; only the feed process of `exchange` may call it."""
    publish(words, cell_at(exchanges, capacity, exchange, asset), SLOT_WORDS, quote)


def pack_quote(quote: StoredQuote) -> NDArray[np.void]:
    """A quote as one QUOTE_DTYPE record; ValueError when a price has more digits than it holds."""
    records: NDArray[np.void] = np.zeros(1, dtype=QUOTE_DTYPE)
    record = records[0]
    record["via"] = quote.via
    for i, side in enumerate(quote[:3]):
        if isinstance(side, Side):
            scale = scale_of(side.price)
            record["mantissa"][i], record["scale"][i] = mantissa_of(side.price, scale), scale
            record["exchange_time_ns"][i] = side.exchange_time_ns or 0
            record["received_at_ns"][i], record["received_wall_ns"][i] = side.received_at_ns, side.received_wall_ns
            record["is_there"][i], record["has_exchange_time"][i] = 1, side.exchange_time_ns is not None
    return records


def scale_of(price: Decimal) -> int:
    """Digits behind the point that `price` needs; trailing zeros count as sent."""
    exponent = price.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"price {price} is not a finite number")
    return max(0, -exponent)


def mantissa_of(price: Decimal, scale: int) -> int:
    """`price` as an integer of 10**-scale; ValueError when it needs more than 18 digits."""
    # `adjusted` first: int() of a price like 1E+999999999 would never end.
    if scale > SCALE_MAX or price.adjusted() + scale >= SCALE_MAX:
        raise ValueError(f"price {price} has more digits than a cell holds")
    return int(price.scaleb(scale))


def body_words(exchanges: int, capacity: int) -> int:
    """Words of a table with room for so many assets."""
    return exchanges * capacity * (1 + CELL_WORDS) + exchanges * COUNTER_WORDS


def layout_hash_of(exchanges: int, capacity: int) -> int:
    """Hash of everything that the bytes' meaning depends on."""
    text = f"{QUOTE_DTYPE.descr}|{CELL_WORDS}|{exchanges}|{capacity}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
