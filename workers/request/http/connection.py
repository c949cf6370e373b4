"""HTTP over connected sockets: read, answer what is whole, record it, send, keep the rest. Compiled.

Rules: edge-triggered, so a socket costs no second look while it is quiet and a client that must wait is simply not
read; a read that fills less than it could has emptied the socket (epoll(7)). All answers of a turn go out in one
send, behind their usage records. What is unfinished is kept in the slot: up to one head of input, up to one turn of
output. Accepting comes last in a turn, so an event never meets a reused slot, at most a closed one. An error raised
while a connection is served is caught and counted, and costs that connection only.
"""

import numpy as np

from trinity.access.gate import ADMISSION_CLASS
from trinity.compiled import compiled, compiled_inline
from trinity.limits import HEAD_BYTES_MAX, HEAD_MAX_NS, IDLE_MAX_NS, PIPELINED_MAX
from trinity.memory.atomics import Words
from trinity.native.addresses import ADDRESS_BYTES, ADDRESS_WORDS, read_sockaddr
from trinity.native.libc import (
    EAGAIN,
    EPOLL_ADD,
    EPOLLERR,
    EPOLLHUP,
    EPOLLOUT,
    EPOLLRDHUP,
    MONOTONIC,
    close,
    control_events,
    read_clock,
    receive,
    send,
)
from trinity.native.networks import is_inside
from trinity.native.octets import append_slice
from trinity.observe import metrics
from trinity.vocabulary import HTTP_STATUSES
from workers.request.beyond import SLOT, WAITS, begin_again, end_again
from workers.request.forwarded import ADDRESS, PEER, set_peer
from workers.request.http.context import RequestContext
from workers.request.http.parked import end_request, is_waiting, park, wait_parked
from workers.request.http.parse import (
    BAD_REQUEST_LINE,
    KEEP_ALIVE,
    NEED_MORE,
    NEXT,
    REQUEST,
    parse_head,
    skip_empty_lines,
)
from workers.request.http.price_routes import answer_again
from workers.request.http.proxy_protocol import MALFORMED, parse_proxy_header
from workers.request.http.proxy_protocol import NEED_MORE as PREFACE_NEEDS_MORE
from workers.request.http.response import REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS
from workers.request.http.room import FULL, MADE, make_room, make_room_of_address
from workers.request.http.routes import answer_request, refuse
from workers.request.http.slots import (
    ANSWERED,
    BASE_EVENTS,
    CLOSES,
    CONSUMED,
    DEADLINE_NS,
    DONE_NS,
    DRAINING,
    END,
    ENDING,
    EPOLL_FD,
    FD,
    FREE_COUNT,
    HALF_CLOSED,
    HEAD,
    HIGHEST,
    IDLE,
    KEPT,
    KEY_SHIFT,
    LINGERING,
    LINGERS,
    NEW,
    NOBODY_KNOWN,
    OUT,
    OVER,
    PARKED,
    PARSED,
    PHASE,
    PREFACE,
    PROXY_PROTOCOL,
    STALLED,
    STAYS,
    STOPPED,
    TURN_BYTES,
    Connections,
    close_connection,
    count_open,
    push_ready,
)
from workers.request.http.slow_clients import drop_input, end_if_due, linger, resume, stall
from workers.request.ledger import TALLY_KEY, TALLY_LOOKUPS, TALLY_STATUS, record

_STATUS_WORD = metrics.REQUEST.index("http_responses_total", HTTP_STATUSES[0])
_LOOKUPS_WORD = metrics.REQUEST.index("lookups_total")
_ACCEPTED_WORD = metrics.REQUEST.index("http_connections_total")
_ERRORS_WORD = metrics.REQUEST.index("internal_errors_total")
_REFUSED_WORD = metrics.REQUEST.index("http_connections_refused_total")
_DISPLACED_WORD = metrics.REQUEST.index("http_connections_displaced_total")
_BAD_PREFACE_WORD = metrics.REQUEST.index("proxy_headers_refused_total")
_UNRECORDED_WORD = metrics.REQUEST.index("usage_refused_total")


@compiled
def open_connection(at: Connections, context: RequestContext, counters: Words, fd: int, now_ns: int) -> None:
    """Take an accepted socket in, whose peer is in `at.sockaddr`; without room it gets a 503 and is closed."""
    state, words = at.state, context.caller.words
    counters[_ACCEPTED_WORD] += np.uint64(1)
    read_sockaddr(at.sockaddr, 0, words, PEER)
    room = make_room(at, context.caller.proxies, words, PEER, now_ns)
    if room == FULL:
        counters[_REFUSED_WORD] += np.uint64(1)
        length = refuse(context, TOO_MANY_CONNECTIONS, at.outbox, 0)
        account(at, context, counters, now_ns)
        send(fd, at.outbox, 0, length)
        close(fd)
        return
    counters[_DISPLACED_WORD] += np.uint64(room == MADE)
    slot = at.free[state[FREE_COUNT] - 1]
    state[FREE_COUNT] -= 1
    state[HIGHEST] = max(state[HIGHEST], slot + 1)
    row = at.table[slot]
    row[:] = 0
    row[FD], row[PHASE], row[DEADLINE_NS] = fd, NEW, now_ns + HEAD_MAX_NS
    at.known[slot] = NOBODY_KNOWN
    count_open(at)
    address = slot * ADDRESS_WORDS
    at.addresses[address], at.addresses[address + 1] = words[PEER], words[PEER + 1]
    if state[PROXY_PROTOCOL] == 1 and is_inside(context.caller.proxies, at.addresses, address):
        row[PHASE] = PREFACE
    if control_events(state[EPOLL_FD], EPOLL_ADD, fd, BASE_EVENTS, slot, at.event) < 0:
        close_connection(at, slot)


@compiled
def serve_event(at: Connections, context: RequestContext, counters: Words, slot: int, bits: int, now_ns: int) -> None:
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
                resume(at, slot, now_ns)
        elif phase == LINGERING:
            drop_input(at, slot)
        elif phase not in (OVER, PARKED):
            _serve_input(at, context, counters, slot, now_ns)
    except Exception:  # noqa: BLE001 - whatever it was, the loop goes on and the counter shows it
        counters[_ERRORS_WORD] += np.uint64(1)
        context.beyond.state[WAITS] = 0
        close_connection(at, slot)


@compiled
def sweep(at: Connections, context: RequestContext, counters: Words, now_ns: int) -> None:
    """Let all deadlines that have passed take effect."""
    table = at.table
    for slot in range(at.state[HIGHEST]):
        if table[slot, FD] >= 0 and now_ns >= table[slot, DEADLINE_NS]:
            expire(at, context, counters, slot, now_ns)


@compiled
def expire(at: Connections, context: RequestContext, counters: Words, slot: int, now_ns: int) -> None:
    """The connection's deadline has passed: say so where the client waits for an answer, close otherwise."""
    row = at.table[slot]
    if row[PHASE] != HEAD:
        close_connection(at, slot)
        return
    set_peer(context.caller, at.addresses, slot * ADDRESS_WORDS)
    length = refuse(context, REQUEST_TIMEOUT, at.outbox, 0)
    account(at, context, counters, now_ns)
    send(row[FD], at.outbox, 0, length)
    linger(at, slot, now_ns)


@compiled_inline
def _serve_input(at: Connections, context: RequestContext, counters: Words, slot: int, now_ns: int) -> None:
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
    start = 0
    if row[PHASE] == PREFACE:
        start = _take_preface(at, context, counters, slot, total, ended, now_ns)
        if start == 0:
            return
    set_peer(context.caller, at.addresses, slot * ADDRESS_WORDS)
    _answer_all(at, context, counters, slot, start, total, now_ns)
    if state[PARSED] > 0:
        _know(at, context, slot)
    if ended and state[PARSED] == 0 and state[END] == STAYS and at.parks[slot] == 0:
        close_connection(at, slot)  # half a head is no request
        return
    if not send_turn(at, slot, total, now_ns) or row[FD] < 0 or wait_parked(at, slot, now_ns):
        return
    left = total - state[CONSUMED]
    if state[PARSED] > 0:
        row[PHASE], row[DEADLINE_NS] = (IDLE, now_ns + IDLE_MAX_NS) if left == 0 else (HEAD, now_ns + HEAD_MAX_NS)
    elif left > 0:
        row[PHASE], row[DEADLINE_NS] = HEAD, min(row[DEADLINE_NS], now_ns + HEAD_MAX_NS)
    elif row[PHASE] == HEAD:
        row[PHASE] = IDLE  # an empty line was all: only a request gives more time
    if state[STOPPED] == 1 or received == space or row[HALF_CLOSED] == 1:
        push_ready(at, slot)


@compiled
def _take_preface(
    at: Connections, context: RequestContext, counters: Words, slot: int, total: int, ended: bool, now_ns: int
) -> int:
    """Where the first request begins behind the PROXY header in `inbox[:total]`; 0 when there is none to serve yet."""
    row = at.table[slot]
    length = parse_proxy_header(at.inbox, 0, total, at.address_octets, slot * ADDRESS_BYTES)
    if length == MALFORMED or (length == PREFACE_NEEDS_MORE and ended):
        counters[_BAD_PREFACE_WORD] += np.uint64(1)
        close_connection(at, slot)  # whoever it is, it does not speak HTTP here
        return 0
    if length == PREFACE_NEEDS_MORE:
        row[KEPT] = total
        append_slice(at.inbox, 0, total, at.inputs, slot * HEAD_BYTES_MAX)
        return 0
    room = make_room_of_address(at, context.caller.proxies, at.addresses, slot * ADDRESS_WORDS, slot, now_ns)
    if room == FULL:
        counters[_REFUSED_WORD] += np.uint64(1)
        close_connection(at, slot)
        return 0
    counters[_DISPLACED_WORD] += np.uint64(room == MADE)
    row[PHASE] = NEW
    return length


@compiled_inline
def _answer_all(
    at: Connections, context: RequestContext, counters: Words, slot: int, start: int, total: int, now_ns: int
) -> None:
    """Answer what is whole in `inbox[start:total]` into the outbox, and leave in `state` what came of it."""
    inbox, outbox, state = at.inbox, at.outbox, at.state
    out = parsed = 0
    end, outcome = STAYS, NEED_MORE
    while start < total and parsed < PIPELINED_MAX and out <= TURN_BYTES and end == STAYS:
        began = start
        outcome = parse_head(inbox, start, total, context.head)
        if outcome == REQUEST:
            start = context.head[NEXT]
            keep_alive = context.head[KEEP_ALIVE] == 1 and state[DRAINING] == 0
            out = answer_request(context, inbox, not keep_alive, now_ns, outbox, out)
            if context.beyond.state[WAITS] == 1:
                start = began
                park(at, context, slot, began, now_ns)
                break
            parsed += 1
            if not keep_alive:
                # Whatever follows is not read: closing at once would make the kernel reset the connection, and the
                # client could lose the answer that is on its way (RFC 9112, 9.6).
                end = CLOSES if start == total and context.head[KEEP_ALIVE] == 0 else LINGERS
        elif outcome == NEED_MORE:
            break
        elif outcome == BAD_REQUEST_LINE and skip_empty_lines(inbox, start, total) > start:
            start = skip_empty_lines(inbox, start, total)  # looked for only here: a request without one pays nothing
            continue
        else:
            out = refuse(context, outcome, outbox, out)
            end = LINGERS
        account(at, context, counters, now_ns)
    state[OUT], state[CONSUMED], state[PARSED], state[END] = out, start, parsed, end
    state[STOPPED] = start < total and outcome == REQUEST
    state[ANSWERED] += parsed


@compiled
def serve_parked(at: Connections, context: RequestContext, counters: Words, place: int, now_ns: int) -> bool:
    """Look again at the request of this place, and answer it if it is decided or late; whether it was answered."""
    if not is_waiting(at, context, place) or not begin_again(context.beyond, context.gate, place, now_ns):
        return False
    slot = context.beyond.parked[place, SLOT]
    try:
        set_peer(context.caller, at.addresses, slot * ADDRESS_WORDS)
        base, last = slot * HEAD_BYTES_MAX, at.state[DRAINING] == 1
        out = answer_again(context, at.inputs, base, place, last, now_ns, at.outbox, 0)
        if context.beyond.state[WAITS] == 0:
            arrived_ns = end_request(at, context, place, now_ns)
            account(at, context, counters, arrived_ns)
            if _send(at, slot, out, now_ns):
                push_ready(at, slot)  # more of its input may wait, here or in the socket
    except Exception:  # noqa: BLE001 - as in serve_event
        counters[_ERRORS_WORD] += np.uint64(1)
        context.beyond.state[WAITS] = 0
        close_connection(at, slot)
    return end_again(context.beyond, place)


@compiled_inline
def _know(at: Connections, context: RequestContext, slot: int) -> None:
    """Remember whose connection it is, by its last request; a trusted proxy's is everybody's."""
    words, key_id = context.caller.words, context.ledger.tally[TALLY_KEY]
    if words[ADDRESS + 1] == words[PEER + 1] and words[ADDRESS] == words[PEER]:
        at.known[slot] = key_id << KEY_SHIFT | context.gate.result[ADMISSION_CLASS] if key_id != 0 else 0


@compiled_inline
def account(at: Connections, context: RequestContext, counters: Words, now_ns: int) -> None:
    """Count the answer that was just written, and publish its usage record."""
    tally = context.ledger.tally
    counters[_STATUS_WORD + tally[TALLY_STATUS]] += np.uint64(1)
    counters[_LOOKUPS_WORD] += np.uint64(tally[TALLY_LOOKUPS])
    done_ns = read_clock(MONOTONIC, at.timespec)
    at.state[DONE_NS] = done_ns
    if not record(context.ledger, context.caller, now_ns, done_ns):
        counters[_UNRECORDED_WORD] += np.uint64(1)


@compiled_inline
def send_turn(at: Connections, slot: int, total: int, now_ns: int) -> bool:
    """Send the outbox and keep the unfinished input; False when the connection ended or has to wait for its client."""
    row, state = at.table[slot], at.state
    out, consumed = state[OUT], state[CONSUMED]
    row[KEPT], row[ENDING] = total - consumed, state[END]
    append_slice(at.inbox, consumed, total - consumed, at.inputs, slot * HEAD_BYTES_MAX)
    return _send(at, slot, out, now_ns)


@compiled_inline
def _send(at: Connections, slot: int, out: int, now_ns: int) -> bool:
    """Send `outbox[:out]`; False when the connection ended or has to wait for its client."""
    row = at.table[slot]
    sent = send(row[FD], at.outbox, 0, out) if out > 0 else 0
    if sent == -EAGAIN:
        sent = 0
    elif sent < 0:
        close_connection(at, slot)
        return False
    if sent < out:
        stall(at, slot, sent, out, now_ns)
        return False
    return end_if_due(at, slot, now_ns)
