"""What was missed, as messages: the closes of past minutes, cut into parts of less than 20 kB. Pure.

    {"type":"price.replay","timestamp":"...Z","data":{"subscription":12,"sequence":4294967301,"part":1,"parts":3,
     "minutes":[{"time":"2026-01-01T00:01:00.000Z","prices":{"BTC":"71000.5","ETH":"3999.1"}}, ...]}}

Rules: the oldest minute first; a minute's close stands from its end, which is its `time`. An asset that had no price
within a minute is not in it. At most PARTS_MAX parts: what is beyond is left out, and the result says from when on.
"""

import datetime
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

# Standard Webhooks asks for less than 20 kB; what stands around the minutes takes less than 300 bytes.
PART_BYTES_MAX = 19_000
# A day of 150 assets is some 250; five a second are a minute's work.
PARTS_MAX = 300


class MinuteCloses(NamedTuple):
    """One minute: its end, and what stood then."""

    closed_at: datetime.datetime
    assets: Sequence[str]
    closes: Sequence[Decimal]


class ReplayParts(NamedTuple):
    """The minutes of each message, as JSON; `next_since` where not all fit."""

    parts: list[bytes]
    minutes: int
    next_since: datetime.datetime | None = None


def make_parts(rows: Iterable[MinuteCloses]) -> ReplayParts:
    """Cut minutes into parts."""
    parts: list[bytes] = []
    waiting: list[bytes] = []
    size = minutes = 0
    for row in rows:
        piece = _piece(row)
        if waiting and size + len(piece) + 1 > PART_BYTES_MAX:
            parts.append(b",".join(waiting))
            waiting, size = [], 0
            if len(parts) == PARTS_MAX:
                return ReplayParts(parts, minutes, row.closed_at - datetime.timedelta(minutes=1))
        waiting.append(piece)
        size += len(piece) + 1
        minutes += 1
    if waiting:
        parts.append(b",".join(waiting))
    return ReplayParts(parts, minutes)


def body_of_part(
    subscription: int, sequence: int, made_at: bytes, number: int, count: int, part: bytes, *, is_simulated: bool
) -> bytes:
    """The message with part `number` of `count`, counted from 1."""
    simulated = b',"simulated":true' if is_simulated else b""
    return (
        b'{"type":"price.replay","timestamp":"%b","data":{"subscription":%d,"sequence":%d,"part":%d,"parts":%d%b,"minutes":[%b]}}'
        % (made_at, subscription, sequence, number, count, simulated, part)
    )


def _piece(row: MinuteCloses) -> bytes:
    time = row.closed_at.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    prices = ",".join(f'"{asset}":"{close:f}"' for asset, close in zip(row.assets, row.closes, strict=True))
    return f'{{"time":"{time}","prices":{{{prices}}}}}'.encode()
