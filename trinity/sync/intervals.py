"""Stretches of time in whole seconds since 1970, as sorted tuples of (start, end): ends are left out themselves.

Rules: pure. What comes out is sorted, without overlaps, neighbours joined, nothing empty.
"""

from collections.abc import Iterable

Interval = tuple[int, int]
Intervals = tuple[Interval, ...]


def union(*parts: Iterable[Interval]) -> Intervals:
    """What is in any of them."""
    made: list[Interval] = []
    for start, end in sorted(interval for part in parts for interval in part if interval[0] < interval[1]):
        if made and start <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], end)
        else:
            made.append((start, end))
    return tuple(made)


def subtract(whole: Iterable[Interval], taken: Interval) -> Intervals:
    """What of it is not in `taken`."""
    first, last = taken
    if first >= last:
        return union(whole)
    pieces = [piece for start, end in whole for piece in ((start, min(end, first)), (max(start, last), end))]
    return union(pieces)


def clip(whole: Iterable[Interval], bounds: Interval) -> Intervals:
    """What of it is within the bounds."""
    return union((max(start, bounds[0]), min(end, bounds[1])) for start, end in whole)


def touches(whole: Iterable[Interval], start: float, end: float) -> bool:
    """Whether any of it lies between the two."""
    return start < end and any(first < end and start < last for first, last in whole)


def as_text(whole: Intervals) -> str:
    """`100-200,300-400`."""
    return ",".join(f"{start}-{end}" for start, end in whole)


def from_text(text: str) -> Intervals:
    """The intervals of such a text; ValueError for what is none."""
    pairs = [part.split("-") for part in text.split(",")] if text else []
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(text)
    return union((int(start), int(end)) for start, end in pairs)
