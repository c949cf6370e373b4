"""The connections of a worker: a row each, its unfinished input, its peer's address, and the lists that hold rows.

A connection is a row of `Connections.table`; its slot is the row's number and its tag in the epoll set.

    PREFACE    a trusted proxy's connection whose PROXY header is not whole yet
    NEW        before its first request, which is due at the deadline
    IDLE       between two requests
    HEAD       part of a request is here: its last byte is due at the deadline
    STALLED    the client does not take its answers: nothing is read from it until it does
    LINGERING  refused: our side is shut, what the client still sends is read and dropped
    OVER       its request came over the governor's limit: it is refused when its turn comes (overload.py)
    PARKED     its request waits for an asset that is being looked for (parked.py): nothing is read from it until then

Rules: a slot is free or has a descriptor; whoever closes it gives everything back. A slot with more to do than its turn
allows goes on the ready list, whose entries the next turn serves like events.
"""

from typing import NamedTuple

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_OF_ADDRESS_SHARE,
    HEAD_BYTES_MAX,
    HEAD_MAX_NS,
    OPEN_FILES_BESIDE,
    STALLED_MAX,
)
from trinity.memory.admission_table import OPEN, AdmissionTable, line_at
from trinity.memory.atomics import Words, store_release
from trinity.native.addresses import ADDRESS_WORDS
from trinity.native.libc import EPOLLET, EPOLLIN, EPOLLRDHUP, EVENT_WORDS, Events, close, make_sockaddr, set_event
from trinity.native.octets import Integers, Octets
from workers.request.http.context import RequestContext, response_bytes_max
from workers.request.http.response import HEAD_END_BYTES_MAX

# Columns of the table: 64 bytes a row, one cache line.
(
    FD,  # -1: free
    PHASE,
    DEADLINE_NS,  # monotonic; what happens then depends on the phase
    KEPT,  # bytes of unfinished input
    STALL,  # where its unsent output is kept while STALLED
    ENDING,  # CLOSES or LINGERS when all output is sent
    READY,  # 1 while on the ready list
    HALF_CLOSED,  # 1 when the client has said that it will send no more
    _COLUMNS,
) = range(9)
IDLE, HEAD, STALLED, LINGERING, PREFACE, NEW, OVER, PARKED = range(8)
STAYS, CLOSES, LINGERS = range(3)
STALL_START, STALL_END = range(2)
IN_RING, CHOSEN_FROM = 1, 2  # bits

# Words of `state`.
(
    FREE_COUNT,
    READY_COUNT,
    STALL_FREE_COUNT,
    HIGHEST,  # no slot from here on was ever used
    EPOLL_FD,
    DRAINING,
    PROXY_PROTOCOL,  # 1: connections of trusted proxies begin with a PROXY header
    ANSWERED,  # requests of one connection that were answered in this turn
    OUT,  # of this turn: bytes of output,
    CONSUMED,  # bytes of input that were answered,
    PARSED,  # requests,
    STOPPED,  # 1 when the turn's bounds stopped it with requests left,
    END,  # whether the connection ends: STAYS, CLOSES or LINGERS
    OF_ADDRESS_MAX,  # connections that one address may have
    DONE_NS,  # when the answer before was whole: about when the next connection's turn began
    OVER_FIRST,  # of the ring of connections that are to be refused,
    OVER_COUNT,
    LINE,  # where the worker's line of the admission table begins
    _STATE_WORDS,
) = range(19)

BASE_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET
TURN_BYTES = 64 * 1024  # output of a turn in which a further answer still begins

# A word of `Connections.known`: the key of the last request, above its admission class. Before a connection's first
# request nobody knows; the class is then between those who pay and those who do not.
KEY_SHIFT, CLASS_MASK = 8, 0xFF
NOBODY_KNOWN = 1


class Connections(NamedTuple):
    """All connections of a worker, and the memory of one turn."""

    table: Integers  # int64[connections, 8]
    state: Integers
    addresses: Words  # ADDRESS_WORDS a slot: the peer, or whom its PROXY header named; zeros while the slot is free
    address_octets: Octets  # the same memory
    free: Integers  # a stack of slots
    ready: Integers
    known: Integers  # whose connection it is, for when its requests are refused unread
    over: Integers  # a ring of slots, each in it once at most: a closed one stays until its turn comes
    over_marks: Integers  # IN_RING: the slot is in the ring; CHOSEN_FROM: it is one of those that a turn chooses from
    admission: Words  # AdmissionTable.words
    parks: Integers  # the place of the request that waits, and one; 0: none does
    inputs: Octets  # HEAD_BYTES_MAX a slot
    stalled: Octets  # one turn's output a stalled connection
    stalled_marks: Integers  # int64[STALLED_MAX, 2]: what is unsent of it
    stalled_free: Integers  # a stack
    inbox: Octets
    outbox: Octets
    event: Events  # scratch for epoll_ctl
    sockaddr: Words  # scratch for accept
    timespec: Integers  # scratch for the clock


def connections_of(open_files_max: int) -> int:
    """Connections that a worker may hold: its table's rows, or what its descriptors leave of them.

    One that came after the last descriptor could not even be told so.
    """
    if open_files_max < 0:  # RLIM_INFINITY
        return CONNECTIONS_MAX
    return max(1, min(CONNECTIONS_MAX, open_files_max - OPEN_FILES_BESIDE))


def make_connections(
    epoll_fd: int,
    context: RequestContext,
    count: int = CONNECTIONS_MAX,
    proxy_protocol: bool = False,
    admission: AdmissionTable | None = None,
    worker: int = 0,
) -> Connections:
    """Memory for `count` connections; the kernel hands out its pages when they are first used."""
    admission = admission or AdmissionTable.private()
    admission.clear(worker)
    outbox_bytes = TURN_BYTES + HEAD_END_BYTES_MAX + response_bytes_max(context)
    state = np.zeros(_STATE_WORDS, dtype=np.int64)
    state[FREE_COUNT], state[STALL_FREE_COUNT], state[EPOLL_FD] = count, STALLED_MAX, epoll_fd
    state[PROXY_PROTOCOL], state[LINE] = proxy_protocol, line_at(worker)
    state[OF_ADDRESS_MAX] = max(1, int(count * CONNECTIONS_OF_ADDRESS_SHARE))
    table = np.zeros((count, _COLUMNS), dtype=np.int64)
    table[:, FD] = -1
    addresses = np.zeros(count * ADDRESS_WORDS, dtype=np.uint64)
    return Connections(
        table=table,
        state=state,
        addresses=addresses,
        address_octets=addresses.view(np.uint8),
        free=np.arange(count - 1, -1, -1, dtype=np.int64),
        ready=np.zeros(count, dtype=np.int64),
        known=np.zeros(count, dtype=np.int64),
        over=np.zeros(count, dtype=np.int64),
        over_marks=np.zeros(count, dtype=np.int64),
        admission=admission.words,
        parks=np.zeros(count, dtype=np.int64),
        inputs=np.zeros(count * HEAD_BYTES_MAX, dtype=np.uint8),
        stalled=np.zeros(STALLED_MAX * outbox_bytes, dtype=np.uint8),
        stalled_marks=np.zeros((STALLED_MAX, 2), dtype=np.int64),
        stalled_free=np.arange(STALLED_MAX - 1, -1, -1, dtype=np.int64),
        inbox=np.zeros(HEAD_BYTES_MAX, dtype=np.uint8),
        outbox=np.zeros(outbox_bytes, dtype=np.uint8),
        event=np.zeros(EVENT_WORDS, dtype=np.uint32),
        sockaddr=make_sockaddr(),
        timespec=np.zeros(2, dtype=np.int64),
    )


@compiled
def close_connection(at: Connections, slot: int) -> None:
    """Close the socket, which also takes it out of the epoll set, and free the slot."""
    row = at.table[slot]
    if row[FD] < 0:
        return
    close(row[FD])
    release_stall(at, slot)
    row[FD], row[READY], at.parks[slot] = -1, 0, 0
    at.addresses[slot * ADDRESS_WORDS] = at.addresses[slot * ADDRESS_WORDS + 1] = 0
    at.free[at.state[FREE_COUNT]] = slot
    at.state[FREE_COUNT] += 1
    count_open(at)


@compiled_inline
def count_open(at: Connections) -> None:
    """Say in the admission table how many connections are open."""
    store_release(at.admission, at.state[LINE] + OPEN, at.free.size - at.state[FREE_COUNT])


@compiled
def release_stall(at: Connections, slot: int) -> None:
    """Give the memory of unsent output back."""
    if at.table[slot, PHASE] == STALLED:
        at.stalled_free[at.state[STALL_FREE_COUNT]] = at.table[slot, STALL]
        at.state[STALL_FREE_COUNT] += 1


@compiled
def push_ready(at: Connections, slot: int) -> None:
    """Serve this connection in the next turn, without waiting for an event."""
    if at.table[slot, READY] == 0:
        at.table[slot, READY] = 1
        at.ready[at.state[READY_COUNT]] = slot
        at.state[READY_COUNT] += 1


@compiled
def put_off(at: Connections, slot: int, now_ns: int) -> None:
    """The connection's request is over the limit: it is refused when its turn comes."""
    row, state = at.table[slot], at.state
    if row[PHASE] == IDLE:
        row[DEADLINE_NS] = now_ns + HEAD_MAX_NS
    row[PHASE] = OVER
    if at.over_marks[slot] & IN_RING == 0:
        at.over_marks[slot] |= IN_RING
        at.over[(state[OVER_FIRST] + state[OVER_COUNT]) % at.over.size] = slot
        state[OVER_COUNT] += 1


@compiled
def take_over(at: Connections) -> int:
    """The slot whose refusal is next, which may have been closed meanwhile; there must be one."""
    state = at.state
    slot: int = at.over[state[OVER_FIRST]]
    state[OVER_FIRST] = (state[OVER_FIRST] + 1) % at.over.size
    state[OVER_COUNT] -= 1
    at.over_marks[slot] &= ~IN_RING
    return slot


@compiled
def take_ready(at: Connections, events: Events, count: int) -> int:
    """Put the ready list behind the `count` events that the kernel reported; how many there are now."""
    for i in range(at.state[READY_COUNT]):
        slot = at.ready[i]
        at.table[slot, READY] = 0
        set_event(events, count, EPOLLIN, slot)
        count += 1
    at.state[READY_COUNT] = 0
    return count
