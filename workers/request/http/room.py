"""Room for a new connection: the bounds of an address and of the table, and who gives way. Compiled.

Rules: an address, of IPv6 a /64 (RFC 6177), may have so many connections and no more; trusted proxies, behind whom
everybody may stand, may have all. At a bound the connection of that address, or of all, that has the smallest share
of its time limit left is closed: the longest idle, and one that never asked long before one between two requests.
Whose answer is due or on its way stays. All that looks through the connections is done when one comes, never when one
asks; looking through 8,192 addresses takes less than accepting does.
"""

import numpy as np

from trinity.compiled import compiled
from trinity.limits import HEAD_MAX_NS, IDLE_MAX_NS, LINGER_MAX_NS
from trinity.memory.admission_table import CONNECTIONS_LIMIT, HEADER_WORDS, LINE_WORDS, OPEN, WANTED, WORKERS
from trinity.memory.atomics import Words, fence, load_acquire, signed, store_release
from trinity.native.addresses import ADDRESS_WORDS
from trinity.native.networks import Networks, is_inside
from workers.request.http.slots import (
    DEADLINE_NS,
    FD,
    FREE_COUNT,
    HIGHEST,
    LINE,
    OF_ADDRESS_MAX,
    OVER,
    PARKED,
    PHASE,
    READY,
    STALLED,
    Connections,
    close_connection,
    count_open,
)

# By phase: how long the connection may stay in it. STALLED, and OVER and PARKED, whose answer is due, never give way.
_LIMITS_NS = np.array([IDLE_MAX_NS, HEAD_MAX_NS, 0, LINGER_MAX_NS, HEAD_MAX_NS, HEAD_MAX_NS, 0, 0], dtype=np.int64)
_SHARES = 1 << 20  # a share of time left is counted in these: 75 s in 72 us, and no product overflows
_NOBODY = -1
_IPV4 = np.uint64(0)  # the upper word of a mapped address
FULL, FREE, MADE = range(3)


@compiled
def make_room(at: Connections, proxies: Networks, addresses: Words, where: int, now_ns: int) -> int:
    """Whether a connection from the address at word `where` may come in: FREE, MADE when another gave way, FULL."""
    room = make_room_of_address(at, proxies, addresses, where, _NOBODY, now_ns)
    if room == FREE and (at.state[FREE_COUNT] == 0 or not _has_node_room(at)):
        room = give_way(at, now_ns)
        at.admission[at.state[LINE] + WANTED] += np.uint64(1)
    return room


@compiled
def give_way(at: Connections, now_ns: int) -> int:
    """Close the connection that can best be spared: MADE, or FULL where none can."""
    return _give_way(at, np.uint64(0), np.uint64(0), True, _NOBODY, now_ns)


@compiled
def excess(at: Connections) -> int:
    """How many connections this worker has to give up: all of the node's excess, if it has the most of them.

    Of workers with the same number it is the first.
    """
    own, total = at.state[LINE], 0
    open_here = signed(at.admission[own + OPEN])
    for worker in range(signed(at.admission[WORKERS])):
        line = HEADER_WORDS + worker * LINE_WORDS
        count = signed(load_acquire(at.admission, line + OPEN))
        if count > open_here or (count == open_here and line < own):
            return 0
        total += count
    return max(0, min(total - signed(load_acquire(at.admission, CONNECTIONS_LIMIT)), open_here - 1))


@compiled
def _has_node_room(at: Connections) -> bool:
    """Whether one more connection keeps the node within its limit; a worker without any always takes one.

    The newcomer is counted before the others are looked at: of two workers at the last place none takes it, or one.
    """
    own = at.state[LINE]
    open_here = at.free.size - at.state[FREE_COUNT]
    if open_here == 0:
        return True
    store_release(at.admission, own + OPEN, open_here + 1)
    fence()
    total = 0
    for worker in range(signed(at.admission[WORKERS])):
        total += signed(load_acquire(at.admission, HEADER_WORDS + worker * LINE_WORDS + OPEN))
    has_room = total <= signed(load_acquire(at.admission, CONNECTIONS_LIMIT))
    if not has_room:
        count_open(at)
    return has_room


@compiled
def make_room_of_address(
    at: Connections, proxies: Networks, addresses: Words, where: int, newcomer: int, now_ns: int
) -> int:
    """As `make_room` for the bound of the address alone; the newcomer's own slot does not count."""
    if is_inside(proxies, addresses, where):
        return FREE
    high, low = addresses[where], addresses[where + 1]
    count = 0
    for slot in range(at.state[HIGHEST]):
        count += _is_of(at, slot, high, low)
    if newcomer != _NOBODY:
        count -= 1
    if count < at.state[OF_ADDRESS_MAX]:
        return FREE
    return _give_way(at, high, low, False, newcomer, now_ns)


@compiled
def _is_of(at: Connections, slot: int, high: np.uint64, low: np.uint64) -> bool:
    """Whether the slot's peer is the same address; IPv4, which is mapped, has an upper word of zeros."""
    word = slot * ADDRESS_WORDS
    same: bool = at.addresses[word] == high and (high != _IPV4 or at.addresses[word + 1] == low)
    return same


@compiled
def _give_way(at: Connections, high: np.uint64, low: np.uint64, all_addresses: bool, newcomer: int, now_ns: int) -> int:
    """Close whoever has the smallest share of its time left: MADE, or FULL where nobody may be closed."""
    found, least = _NOBODY, 0
    for slot in range(at.state[HIGHEST]):
        row = at.table[slot]
        stays = row[PHASE] in (STALLED, OVER, PARKED) or row[READY] == 1 or slot == newcomer
        if row[FD] < 0 or stays:
            continue
        if all_addresses or _is_of(at, slot, high, low):
            left = max(0, row[DEADLINE_NS] - now_ns) * _SHARES // _LIMITS_NS[row[PHASE]]
            if found == _NOBODY or left < least:
                found, least = slot, left
    if found == _NOBODY:
        return FULL
    close_connection(at, found)
    return MADE
