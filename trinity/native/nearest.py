"""Which of the paths that there are somebody meant who wrote another one. Pure, compiled.

Rules: a path that goes on behind one of them means that one, the longest; else it means the one that differs least, in
one piece of at most DIFFERING_MAX bytes (a letter too many, too few, another one, two that changed places) and less
than half of it; else, where it is the beginning of some, one of them. Case tells nothing apart, nor does a version.
"""

from collections.abc import Sequence

from trinity.compiled import compiled
from trinity.native.octets import NOT_FOUND, Integers, Octets, byte_at, folded, octets_of, pack_texts

DIFFERING_MAX = 2
VERSION = "/v1"

_VERSION = octets_of(VERSION.encode())
(_SLASH,) = b"/"


@compiled
def find_nearest(texts: Octets, bounds: Integers, source: Octets, start: int, end: int) -> int:
    """Which of the packed paths, in lower case, `source[start:end]` is next to; NOT_FOUND when none is near."""
    start = _behind_version(source, start, end)
    best, least, longest = NOT_FOUND, DIFFERING_MAX + 1, 0
    for which in range(bounds.size - 1):
        first, length = bounds[which], bounds[which + 1] - bounds[which]
        room = min(length, end - start)
        head = 0
        while head < room and byte_at(texts, first + head) == folded(byte_at(source, start + head)):
            head += 1
        tail, last = 0, first + length - 1
        while tail < room - head and byte_at(texts, last - tail) == folded(byte_at(source, end - 1 - tail)):
            tail += 1
        differing = max(length, end - start) - head - tail
        if head == length and (start + head == end or byte_at(source, start + head) == _SLASH):
            differing = 0
        elif start + head == end and head > 1 and byte_at(texts, first + head) == _SLASH:
            differing = DIFFERING_MAX
        if 2 * differing < length and (differing < least or (differing == least and length > longest)):
            best, least, longest = which, differing, length
    return best


@compiled
def _behind_version(source: Octets, start: int, end: int) -> int:
    """Where the path goes on behind `/v1`."""
    size = _VERSION.size
    if end - start <= size or byte_at(source, start + size) != _SLASH:
        return start
    for i in range(size):
        if byte_at(source, start + i) != _VERSION[i]:
            return start
    return start + size


def nearest_of(paths: Sequence[str], path: str) -> str | None:
    """The same for Python."""
    texts, bounds = pack_texts([known.encode() for known in paths])
    source = octets_of(path.encode(errors="replace"))
    which = int(find_nearest(texts, bounds, source, 0, source.size))
    return None if which == NOT_FOUND else paths[which]


def warm_up() -> None:
    """Compile what Python calls, or load it: the supervisor does it once, before it forks."""
    nearest_of(["/"], "/")
