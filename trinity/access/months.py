"""The calendar's months (UTC) in nanoseconds of the wall clock, numbered since the year 0. Pure, compiled.

Rules: all months that a 64-bit count of nanoseconds reaches from 1970 on; a time beyond is in the first or last one.
"""

import numpy as np

from trinity.compiled import compiled

_MONTHS = np.arange("1970-01", "2262-01", dtype="datetime64[M]")
_STARTS_NS = _MONTHS.astype("datetime64[ns]").astype(np.int64)
_FIRST = 1970 * 12


@compiled
def find_month(near: int, wall_ns: int) -> int:
    """The month of this time; looked for from `near` on, which is it but once a month."""
    at = min(max(near - _FIRST, 0), _STARTS_NS.size - 2)
    while at > 0 and wall_ns < _STARTS_NS[at]:
        at -= 1
    while at < _STARTS_NS.size - 2 and wall_ns >= _STARTS_NS[at + 1]:
        at += 1
    return _FIRST + at


@compiled
def start_of_month(month: int) -> int:
    """Wall time in nanoseconds at which a month that `find_month` found, or the next one, begins."""
    start_ns: int = _STARTS_NS[month - _FIRST]
    return start_ns
