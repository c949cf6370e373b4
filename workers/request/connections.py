"""HTTP over connected sockets: read, answer what is whole, send, keep the rest. Compiled.

A connection is a row of `Connections.table`; its slot is the row's number and its tag in the epoll set.

    IDLE       between two requests
    HEAD       part of a request is here: its last byte is due at the deadline
    STALLED    the client does not take its answers: nothing is read from it until it does
    LINGERING  refused: our side is shut, what the client still sends is read and dropped

Rules: edge-triggered, so a socket costs no second look while it is quiet and a client that must wait is simply not
read; a read that fills less than it could has emptied the socket (epoll(7)). All answers of a turn go out in one
send. What is unfinished is kept in the slot: up to one head of input, up to one turn of output. A slot with more to
do than its turn allows goes on the ready list, whose entries the next turn serves like events. Accepting comes last
in a turn, so an event never meets a reused slot, at most a closed one. An error raised while a connection is served
is caught and counted, and costs that connection only.
"""

from typing import NamedTuple

import numpy as np

from trinity import metrics
from trinity.compiled import compiled, compiled_inline
from trinity.limits import (
    CONNECTIONS_MAX,
    HEAD_BYTES_MAX,
    HEAD_MAX_NS,
    IDLE_MAX_NS,
    LINGER_MAX_NS,
    PIPELINED_MAX,
    STALL_MAX_NS,
    STALLED_MAX,
)
from trinity.memory.atomics import Words
from workers.request.http1 import KEEP_ALIVE, NEED_MORE, NEXT, REQUEST, parse_head
from workers.request.libc import (
    EAGAIN,
    EPOLL_ADD,
    EPOLL_MODIFY,
    EPOLLERR,
    EPOLLET,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    EVENT_WORDS,
    Events,
    close,
    control_events,
    receive,
    send,
    set_event,
    shut_output,
)
from workers.request.octets import Integers, Octets, append_slice
from workers.request.response import REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS
from workers.request.routes import TALLY_LOOKUPS, TALLY_STATUS, Desk, answer_request, refuse, response_bytes_max

# Columns of the table: 64 bytes a row, one cache line.
(
    FD,  # -1: free
    PHASE,
    DEADLINE_NS,  # monotonic; what happens then depends on the phase
    KEPT,  # bytes of unfinished input
    STALL,  # where its unsent output is kept while STALLED
    ENDING,  # _CLOSES or _LINGERS when all output is sent
    READY,  # 1 while on the ready list
    HALF_CLOSED,  # 1 when the client has said that it will send no more
    _COLUMNS,
) = range(9)
IDLE, HEAD, STALLED, LINGERING = range(4)

# Words of `state`.
(
    FREE_COUNT,
    READY_COUNT,
    STALL_FREE_COUNT,
    HIGHEST,  # no slot from here on was ever used
    EPOLL_FD,
    DRAINING,
    ANSWERED,  # requests answered in this turn
    _OUT,  # of this turn: bytes of output,
    _CONSUMED,  # bytes of input that were answered,
    _PARSED,  # requests,
    _STOPPED,  # 1 when the turn's bounds stopped it with requests left,
    _END,  # whether the connection ends: _STAYS, _CLOSES or _LINGERS
    _STATE_WORDS,
) = range(13)
_STAYS, _CLOSES, _LINGERS = range(3)
_STALL_START, _STALL_END = range(2)

_BASE_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET
_DROPS_MAX = 16  # reads of a lingering connection in one turn
_TURN_BYTES = 64 * 1024  # output of a turn in which a further answer still begins

_STATUS_WORD = metrics.REQUEST.index("oracle_http_responses_total", metrics.HTTP_STATUSES[0])
_LOOKUPS_WORD = metrics.REQUEST.index("oracle_lookups_total")
_ACCEPTED_WORD = metrics.REQUEST.index("oracle_http_connections_total")
_ERRORS_WORD = metrics.REQUEST.index("oracle_internal_errors_total")
_REFUSED_WORD = metrics.REQUEST.index("oracle_http_connections_refused_total")


class Connections(NamedTuple):
    """All connections of a worker, and the memory of one turn."""

    table: Integers  # int64[connections, 8]
    state: Integers
    free: Integers  # a stack of slots
    ready: Integers
    inputs: Octets  # HEAD_BYTES_MAX a slot
    stalled: Octets  # one turn's output a stalled connection
    stalled_marks: Integers  # int64[STALLED_MAX, 2]: what is unsent of it
    stalled_free: Integers  # a stack
    inbox: Octets
    outbox: Octets
    event: Events  # scratch for epoll_ctl


def make_connections(epoll_fd: int, desk: Desk, count: int = CONNECTIONS_MAX) -> Connections:
    """Memory for `count` connections; the kernel hands out its pages when they are first used."""
    outbox_bytes = _TURN_BYTES + response_bytes_max(desk)
    state = np.zeros(_STATE_WORDS, dtype=np.int64)
    state[FREE_COUNT], state[STALL_FREE_COUNT], state[EPOLL_FD] = count, STALLED_MAX, epoll_fd
    table = np.zeros((count, _COLUMNS), dtype=np.int64)
    table[:, FD] = -1
    return Connections(
        table=table,
        state=state,
        free=np.arange(count - 1, -1, -1, dtype=np.int64),
        ready=np.zeros(count, dtype=np.int64),
        inputs=np.zeros(count * HEAD_BYTES_MAX, dtype=np.uint8),
        stalled=np.zeros(STALLED_MAX * outbox_bytes, dtype=np.uint8),
        stalled_marks=np.zeros((STALLED_MAX, 2), dtype=np.int64),
        stalled_free=np.arange(STALLED_MAX - 1, -1, -1, dtype=np.int64),
        inbox=np.zeros(HEAD_BYTES_MAX, dtype=np.uint8),
        outbox=np.zeros(outbox_bytes, dtype=np.uint8),
        event=np.zeros(EVENT_WORDS, dtype=np.uint32),
    )


@compiled
def open_connection(at: Connections, desk: Desk, counters: Words, fd: int, now_ns: int) -> None:
    """Take an accepted socket in; at the limit it gets a 503 and is closed."""
    state = at.state
    counters[_ACCEPTED_WORD] += np.uint64(1)
    if state[FREE_COUNT] == 0:
        counters[_REFUSED_WORD] += np.uint64(1)
        length = refuse(desk, TOO_MANY_CONNECTIONS, at.outbox, 0)
        _count_answer(desk, counters)
        send(fd, at.outbox, 0, length)
        close(fd)
        return
    slot = at.free[state[FREE_COUNT] - 1]
    state[FREE_COUNT] -= 1
    state[HIGHEST] = max(state[HIGHEST], slot + 1)
    row = at.table[slot]
    row[:] = 0  # IDLE
    row[FD], row[DEADLINE_NS] = fd, now_ns + IDLE_MAX_NS
    if control_events(state[EPOLL_FD], EPOLL_ADD, fd, _BASE_EVENTS, slot, at.event) < 0:
        close_connection(at, slot)


@compiled
def close_connection(at: Connections, slot: int) -> None:
    """Close the socket, which also takes it out of the epoll set, and free the slot."""
    row = at.table[slot]
    if row[FD] < 0:
        return
    close(row[FD])
    _release_stall(at, slot)
    row[FD], row[READY] = -1, 0
    at.free[at.state[FREE_COUNT]] = slot
    at.state[FREE_COUNT] += 1


@compiled
def serve_event(at: Connections, desk: Desk, counters: Words, slot: int, bits: int, now_ns: int) -> None:
    """Do what an event of this connection, or its entry on the ready list, asks for."""
    row = at.table[slot]
    if row[FD] < 0:
        return
    if bits & EPOLLRDHUP:
        row[HALF_CLOSED] = 1
    phase = row[PHASE]
    try:
        if bits & (EPOLLERR | EPOLLHUP):
            close_connection(at, slot)
        elif phase == STALLED:
            if bits & EPOLLOUT:
                _resume(at, slot, now_ns)
        elif phase == LINGERING:
            _drop_input(at, slot)
        else:
            _serve_input(at, desk, counters, slot, now_ns)
    except Exception:  # noqa: BLE001 - whatever it was, the loop goes on and the counter shows it
        counters[_ERRORS_WORD] += np.uint64(1)
        close_connection(at, slot)


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


@compiled
def expire(at: Connections, desk: Desk, counters: Words, slot: int, now_ns: int) -> None:
    """The connection's deadline has passed: say so where the client waits for an answer, close otherwise."""
    row = at.table[slot]
    if row[PHASE] != HEAD:
        close_connection(at, slot)
        return
    length = refuse(desk, REQUEST_TIMEOUT, at.outbox, 0)
    _count_answer(desk, counters)
    send(row[FD], at.outbox, 0, length)
    _linger(at, slot, now_ns)


@compiled_inline
def _serve_input(at: Connections, desk: Desk, counters: Words, slot: int, now_ns: int) -> None:
    """One read, all whole requests answered, one send."""
    row, state = at.table[slot], at.state
    kept = row[KEPT]
    if kept > 0:
        append_slice(at.inputs, slot * HEAD_BYTES_MAX, kept, at.inbox, 0)
    space = HEAD_BYTES_MAX - kept
    received = receive(row[FD], at.inbox, kept, space) if space > 0 else -EAGAIN
    ended = received == 0
    if received < 0 and received != -EAGAIN:
        close_connection(at, slot)
        return
    received = max(0, received)
    total = kept + received
    _answer_all(at, desk, counters, total, now_ns)
    if ended and state[_PARSED] == 0 and state[_END] == _STAYS:
        close_connection(at, slot)  # half a head is no request
        return
    if not _send_turn(at, slot, total, now_ns) or row[FD] < 0:
        return
    left = total - state[_CONSUMED]
    if left > 0 and (row[PHASE] != HEAD or state[_PARSED] > 0):
        row[PHASE], row[DEADLINE_NS] = HEAD, now_ns + HEAD_MAX_NS
    elif left == 0:
        row[PHASE], row[DEADLINE_NS] = IDLE, now_ns + IDLE_MAX_NS
    if state[_STOPPED] == 1 or received == space or row[HALF_CLOSED] == 1:
        _push_ready(at, slot)


@compiled_inline
def _answer_all(at: Connections, desk: Desk, counters: Words, total: int, now_ns: int) -> None:
    """Answer what is whole in `inbox[:total]` into the outbox, and leave in `state` what came of it."""
    inbox, outbox, state = at.inbox, at.outbox, at.state
    start = out = parsed = 0
    end, outcome = _STAYS, NEED_MORE
    while start < total and parsed < PIPELINED_MAX and out <= _TURN_BYTES and end == _STAYS:
        outcome = parse_head(inbox, start, total, desk.head)
        if outcome == REQUEST:
            start = desk.head[NEXT]
            keep_alive = desk.head[KEEP_ALIVE] == 1 and state[DRAINING] == 0
            out = answer_request(desk, inbox, not keep_alive, now_ns, outbox, out)
            parsed += 1
            if not keep_alive:
                # Whatever follows is not read: closing at once would make the kernel reset the connection, and the
                # client could lose the answer that is on its way (RFC 9112, 9.6).
                end = _CLOSES if start == total and desk.head[KEEP_ALIVE] == 0 else _LINGERS
        elif outcome == NEED_MORE:
            break
        else:
            out = refuse(desk, outcome, outbox, out)
            end = _LINGERS
        _count_answer(desk, counters)
    state[_OUT], state[_CONSUMED], state[_PARSED], state[_END] = out, start, parsed, end
    state[_STOPPED] = start < total and outcome == REQUEST
    state[ANSWERED] += parsed


@compiled_inline
def _count_answer(desk: Desk, counters: Words) -> None:
    tally = desk.tally
    counters[_STATUS_WORD + tally[TALLY_STATUS]] += np.uint64(1)
    counters[_LOOKUPS_WORD] += np.uint64(tally[TALLY_LOOKUPS])
    tally[TALLY_LOOKUPS] = 0


@compiled_inline
def _send_turn(at: Connections, slot: int, total: int, now_ns: int) -> bool:
    """Send the outbox and keep the unfinished input; False when the connection ended or has to wait for its client."""
    row, state = at.table[slot], at.state
    out, consumed = state[_OUT], state[_CONSUMED]
    row[KEPT], row[ENDING] = total - consumed, state[_END]
    append_slice(at.inbox, consumed, total - consumed, at.inputs, slot * HEAD_BYTES_MAX)
    sent = send(row[FD], at.outbox, 0, out) if out > 0 else 0
    if sent == -EAGAIN:
        sent = 0
    elif sent < 0:
        close_connection(at, slot)
        return False
    if sent < out:
        _stall(at, slot, sent, out, now_ns)
        return False
    return _end_if_due(at, slot, now_ns)


@compiled_inline
def _end_if_due(at: Connections, slot: int, now_ns: int) -> bool:
    """All output is sent: close or linger if the connection is to end; True when it goes on."""
    row = at.table[slot]
    if row[ENDING] == _CLOSES:
        close_connection(at, slot)
    elif row[ENDING] == _LINGERS:
        _linger(at, slot, now_ns)
    return bool(row[ENDING] == _STAYS)


@compiled
def _push_ready(at: Connections, slot: int) -> None:
    """Serve this connection in the next turn, without waiting for an event."""
    if at.table[slot, READY] == 0:
        at.table[slot, READY] = 1
        at.ready[at.state[READY_COUNT]] = slot
        at.state[READY_COUNT] += 1


# --- a client that does not read ------------------------------------------------------------------------------


@compiled
def _stall(at: Connections, slot: int, start: int, end: int, now_ns: int) -> None:
    """Keep `outbox[start:end]` and wait until the socket takes it; too many such clients cost the newest."""
    row, state = at.table[slot], at.state
    if state[STALL_FREE_COUNT] == 0:
        close_connection(at, slot)
        return
    place = at.stalled_free[state[STALL_FREE_COUNT] - 1]
    state[STALL_FREE_COUNT] -= 1
    base = place * at.outbox.size
    append_slice(at.outbox, start, end - start, at.stalled, base)
    at.stalled_marks[place, _STALL_START], at.stalled_marks[place, _STALL_END] = base, base + end - start
    row[PHASE], row[STALL], row[DEADLINE_NS] = STALLED, place, now_ns + STALL_MAX_NS
    control_events(state[EPOLL_FD], EPOLL_MODIFY, row[FD], _BASE_EVENTS | EPOLLOUT, slot, at.event)


@compiled
def _resume(at: Connections, slot: int, now_ns: int) -> None:
    """The socket takes output again."""
    row = at.table[slot]
    marks = at.stalled_marks[row[STALL]]
    sent = send(row[FD], at.stalled, marks[_STALL_START], marks[_STALL_END] - marks[_STALL_START])
    if sent == -EAGAIN:
        return
    if sent < 0:
        close_connection(at, slot)
        return
    marks[_STALL_START] += sent
    row[DEADLINE_NS] = now_ns + STALL_MAX_NS
    if marks[_STALL_START] < marks[_STALL_END]:
        return
    _release_stall(at, slot)
    row[PHASE], row[DEADLINE_NS] = HEAD, now_ns + HEAD_MAX_NS
    control_events(at.state[EPOLL_FD], EPOLL_MODIFY, row[FD], _BASE_EVENTS, slot, at.event)
    if _end_if_due(at, slot, now_ns):
        _push_ready(at, slot)  # input may be waiting, here or in the socket


@compiled
def _release_stall(at: Connections, slot: int) -> None:
    if at.table[slot, PHASE] == STALLED:
        at.stalled_free[at.state[STALL_FREE_COUNT]] = at.table[slot, STALL]
        at.state[STALL_FREE_COUNT] += 1


# --- a client that was refused --------------------------------------------------------------------------------


@compiled
def _linger(at: Connections, slot: int, now_ns: int) -> None:
    """Say that nothing more comes, and drop what still arrives until the client is done or the time is up."""
    row = at.table[slot]
    shut_output(row[FD])
    row[PHASE], row[DEADLINE_NS] = LINGERING, now_ns + LINGER_MAX_NS
    _push_ready(at, slot)


@compiled
def _drop_input(at: Connections, slot: int) -> None:
    for _ in range(_DROPS_MAX):
        received = receive(at.table[slot, FD], at.inbox, 0, HEAD_BYTES_MAX)
        if received == -EAGAIN:
            return
        if received <= 0:
            close_connection(at, slot)
            return
    _push_ready(at, slot)
