"""Frames of the simulated exchanges, prepared: what changes from one to the next is overwritten in place, compiled.

    text of a frame -> places_in(...)          where its prices, times and sequence number stand
    frames -> Prepared.of(...)              all of them as WebSocket frames in one array, with their places
    patch(prepared, frame, ...)             the present time, the next sequence number and another price

Rules: pure. A frame keeps its length, so a price has the same digits but the last: bid, last and ask end in 1 to 3,
3 to 5 and 6 to 8, whatever the turn, and stay in that order. The frames of PROBE say their number as a price of their
own, `mantissa_of(number)`, in the middle of their book.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.generators.checks import Bytes, Ints
from trinity.clock import NS_PER_MS, NS_PER_SECOND, NS_PER_US
from trinity.compiled import compiled

PROBE = "PROBE"
# Mantissa at four places. A step is 2 of 1,000,000 (0.02 bps), so no rule of the consensus takes it for a jump.
SCALE = 4
FIRST_MANTISSA = 1_000_001
STEP = 2
# What the last digits of bid, last and ask are in a frame that was not overwritten yet, and so many turns have others.
BID_DIGIT, LAST_DIGIT, ASK_DIGIT = 1, 3, 6
_TURNS = 3
# Sequence numbers have ten digits from the first on.
FIRST_SEQUENCE = 1_000_000_000

# Kinds of places; `value` is the digit's first letter, the unit in ns, nothing, nothing, the offset from the mantissa.
DIGIT, UNIX_TIME, CALENDAR_TIME, SEQUENCE, PROBE_PRICE = range(5)
_KIND, _AT, _WIDTH, _VALUE, PLACE_WORDS = range(5)

_CALENDAR = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{1,9})Z")
_SEQUENCE_NUMBER = re.compile(r'"sequence_num":(\d+)')
_UNITS_NS = {10: NS_PER_SECOND, 13: NS_PER_MS, 16: NS_PER_US, 19: 1}  # by the digits of a time
_TEXT_FRAME = 0x81  # RFC 6455, 5.2: the last of a message, of text
_LENGTH_16, _SHORT_MAX = 126, 125
_ZERO = ord("0")
_DAY_SECONDS = 86_400


class Place(NamedTuple):
    """Where in a frame something is overwritten."""

    kind: int
    at: int
    width: int
    value: int


class Prices(NamedTuple):
    """The prices of a quote, as they stand in its frames."""

    bid: str
    last: str
    ask: str


def mantissa_of(number: int) -> int:
    """The price of the n-th frame of PROBE, in 1/10,000."""
    return FIRST_MANTISSA + STEP * number


def places_in(text: str, prices: Prices, wall_ns: int, is_probe: bool) -> list[Place]:
    """All places of a frame that was made of these prices at this time."""
    found = [Place(CALENDAR_TIME, match.start(), len(match[1]), 0) for match in _CALENDAR.finditer(text)]
    times = re.finditer(rf"(?<!\d){wall_ns // NS_PER_SECOND}\d{{0,9}}(?!\d)", text)
    found += [Place(UNIX_TIME, match.start(), len(match[0]), _UNITS_NS[len(match[0])]) for match in times]
    found += [Place(SEQUENCE, match.start(1), len(match[1]), 0) for match in _SEQUENCE_NUMBER.finditer(text)]
    for offset, price in enumerate(prices, -1):
        for match in re.finditer(rf"(?<![\d.]){re.escape(price)}(?=0*[^\d.])", text):
            if is_probe:
                found.append(Place(PROBE_PRICE, match.start(), len(price), offset))
            else:
                found.append(Place(DIGIT, match.end() - 1, 1, ord(price[-1])))
    return found


def renumbered(text: str, sequence: int) -> tuple[str, int]:
    """The text with this sequence number, if it has one; the next one."""
    text, count = _SEQUENCE_NUMBER.subn(f'"sequence_num":{sequence}', text)
    return text, sequence + count


class Prepared(NamedTuple):
    """Frames of all connections: frame i is octets[starts[i]:starts[i + 1]] and has places[first[i]:first[i + 1]]."""

    octets: Bytes
    starts: Ints
    places: Ints
    first: Ints
    connections: Ints

    @classmethod
    def of(cls, frames: Sequence[tuple[int, str, list[Place]]]) -> "Prepared":
        """Of (connection, text, places)."""
        whole = [_framed(text.encode()) for _, text, _ in frames]
        starts = np.cumsum([0, *map(len, whole)], dtype=np.int64)
        rows = [
            place._replace(at=place.at + int(starts[number + 1]) - len(text.encode()))
            for number, (_, text, found) in enumerate(frames)
            for place in found
        ]
        return cls(
            np.frombuffer(bytearray(b"".join(whole)), dtype=np.uint8),
            starts,
            np.array(rows, dtype=np.int64).reshape(-1, PLACE_WORDS),
            np.cumsum([0, *(len(found) for _, _, found in frames)], dtype=np.int64),
            np.array([connection for connection, _, _ in frames], dtype=np.int64),
        )

    def texts(self) -> Iterator[str]:
        """The frames as they are now."""
        for start, end in zip(self.starts, self.starts[1:], strict=False):
            frame = self.octets[start:end].tobytes()
            yield frame[2 if frame[1] <= _SHORT_MAX else 4 :].decode()


def _framed(payload: bytes) -> bytes:
    """A server's text frame: not masked."""
    if len(payload) <= _SHORT_MAX:
        return bytes([_TEXT_FRAME, len(payload)]) + payload
    return bytes([_TEXT_FRAME, _LENGTH_16]) + len(payload).to_bytes(2, "big") + payload


@compiled
def patch(prepared: Prepared, frame: int, wall_ns: int, turn: int, number: int, sequence: int) -> int:
    """Overwrite the places of a frame; how many sequence numbers it took."""
    octets, places_of, taken = prepared.octets, prepared.places, 0
    for i in range(prepared.first[frame], prepared.first[frame + 1]):
        kind, at, width, value = places_of[i, 0], places_of[i, 1], places_of[i, 2], places_of[i, 3]
        if kind == DIGIT:
            octets[at] = np.uint8(value + turn % _TURNS)
        elif kind == UNIX_TIME:
            write_digits(octets, at, width, wall_ns // value)
        elif kind == CALENDAR_TIME:
            write_calendar(octets, at, width, wall_ns)
        elif kind == SEQUENCE:
            write_digits(octets, at, width, sequence)
            taken += 1
        else:
            mantissa = FIRST_MANTISSA + STEP * number + value
            write_digits(octets, at, width - SCALE - 1, mantissa // 10**SCALE)
            write_digits(octets, at + width - SCALE, SCALE, mantissa % 10**SCALE)
    return taken


@compiled
def write_digits(octets: Bytes, at: int, width: int, value: int) -> None:
    """The last `width` digits of a number."""
    for i in range(width - 1, -1, -1):
        octets[at + i] = np.uint8(_ZERO + value % 10)
        value //= 10


@compiled
def write_calendar(octets: Bytes, at: int, width: int, wall_ns: int) -> None:
    """2026-09-24T03:54:28.829165 with `width` digits of the second; the punctuation stands."""
    seconds, rest_ns = wall_ns // NS_PER_SECOND, wall_ns % NS_PER_SECOND
    days, of_day = seconds // _DAY_SECONDS, seconds % _DAY_SECONDS
    # Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": civil_from_days, for days behind 1970.
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month_from_march = (5 * of_year + 2) // 153
    day = of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    write_digits(octets, at, 4, year + era * 400 + (1 if month <= 2 else 0))
    write_digits(octets, at + 5, 2, month)
    write_digits(octets, at + 8, 2, day)
    write_digits(octets, at + 11, 2, of_day // 3_600)
    write_digits(octets, at + 14, 2, of_day // 60 % 60)
    write_digits(octets, at + 17, 2, of_day % 60)
    write_digits(octets, at + 20, width, rest_ns // 10 ** (9 - width))
