"""Prices as this service gives them: out of the answer table, by the rules and in the words of the request workers.

Rules: what is fresh is what a request worker would serve (`state_at`), so a dead consensus process gives
`stale_price` and never an old number. `body` is the JSON object that a lookup gives at the same moment. Only
consensus prices; names in any case. The caller says what time it is.
"""

import re
from decimal import Decimal
from typing import NamedTuple

from trinity.clock import NS_PER_MS
from trinity.limits import ASSET_NAME_BYTES_MAX
from trinity.markets import Catalog
from trinity.memory.answer_table import ERROR_CODES, ROW_WORDS, AnswerState, AnswerTable, state_at
from trinity.memory.atomics import load_acquire
from trinity.vocabulary import KEY_START, problem_for

FRESH = "fresh"


# As much of a name that no asset has is said again as a name can have.
_SHOWN_BYTES = ASSET_NAME_BYTES_MAX
_UNSHOWN = re.compile(r'[^!-~]|["\\\\]')


class Price(NamedTuple):
    """One asset's price, or why there is none; the numbers are those of the last good price.

    The price is `mantissa` * 10**-`scale`, the confidence has the same scale.
    """

    asset: str
    code: str  # FRESH, or the code of the refusal
    body: bytes
    valid_until_ns: int = 0
    mantissa: int = 0
    scale: int = 0
    confidence: int = 0
    timestamp_ms: int = 0

    @property
    def is_fresh(self) -> bool:
        return self.code == FRESH

    @property
    def usd(self) -> Decimal:
        return Decimal(self.mantissa).scaleb(-self.scale)


class Prices:
    """The consensus prices of all assets, by their index in the catalog."""

    def __init__(self, catalog: Catalog, answers: AnswerTable) -> None:
        self.assets = tuple(asset.name for asset in catalog.assets)
        self._index = catalog.names()
        self.aliases = tuple((name, index) for name, index in self._index.items() if name not in self.assets)
        self._answers = answers
        self._rows = [answers.row_of(index) for index in range(len(self.assets))]

    def find(self, name: str) -> int | None:
        """Index of the asset of this name or alias in any case."""
        return self._index.get(name.upper()) if name.isascii() else None

    @staticmethod
    def unknown(name: str) -> bytes:
        """What a lookup says of a name that no asset has: the same object, byte for byte."""
        octets = name.encode(errors="replace")[:_SHOWN_BYTES].decode("latin-1")
        before, start, secret = octets.partition(KEY_START)
        return _refusal(_UNSHOWN.sub("?", before) + start + "?" * len(secret), "unknown_asset")

    def called(self, asset: str) -> str:
        """Everything that an asset is called, for searches."""
        return " ".join(name for name, index in self._index.items() if self.assets[index] == asset)

    def name_of(self, name: str) -> str:
        """The asset's own name where `name` is known here; any other stays, for it may have been one before."""
        asset = self.find(name)
        return self.assets[asset] if asset is not None else name

    def version(self, asset: int) -> int:
        """A number that changes with everything that is published about the asset; costs next to nothing."""
        return int(load_acquire(self._answers.words, self._rows[asset] * ROW_WORDS))

    def read(self, asset: int, now_ns: int) -> Price:
        """The newest price, judged at `now_ns` (monotonic)."""
        name = self.assets[asset]
        row = self._answers.read_values(self._rows[asset])
        if row is None:
            return Price(name, ERROR_CODES[AnswerState.EMPTY], _refusal(name, ERROR_CODES[AnswerState.EMPTY]))
        state = state_at(row["state"], row["valid_until_ns"], now_ns)
        code = FRESH if state is AnswerState.GOOD else ERROR_CODES[state]
        if state is AnswerState.GOOD:
            body = row["body"][: row["body_length"]]
        else:
            body = _refusal(name, code)
            if row["has_last_good"]:
                age_ms = max(0, now_ns - row["received_at_ns"]) // NS_PER_MS
                text = row["price_text"][: row["price_text_length"]]
                last = b',"last_price":%s,"last_timestamp":%d,"age_ms":%d}' % (text, row["timestamp_ms"], age_ms)
                body = body[:-1] + last
        return Price(
            name,
            code,
            body,
            row["valid_until_ns"],
            row["price"],
            row["scale"],
            row["confidence"],
            row["timestamp_ms"],
        )


def _refusal(asset: str, code: str) -> bytes:
    return f'{{"error":{{{problem_for(code).members}}},"status":"{code}","asset":"{asset}"}}'.encode()
