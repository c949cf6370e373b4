"""What a worker's loop does for requests that wait for an asset, and what it counts of lookups and times. Compiled.

Rules: the resolver is woken once a turn, whatever was asked for in it. All that wait are looked at when the resolver
has decided something, and when the first of them has waited for long enough; one whose name is not decided costs two
looks at the asset table.
"""

import numpy as np

from trinity.compiled import compiled
from trinity.memory.atomics import Words
from trinity.native.libc import MONOTONIC, read_clock, write_event
from trinity.native.octets import Integers
from trinity.observe import metrics
from trinity.vocabulary import ASSET_RESULTS, LATENCY_BOUNDS_NS
from workers.request.beyond import (
    ARRIVED_NS,
    ASKED,
    DATAGRAM,
    FREE,
    FROM_TABLE,
    MISSED,
    NEVER_NS,
    NEXT_NS,
    NOT_OF_CATALOG,
    REFUSED,
    SLOT,
    Beyond,
)
from workers.request.http.connection import serve_parked
from workers.request.http.context import RequestContext
from workers.request.http.slots import Connections
from workers.request.udp.batch import Mailbox, serve_parked_datagram

_DURATION = "http_request_duration_seconds"
_DURATION_WORD = metrics.REQUEST.index(_DURATION, metrics.DURATION_BOUNDS[0])
_DURATION_SUM_WORD = metrics.REQUEST.index(_DURATION, "sum")
_BUCKETS_NS = np.array(LATENCY_BOUNDS_NS, dtype=np.int64)

_LOOKUPS_WORD = metrics.REQUEST.index("lookups_total")
_OF_CATALOG_WORD, _FROM_TABLE_WORD, _MISSED_WORD, _REFUSED_WORD = (
    metrics.REQUEST.index("asset_lookups_total", result) for result in ASSET_RESULTS
)


@compiled
def serve_waiting(
    connections: Connections,
    mailbox: Mailbox,
    context: RequestContext,
    counters: Words,
    udp_fd: int,
    resolver_fd: int,
    is_decided: bool,
    now_ns: int,
) -> None:
    """Wake the resolver if it was asked, and look again at what waits if it is time; `is_decided`: something was."""
    beyond = context.beyond
    state = beyond.state
    if state[ASKED] == 1:
        state[ASKED] = 0
        write_event(resolver_fd, mailbox.scratch)
    if not is_decided and now_ns < state[NEXT_NS]:
        return
    state[NEXT_NS] = NEVER_NS
    for place in range(beyond.parked.shape[0]):
        slot = beyond.parked[place, SLOT]
        if slot == DATAGRAM:
            serve_parked_datagram(mailbox, counters, udp_fd, place, now_ns)
        elif slot != FREE:
            arrived_ns = beyond.parked[place, ARRIVED_NS]
            if serve_parked(connections, context, counters, place, now_ns):
                count_duration(counters, 1, read_clock(MONOTONIC, mailbox.timespec) - arrived_ns)


@compiled
def count_duration(counters: Words, answered: int, duration_ns: int) -> None:
    """The answers of one connection in a turn took so long; one count for each bucket alone, the sum in ns."""
    bucket = 0
    while bucket < _BUCKETS_NS.size and duration_ns > _BUCKETS_NS[bucket]:
        bucket += 1
    counters[_DURATION_WORD + bucket] += np.uint64(answered)
    counters[_DURATION_SUM_WORD] += np.uint64(answered * duration_ns)


@compiled
def tell_lookups(beyond: Beyond, counters: Words, marks: Integers, lookups_before: int) -> None:
    """Once a second: what became of names beyond the catalog; all other lookups since then were of its rows.

    So no lookup of the catalog counts twice. `marks[lookups_before]` are the lookups that were told.
    """
    state, lookups = beyond.state, np.int64(counters[_LOOKUPS_WORD])
    of_catalog = max(0, lookups - marks[lookups_before] - state[NOT_OF_CATALOG])
    marks[lookups_before] = lookups
    counters[_OF_CATALOG_WORD] += np.uint64(of_catalog)
    counters[_FROM_TABLE_WORD] += np.uint64(state[FROM_TABLE])
    counters[_MISSED_WORD] += np.uint64(state[MISSED])
    counters[_REFUSED_WORD] += np.uint64(state[REFUSED])
    state[NOT_OF_CATALOG] = state[FROM_TABLE] = state[MISSED] = state[REFUSED] = 0
