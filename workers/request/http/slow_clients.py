"""Clients that do not take their answers, and clients that were refused. Compiled.

Rules: what a socket did not take is kept, up to one turn of output, and nothing more is read until it has gone out;
too many such clients cost the newest. After a refusal our side is shut and what still arrives is read and dropped, so
that the kernel does not reset the connection and the client can read its answer (RFC 9112, 9.6).
"""

from trinity.compiled import compiled
from trinity.limits import HEAD_BYTES_MAX, HEAD_MAX_NS, IDLE_MAX_NS, LINGER_MAX_NS, STALL_MAX_NS
from trinity.native.libc import EAGAIN, EPOLL_MODIFY, EPOLLOUT, control_events, receive, send, shut_output
from trinity.native.octets import append_slice
from workers.request.http.parked import wait_parked
from workers.request.http.slots import (
    BASE_EVENTS,
    CLOSES,
    DEADLINE_NS,
    ENDING,
    EPOLL_FD,
    FD,
    HEAD,
    IDLE,
    KEPT,
    LINGERING,
    LINGERS,
    PHASE,
    STALL,
    STALL_END,
    STALL_FREE_COUNT,
    STALL_START,
    STALLED,
    STAYS,
    Connections,
    close_connection,
    push_ready,
    release_stall,
)

_DROPS_MAX = 16  # reads of a lingering connection in one turn


@compiled
def end_if_due(at: Connections, slot: int, now_ns: int) -> bool:
    """All output is sent: close or linger if the connection is to end; True when it goes on."""
    row = at.table[slot]
    if row[ENDING] == CLOSES:
        close_connection(at, slot)
    elif row[ENDING] == LINGERS:
        linger(at, slot, now_ns)
    return bool(row[ENDING] == STAYS)


@compiled
def stall(at: Connections, slot: int, start: int, end: int, now_ns: int) -> None:
    """Keep `outbox[start:end]` and wait until the socket takes it; too many such clients cost the newest."""
    row, state = at.table[slot], at.state
    if state[STALL_FREE_COUNT] == 0:
        close_connection(at, slot)
        return
    place = at.stalled_free[state[STALL_FREE_COUNT] - 1]
    state[STALL_FREE_COUNT] -= 1
    base = place * at.outbox.size
    append_slice(at.outbox, start, end - start, at.stalled, base)
    at.stalled_marks[place, STALL_START], at.stalled_marks[place, STALL_END] = base, base + end - start
    row[PHASE], row[STALL], row[DEADLINE_NS] = STALLED, place, now_ns + STALL_MAX_NS
    control_events(state[EPOLL_FD], EPOLL_MODIFY, row[FD], BASE_EVENTS | EPOLLOUT, slot, at.event)


@compiled
def resume(at: Connections, slot: int, now_ns: int) -> None:
    """The socket takes output again."""
    row = at.table[slot]
    marks = at.stalled_marks[row[STALL]]
    sent = send(row[FD], at.stalled, marks[STALL_START], marks[STALL_END] - marks[STALL_START])
    if sent == -EAGAIN:
        return
    if sent < 0:
        close_connection(at, slot)
        return
    marks[STALL_START] += sent
    row[DEADLINE_NS] = now_ns + STALL_MAX_NS
    if marks[STALL_START] < marks[STALL_END]:
        return
    release_stall(at, slot)
    if row[KEPT] > 0:
        row[PHASE], row[DEADLINE_NS] = HEAD, now_ns + HEAD_MAX_NS
    else:
        row[PHASE], row[DEADLINE_NS] = IDLE, now_ns + IDLE_MAX_NS
    control_events(at.state[EPOLL_FD], EPOLL_MODIFY, row[FD], BASE_EVENTS, slot, at.event)
    if end_if_due(at, slot, now_ns) and not wait_parked(at, slot, now_ns):
        push_ready(at, slot)  # input may be waiting, here or in the socket


@compiled
def linger(at: Connections, slot: int, now_ns: int) -> None:
    """Say that nothing more comes, and drop what still arrives until the client is done or the time is up."""
    row = at.table[slot]
    shut_output(row[FD])
    row[PHASE], row[DEADLINE_NS] = LINGERING, now_ns + LINGER_MAX_NS
    push_ready(at, slot)


@compiled
def drop_input(at: Connections, slot: int) -> None:
    """Read what a refused client still sends; its end is ours."""
    for _ in range(_DROPS_MAX):
        received = receive(at.table[slot, FD], at.inbox, 0, HEAD_BYTES_MAX)
        if received == -EAGAIN:
            return
        if received <= 0:
            close_connection(at, slot)
            return
    push_ready(at, slot)
