"""Requests over the governor's limit: refused unread, and in bulk. Compiled.

A connection whose request came over the limit is put off (slots.put_off) and refused here, when the worker has time:
as many of its requests at once as one read brings, so that a refused one costs a small share of an answered one.

Rules: nothing of such a request is parsed. Where it ends says its empty line, which is true only of a request without
a body, over HTTP/1.1, on a connection that stays: a line that may speak of a body, or of the connection's end, and
anything that is no such head ends the connection behind the refusal, as a head does that cannot be read. So the next
request that is parsed begins where the client and every proxy before it think so. HEAD gets no body. Each refusal has
its usage record, under the key of the connection's last request. /health is answered whatever the load.
"""

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.limits import HEAD_BYTES_MAX, HEAD_MAX_NS, IDLE_MAX_NS
from trinity.memory.admission_table import REFUSED
from trinity.memory.atomics import Words
from trinity.native.addresses import ADDRESS_WORDS
from trinity.native.libc import EAGAIN, receive
from trinity.native.octets import (
    WORD_BYTES,
    Octets,
    append_slice,
    byte_at,
    has_control,
    pack_texts,
    starts_with_folded,
)
from trinity.observe import metrics
from trinity.vocabulary import ADMISSION_CLASSES, HTTP, HTTP_STATUSES
from workers.request.forwarded import forget_forwarded, set_peer
from workers.request.http.connection import account, send_turn
from workers.request.http.context import RequestContext
from workers.request.http.parse import KEEP_ALIVE, NEXT, REQUEST, TARGET_END, TARGET_START, parse_head
from workers.request.http.response import (
    CONNECTION_CLOSED,
    CONNECTION_SILENT,
    OVERLOADED,
    append_overloaded,
    error_code,
    error_status,
)
from workers.request.http.routes import answer_request
from workers.request.http.slots import (
    CLASS_MASK,
    CONSUMED,
    DEADLINE_NS,
    DRAINING,
    END,
    FD,
    HALF_CLOSED,
    HEAD,
    IDLE,
    KEPT,
    KEY_SHIFT,
    LINE,
    LINGERS,
    OUT,
    OVER,
    PARSED,
    PHASE,
    STAYS,
    TURN_BYTES,
    Connections,
    close_connection,
    push_ready,
    put_off,
    take_over,
)
from workers.request.http.target import PATH_HEALTH, find_path
from workers.request.ledger import TALLY_KEY, begin, note_error, record

# What begins somewhere in a connection's bytes.
PARTIAL, ENDS, HEALTH, WHOLE = range(4)

_CONNECTION_NAME = b"connection:"
_ENDING_NAMES, _ENDING_BOUNDS = pack_texts([b"content-length", b"transfer-encoding", _CONNECTION_NAME])
_CONNECTION_BYTES = len(_CONNECTION_NAME)
_LF, _CR, _SPACE, _TAB, _SLASH, _DOT, _ONE = b"\n\r \t/.1"
_FOLD = 0x20
_C, _T, _K, _H, _V = b"ctkhv"
_UPPER_H = ord("H")
# Of one connection before the next one's turn: most are empty by then. One that was left with some every time would
# have more when its turn came again, and never be served.
_READS_MAX = 8
_SHORTEST_LINE = len("G / HTTP/1.1")

_STATUS_WORD = metrics.REQUEST.index("http_responses_total", HTTP_STATUSES[error_status(OVERLOADED)])
_REFUSED_WORD = metrics.REQUEST.index("overload_refusals_total", ADMISSION_CLASSES[0])
_ERRORS_WORD = metrics.REQUEST.index("internal_errors_total")
_UNRECORDED_WORD = metrics.REQUEST.index("usage_refused_total")


@compiled
def refuse_next(at: Connections, context: RequestContext, counters: Words, now_ns: int) -> None:
    """Refuse what the connection that was put off longest has sent; there must be one."""
    slot = take_over(at)
    if at.table[slot, FD] < 0 or at.table[slot, PHASE] != OVER:
        return  # closed meanwhile, and perhaps another's by now
    try:
        for _ in range(_READS_MAX):
            if not _refuse_input(at, context, counters, slot, now_ns):
                return
        put_off(at, slot, now_ns)
    except Exception:  # noqa: BLE001 - as in connection.serve_event
        counters[_ERRORS_WORD] += np.uint64(1)
        close_connection(at, slot)


@compiled_inline
def _refuse_input(at: Connections, context: RequestContext, counters: Words, slot: int, now_ns: int) -> bool:
    """One read, all whole requests refused, one send; whether there is more of the same."""
    row, state = at.table[slot], at.state
    kept = row[KEPT]
    append_slice(at.inputs, slot * HEAD_BYTES_MAX, kept, at.inbox, 0)
    space = HEAD_BYTES_MAX - kept
    received = receive(row[FD], at.inbox, kept, space) if space > 0 else -EAGAIN
    ended = received == 0
    if received < 0 and received != -EAGAIN:
        close_connection(at, slot)
        return False
    received = max(0, received)
    total = kept + received
    set_peer(context.caller, at.addresses, slot * ADDRESS_WORDS)
    _refuse_all(at, context, counters, slot, total, now_ns)
    if ended and state[PARSED] == 0 and state[END] == STAYS:
        close_connection(at, slot)
        return False
    left = total - state[CONSUMED]
    row[PHASE] = HEAD if left > 0 else IDLE  # whatever ends or stalls it finds a connection like any other
    if not send_turn(at, slot, total, now_ns) or row[FD] < 0:
        return False
    if state[PARSED] > 0:
        row[DEADLINE_NS] = now_ns + (HEAD_MAX_NS if left > 0 else IDLE_MAX_NS)
        if received == space or state[OUT] > TURN_BYTES:
            return True
    if row[HALF_CLOSED] == 1:
        push_ready(at, slot)
    return False


@compiled_inline
def _refuse_all(at: Connections, context: RequestContext, counters: Words, slot: int, total: int, now_ns: int) -> None:
    """Refuse what is whole in `inbox[:total]` into the outbox, and leave in `state` what came of it."""
    inbox, outbox, state = at.inbox, at.outbox, at.state
    start = out = refused = answered = 0
    end = STAYS
    known = at.known[slot]
    _note_refusal(context, known)
    while start < total and out <= TURN_BYTES and end == STAYS:
        while total - start >= 2 and byte_at(inbox, start) == _CR and byte_at(inbox, start + 1) == _LF:
            start += 2  # empty lines are ignored (RFC 9112, 2.2)
        kind, following = find_head(inbox, start, total)
        if kind == PARTIAL:
            break
        if kind == HEALTH:
            outcome = parse_head(inbox, start, total, context.head)
            if outcome == REQUEST and _asks_for_health(context, inbox):
                keep_alive = context.head[KEEP_ALIVE] == 1 and state[DRAINING] == 0
                out = answer_request(context, inbox, not keep_alive, now_ns, outbox, out)
                account(at, context, counters, now_ns)
                start, answered, end = context.head[NEXT], answered + 1, STAYS if keep_alive else LINGERS
                _note_refusal(context, known)
                continue
        if kind == ENDS or state[DRAINING] == 1:
            end = LINGERS
        connection = CONNECTION_SILENT if end == STAYS else CONNECTION_CLOSED
        with_body = kind == ENDS or byte_at(inbox, start) != _UPPER_H
        out = append_overloaded(context.stamp, connection, with_body, outbox, out)
        start = following
        refused += 1
        if not record(context.ledger, context.caller, now_ns, now_ns):
            counters[_UNRECORDED_WORD] += np.uint64(1)
    counters[_STATUS_WORD] += np.uint64(refused)
    counters[_REFUSED_WORD + (known & CLASS_MASK)] += np.uint64(refused)
    at.admission[state[LINE] + REFUSED + (known & CLASS_MASK)] += np.uint64(refused)
    state[OUT], state[CONSUMED], state[PARSED], state[END] = out, start, refused + answered, end


@compiled_inline
def _note_refusal(context: RequestContext, known: int) -> None:
    """The records that follow are of refusals on the connection of this key."""
    begin(context.ledger, HTTP)
    forget_forwarded(context.caller)
    context.ledger.tally[TALLY_KEY] = known >> KEY_SHIFT
    note_error(context.ledger, error_status(OVERLOADED), error_code(OVERLOADED))


@compiled
def find_head(buffer: Octets, start: int, end: int) -> tuple[int, int]:
    """What begins at `start`, and where what follows it begins: the end of the buffer where that is not known.

    HEALTH is a head that has to be parsed to know: it may ask for /health.
    """
    limit = min(end, start + HEAD_BYTES_MAX)
    unfinished = PARTIAL if end - start < HEAD_BYTES_MAX else ENDS
    at = _line_end(buffer, start, limit)
    if at + 1 >= limit:
        return unfinished, end
    if not _is_line_end(buffer, at) or at - start < _SHORTEST_LINE or not _says_http_1_1(buffer, at):
        return ENDS, end
    while True:
        line = at + 2
        if line + 1 >= limit:
            return unfinished, end
        if _is_line_end(buffer, line):
            return HEALTH if _may_ask_for_health(buffer, start) else WHOLE, line + 2
        at = _line_end(buffer, line, limit)
        if at + 1 >= limit:
            return unfinished, end
        first = byte_at(buffer, line)
        if first <= _SPACE or not _is_line_end(buffer, at):
            return ENDS, end
        if first | _FOLD in (_C, _T) and _may_end(buffer, line, at):
            return ENDS, end


@compiled_inline
def _line_end(buffer: Octets, at: int, limit: int) -> int:
    """The next byte that may end a line, or may not stand in one; `limit` where there is none."""
    while at < limit:
        while at <= limit - WORD_BYTES and not has_control(buffer, at):
            at += WORD_BYTES
        stop = min(at + WORD_BYTES, limit)
        while at < stop and (byte_at(buffer, at) > _CR or byte_at(buffer, at) == _TAB):
            at += 1
        if at < stop:
            break
    return at


@compiled_inline
def _is_line_end(buffer: Octets, at: int) -> bool:
    return byte_at(buffer, at) == _CR and byte_at(buffer, at + 1) == _LF


@compiled_inline
def _says_http_1_1(buffer: Octets, end: int) -> bool:
    is_one_one = byte_at(buffer, end - 1) == _ONE and byte_at(buffer, end - 3) == _ONE
    return is_one_one and byte_at(buffer, end - 2) == _DOT


@compiled
def _may_end(buffer: Octets, line: int, end: int) -> bool:
    """Whether this header may speak of a body, or of the connection's end: Connection, unless it says keep-alive."""
    if _begins_with(buffer, line, end, 0) or _begins_with(buffer, line, end, 1):
        return True
    if not _begins_with(buffer, line, end, 2):
        return False
    at = line + _CONNECTION_BYTES
    while at < end and byte_at(buffer, at) in (_SPACE, _TAB):
        at += 1
    return byte_at(buffer, at) | _FOLD != _K


@compiled_inline
def _begins_with(buffer: Octets, line: int, end: int, name: int) -> bool:
    return starts_with_folded(_ENDING_NAMES, _ENDING_BOUNDS, name, buffer, line, end)


@compiled_inline
def _may_ask_for_health(buffer: Octets, start: int) -> bool:
    """Whether the target begins with /h or /v1/h; there are bytes enough, for the line is whole."""
    space = start
    while space < start + 4 and byte_at(buffer, space) != _SPACE:
        space += 1
    if byte_at(buffer, space) != _SPACE or byte_at(buffer, space + 1) != _SLASH:
        return False
    first = byte_at(buffer, space + 2)
    return first == _H or (first == _V and byte_at(buffer, space + 5) == _H)


@compiled_inline
def _asks_for_health(context: RequestContext, buffer: Octets) -> bool:
    path = find_path(context.query, buffer, context.head[TARGET_START], context.head[TARGET_END])
    return bool(path == PATH_HEALTH)
