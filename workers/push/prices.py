"""The consensus prices as messages give them: bytes a price, rendered once per change.

    pieces       of each asset `{"asset":"BTC","price":"71000.5",...}`, or `{"asset":"BTC","error":"stale_price"}`
    values       of each asset a float, NaN where there is no price: to see moves, and for nothing else
    received_ns  when the oldest quote of the price came in, monotonic: its age
    sources      how many exchanges are in the price

Rules: the answer table is looked at once a turn, by its counters; a row is read when it changed. A price that the
consensus has not renewed in time is stale here in the same moment as for a lookup (served_state), so that a dead
consensus leads to refusals and never to old prices; so does a row that cannot be read. A refusal has the code that a
lookup gets.
"""

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.memory.answer_table import ERROR_CODES, ROW_WORDS, AnswerState, AnswerTable, state_at

Values = NDArray[np.float64]


class CurrentPrices:
    """What the answer table said at the last turn."""

    def __init__(self, answers: AnswerTable, names: Sequence[str]) -> None:
        self._answers = answers
        row_words = (1 + answers.exchanges) * ROW_WORDS
        self._counters = answers.words[: len(names) * row_words : row_words]
        self._seen = np.zeros(len(names), dtype=np.uint64)
        self._valid_until_ns = np.full(len(names), _NEVER, dtype=np.int64)
        self._starts = [f'{{"asset":"{name}"'.encode() for name in names]
        self.pieces = [refusal(name, ERROR_CODES[AnswerState.EMPTY]) for name in names]
        self.values: Values = np.full(len(names), np.nan)
        self.received_ns = [0] * len(names)
        self.sources = [0] * len(names)

    def turn(self, now_ns: int) -> bool:
        """Take over what changed and what became stale; whether there was anything."""
        counters = self._counters.copy()
        changed = np.flatnonzero((counters != self._seen) | (self._valid_until_ns <= now_ns))
        self._seen = counters
        for asset in changed.tolist():
            self._take(asset, now_ns)
        return len(changed) > 0

    def _take(self, asset: int, now_ns: int) -> None:
        answer = self._answers.read_values(self._answers.row_of(asset))
        state = AnswerState.EMPTY
        if answer is not None:
            state = state_at(answer["state"], answer["valid_until_ns"], now_ns)
        elif self._seen[asset]:
            self._seen[asset] -= 1  # it is there, and its writer was in the way each time: it is read again
        if answer is not None and state is AnswerState.GOOD:
            self.pieces[asset] = self._starts[asset] + _good(answer)
            self.values[asset] = answer["price"] / 10 ** answer["scale"]
            self.received_ns[asset], self.sources[asset] = answer["received_at_ns"], answer["sources"]
            self._valid_until_ns[asset] = answer["valid_until_ns"]
        else:
            self.pieces[asset] = self._starts[asset] + _error(ERROR_CODES[state])
            self.values[asset] = np.nan
            self._valid_until_ns[asset] = _NEVER


def refusal(name: str, code: str) -> bytes:
    """The piece of a price that is not given."""
    return f'{{"asset":"{name}"'.encode() + _error(code)


def time_text(wall_ns: int) -> bytes:
    """ISO 8601 in UTC, to the millisecond."""
    second, ns = divmod(wall_ns, NS_PER_SECOND)
    return b"%b.%03dZ" % (_second_text(second), ns // NS_PER_MS)


# Messages and prices of one time have few seconds between them, and each costs 3 us.
@functools.lru_cache(maxsize=1024)
def _second_text(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


_NEVER = np.iinfo(np.int64).max


def _error(code: str) -> bytes:
    return b',"error":"' + code.encode() + b'"}'


def _good(answer: dict[str, Any]) -> bytes:
    return b',"price":"%b","price_timestamp":"%b","confidence":"%b","sources":%d}' % (
        answer["price_text"][: answer["price_text_length"]],
        time_text(answer["timestamp_ms"] * NS_PER_MS),
        _decimal(answer["confidence"], answer["scale"]),
        answer["sources"],
    )


def _decimal(mantissa: int, scale: int) -> bytes:
    """The number without an exponent and without zeros at its end."""
    whole, part = divmod(mantissa, 10**scale)
    places = f"{part:0{scale}d}".rstrip("0") if part else ""
    return f"{whole}.{places}".encode() if places else str(whole).encode()
