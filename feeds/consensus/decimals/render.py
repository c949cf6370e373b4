"""A decision -> the answer record that request workers serve: the numbers they check and the bytes they copy. Pure.

Rules: every number of a body is a JSON number in plain digits, never in exponent form and without trailing zeros.
The head has no blank line and none of the headers that change with the request; the worker adds those. A price that
cannot be given has no head and no body, but keeps the last good price and its times for the error answer.
"""

import struct
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feeds.consensus.decimals.rules import MILLI_BPS, MILLI_BPS_MAX, Decision, digits_that_fit
from feeds.consensus.decimals.venue import VenuePrice
from trinity.clock import NS_PER_MS
from trinity.memory.answer_table import ANSWER_DTYPE, BODY_BYTES, HEAD_BYTES, AnswerState
from trinity.memory.price_table import Via

_CODES = {np.dtype(np.int64): "q", np.dtype(np.int32): "i"}


def _code_of(name: str) -> str:
    """The struct code of one field of the answer's dtype: a number, or so many bytes."""
    dtype = ANSWER_DTYPE[name]
    return f"{dtype.itemsize}s" if dtype.subdtype is not None else _CODES[dtype]


# The dtype as one pack: 2 us a record instead of 10 for field by field.
_RECORD = struct.Struct("<" + "".join(_code_of(name) for name in ANSWER_DTYPE.names or ()))
assert _RECORD.size == ANSWER_DTYPE.itemsize, "the dtype has no holes"

HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/json\r\n"
    b"Cache-Control: no-store\r\n"
    b"Access-Control-Allow-Origin: *\r\n"
    b"Content-Length: %d\r\n"
)


class LastGood(NamedTuple):
    """The last price that a row could give; mantissa * 10**-scale is `text`."""

    mantissa: int
    scale: int
    text: bytes
    timestamp_ms: int
    received_at_ns: int

    @property
    def price(self) -> Decimal:
        return Decimal(self.mantissa).scaleb(-self.scale)


_NEVER_GOOD = LastGood(0, 0, b"", 0, 0)


class Labels(NamedTuple):
    """The words of one exchange's row that never change."""

    asset: str
    exchange: str
    currency: str
    simulated: bool


class Numbers(NamedTuple):
    """What a worker checks beside the price; the names are those of ANSWER_DTYPE."""

    sources: int
    rejected: int
    sources_required: int
    valid_until_ns: int = 0
    confidence: int = 0
    confidence_milli_bps: int = 0
    disagreement_milli_bps: int = 0
    voters: int = 0
    majority: int = 0


class Rendered(NamedTuple):
    """An array of one ANSWER_DTYPE record, and the last good price after it."""

    record: NDArray[np.void]
    last: LastGood | None


def render_consensus(
    asset: str, decision: Decision, exchanges: Sequence[str], sources_required: int, last: LastGood | None
) -> Rendered:
    """The consensus row; `exchanges` are the names by exchange index, marked when they are simulated."""
    price, confidence = decision.price, decision.confidence
    disagree = decision.state is AnswerState.SOURCES_DISAGREE and decision.window is None
    numbers = Numbers(
        len(decision.used) if price is not None else 0,
        len(decision.rejected),
        sources_required,
        decision.valid_until_ns,
        _mantissa(confidence, decision.digits) if confidence is not None else 0,
        decision.confidence_milli_bps,
        decision.disagreement_milli_bps,
        len(decision.used),
        decision.asked.needed if disagree else 0,
    )
    if price is None or confidence is None:
        return Rendered(_record(decision.state, last, numbers), last)
    text = price_text(price)
    timestamp_ms = decision.received_wall_ns // NS_PER_MS
    newest_ms = decision.newest_received_wall_ns // NS_PER_MS
    names = '","'.join([exchanges[index] for index in decision.used])
    body = (
        f'{{"asset":"{asset}","price":{text},"currency":"USD","confidence":{price_text(confidence)},'
        f'"sources":{len(decision.used)},"rejected":{len(decision.rejected)},"source":"consensus",'
        f'"timestamp":{timestamp_ms},"newest_timestamp":{newest_ms},"status":"fresh",'
        f'"disagreement_bps":{price_text(Decimal(decision.disagreement_milli_bps).scaleb(-3))},"exchanges":["{names}"]}}'
    )
    good = LastGood(
        _mantissa(price, decision.digits),
        decision.digits,
        text.encode(),
        timestamp_ms,
        decision.received_at_ns,
    )
    return Rendered(_record(AnswerState.GOOD, good, numbers, body.encode()), good)


def render_venue(labels: Labels, via: Via, venue: VenuePrice, state: AnswerState, last: LastGood | None) -> Rendered:
    """One exchange's own price, in its own currency, and the sides that count; other than GOOD renders no price."""
    if state is not AnswerState.GOOD or venue.price is None or venue.half_width is None:
        return render_nothing(state, last)
    digits = digits_that_fit(venue.price, venue.digits + 1)
    quantum = Decimal(1).scaleb(-digits)
    price = venue.price.quantize(quantum, ROUND_HALF_EVEN)
    confidence = venue.half_width.quantize(quantum, ROUND_CEILING)
    text = price_text(price)
    timestamp_ms = venue.received_wall_ns // NS_PER_MS
    parts = (("bid", venue.bid), ("ask", venue.ask), ("last", venue.last))
    present = "".join([f'"{name}":{price_text(part)},' for name, part in parts if part is not None])
    marked = '"simulated":true,' if labels.simulated else ""
    body = (
        f'{{"asset":"{labels.asset}","price":{text},"currency":"{labels.currency}",{present}'
        f'"source":"{labels.exchange}",{marked}"via":"{via.name.lower()}",'
        f'"timestamp":{timestamp_ms},"status":"fresh"}}'
    )
    good = LastGood(_mantissa(price, digits), digits, text.encode(), timestamp_ms, venue.received_at_ns)
    numbers = Numbers(
        1,
        0,
        1,
        venue.fresh_until_ns + 1,
        _mantissa(confidence, digits),
        min(int((confidence * MILLI_BPS / price).to_integral_value(ROUND_CEILING)), MILLI_BPS_MAX),
        voters=1,
    )
    return Rendered(_record(AnswerState.GOOD, good, numbers, body.encode()), good)


def render_nothing(state: AnswerState, last: LastGood | None) -> Rendered:
    """A row of an exchange that lists no such market, or that has not sent anything yet."""
    return Rendered(_record(state, last, Numbers(0, 0, 1)), last)


def last_good_of(record: NDArray[np.void] | None) -> LastGood | None:
    """What a record that was read back says of the last good price."""
    if record is None or not record["has_last_good"][0]:
        return None
    row = record[0]
    text = bytes(row["price_text"][: int(row["price_text_length"])])
    return LastGood(int(row["price"]), int(row["scale"]), text, int(row["timestamp_ms"]), int(row["received_at_ns"]))


def price_text(price: Decimal) -> str:
    """Plain digits: no exponent, no trailing zeros behind the point."""
    text = format(price, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _mantissa(number: Decimal, digits: int) -> int:
    return int(number.scaleb(digits))


def _record(state: AnswerState, last: LastGood | None, numbers: Numbers, body: bytes = b"") -> NDArray[np.void]:
    """All fields in the order of ANSWER_DTYPE; without a body there is no head either."""
    head = HEAD % len(body) if body else b""
    assert len(head) <= HEAD_BYTES
    assert len(body) <= BODY_BYTES
    good = last or _NEVER_GOOD
    packed = _RECORD.pack(
        state,
        numbers.valid_until_ns,
        good.received_at_ns,
        good.timestamp_ms,
        good.mantissa,
        numbers.confidence,
        numbers.confidence_milli_bps,
        numbers.disagreement_milli_bps,
        good.scale,
        numbers.sources,
        numbers.rejected,
        numbers.sources_required,
        numbers.voters,
        numbers.majority,
        last is not None,
        len(good.text),
        len(head),
        len(body),
        good.text,
        head,
        body,
    )
    # A bytearray, because numba compiles a second version of the table's write for a read-only array.
    return np.frombuffer(bytearray(packed), dtype=ANSWER_DTYPE)
