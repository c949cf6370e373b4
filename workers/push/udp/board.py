"""The newest consensus prices as bytes of datagrams: rendered once a batch, copied into each. Pure, compiled.

Rules: a price is read as the request workers read it: one whose `valid_until_ns` has passed is stale whatever its state
says. What depends on the subscription (its own limits) is judged where the price is copied.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_MS
from trinity.compiled import compiled
from trinity.memory.answer_table import (
    ANSWER_DTYPE,
    ERROR_CODES,
    PRICE_TEXT_AT,
    ROW_WORDS,
    SLOT_WORDS,
    AnswerState,
)
from trinity.memory.atomics import Words
from trinity.memory.cell import WORD_BYTES, snapshot_prefix
from trinity.native.octets import Octets
from trinity.push.datagram import AGE_NONE, FRESH, NUMBERS_BYTES, STALE_PRICE, STATUSES, price_bytes

# What of a record is numbers: its texts are not copied.
_NUMBER_WORDS = PRICE_TEXT_AT // WORD_BYTES
_GOOD = int(AnswerState.GOOD)
# Statuses by AnswerState, for a state that is not GOOD; an unknown state is as good as none.
_STATUS_OF = np.full(len(AnswerState), STALE_PRICE, dtype=np.int64)
for _state, _code in ERROR_CODES.items():
    _STATUS_OF[_state] = STATUSES.index(_code)

# One asset: what it takes in a datagram (its name, then its numbers) and what limits are compared with.
ASSET_DTYPE = np.dtype(
    [
        ("length", np.int64),  # of `octets` in use
        ("status", np.int64),
        ("age_ms", np.int64),
        ("sources", np.int64),
        ("octets", np.uint8, 40),
    ],
    align=True,
)


class PushedPrices(NamedTuple):
    """All assets of the catalog, and scratch to read one."""

    assets: NDArray[np.void]
    columns: int  # rows of the answer table an asset
    words: Words  # one ANSWER_DTYPE record ...
    fields: NDArray[np.void]  # ... and the same memory by name


def make_board(names: Sequence[str], exchanges: int) -> PushedPrices:
    """Without any price yet."""
    assets = np.zeros(len(names), dtype=ASSET_DTYPE)
    for row, name in zip(assets, names, strict=True):
        octets = bytes([len(name)]) + name.encode("ascii")
        row["length"], row["status"] = price_bytes(name), STALE_PRICE
        row["octets"][: len(octets)] = np.frombuffer(octets, dtype=np.uint8)
    words = np.zeros(SLOT_WORDS, dtype=np.uint64)
    return PushedPrices(assets, 1 + exchanges, words, words.view(ANSWER_DTYPE))


@compiled
def take_prices(board: PushedPrices, table_words: Words, now_ns: int) -> None:
    """Render the newest price of each asset; `now_ns` is monotonic."""
    for number in range(board.assets.size):
        asset, record = board.assets[number], board.fields[0]
        row = number * board.columns
        if not snapshot_prefix(table_words, row * ROW_WORDS, SLOT_WORDS, _NUMBER_WORDS, board.words):
            record["state"], record["has_last_good"] = 0, 0
        state = record["state"]
        asset["status"] = STALE_PRICE
        if 0 <= state < _STATUS_OF.size:
            asset["status"] = _STATUS_OF[state]
        if state == _GOOD:
            asset["status"] = FRESH if now_ns < record["valid_until_ns"] else STALE_PRICE
        asset["age_ms"] = AGE_NONE
        if state == _GOOD or record["has_last_good"] == 1:
            asset["age_ms"] = min(max(0, now_ns - record["received_at_ns"]) // NS_PER_MS, AGE_NONE - 1)
        asset["sources"] = record["sources"]
        _render(asset, record)


@compiled
def _render(asset: np.void, record: np.void) -> None:
    """Its numbers, behind its name; a price that is not fresh is not given."""
    octets, at = asset["octets"], asset["length"] - NUMBERS_BYTES
    price, confidence, exponent, places, sources = 0, 0, 0, 0, 0
    if asset["status"] == FRESH:
        price, confidence, sources = record["price"], record["confidence"], record["sources"]
        exponent = places = -record["scale"]
        while confidence >= AGE_NONE:  # more digits than 32 bits hold: fewer places, rounded up, never too narrow
            confidence = (confidence + 9) // 10
            places += 1
    put(price, 8, octets, at)
    put(confidence, 4, octets, at + 8)
    put(asset["age_ms"], 4, octets, at + 12)
    put(exponent, 1, octets, at + 16)
    put(places, 1, octets, at + 17)
    put(asset["status"], 1, octets, at + 18)
    put(sources, 1, octets, at + 19)


@compiled
def put(value: int, size: int, octets: Octets, at: int) -> None:
    """The lowest `size` bytes of a number, little-endian."""
    for i in range(size):
        octets[at + i] = value >> 8 * i & 0xFF
