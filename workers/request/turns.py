"""A turn of the loop under the governor: when what is ready came, which of it is taken, and the time for refusals.

epoll does not say when a socket became readable. What bounds it: whatever a wait reports came after the wait before
had ended (every wait fetches all that is ready). A worker that had to wait was idle, so what woke it came just now;
where the wait returned at once, it came while the turn before was served, and the kernel reports it in the order in
which it came: so the n-th of them came about that far into that turn. From then until the answer before its own is
whole, a connection has waited: that is its queue delay.

Rules: a turn that began with an idle worker takes everything. Otherwise, if more connections have a request than the
limit allows, each class gets its share (governor.share_out), of which the newest are taken: they can still be answered
soon, and the older cannot. The others are put off: they are refused in time that answering leaves, and in a twentieth
of the time that it takes. While there is a limit, no turn answers for longer than the target, whatever a request costs
in it: what it has not come to then is put off as well. So who is taken has waited a target at most, and a share
of the turn before. Datagrams have no classes, for who sends them is not known until they are read: their limit is the
length of the socket's queue, and the kernel drops what finds no place, which costs this worker nothing. A window ends
with the clock, whether or not anything came.
"""

from typing import NamedTuple

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.limits import CONNECTIONS_MAX, REFUSING_SHARE
from trinity.memory.admission_table import (
    ADMITTED,
    CLASSES,
    CONNECTIONS_LIMIT,
    DATAGRAM_LIMIT,
    DELAY_P50_NS,
    DELAY_P90_NS,
    IN_FLIGHT,
    LIMIT,
)
from trinity.memory.atomics import Words
from trinity.native.libc import (
    EPOLLERR,
    EPOLLHUP,
    MONOTONIC,
    Events,
    event_bits,
    event_tag,
    queued_bytes,
    read_clock,
    set_receive_buffer,
)
from trinity.native.octets import Integers
from trinity.observe import metrics
from workers.request.governor import (
    LIMIT_MAX,
    WINDOW_NS,
    Numbers,
    end_window,
    limit_at,
    make_law,
    note_delay,
    note_in_flight,
    note_service,
    share_out,
)
from workers.request.http.context import RequestContext
from workers.request.http.overload import refuse_next
from workers.request.http.slots import (
    CHOSEN_FROM,
    CLASS_MASK,
    DONE_NS,
    FD,
    HEAD,
    IDLE,
    LINE,
    NEW,
    OVER_COUNT,
    PHASE,
    Connections,
    put_off,
)
from workers.request.udp.batch import DATAGRAM_QUEUE_BYTES, TURN_DATAGRAMS

# Words of Governor.marks: monotonic times, unless they say otherwise.
(
    TARGET_NS,  # a time; 0: there is no governor
    _WINDOW_END_NS,
    _STARTED_NS,  # when the last wait ended
    _BUSY_UNTIL_NS,  # when the last turn ended, if it had more than one thing to do
    _ARRIVED_NS,  # when what comes next in this turn became readable,
    _STEP_NS,  # and how much later the one behind it
    _CUT_NS,  # when this turn takes no more
    _WEIGHT,  # connections and datagrams of the last turn
    _CHOOSING,  # 1 while not everything that is ready is taken
    _TAKEN,  # connections of this turn
    _CREDIT_NS,  # a time that refusals may take
    _QUEUE_BYTES,  # the datagrams' queue as it was granted,
    _QUEUE_SET,  # and as it is now
    _MARK_COUNT,
) = range(14)

_NEVER_NS = 1 << 62
# A wait that takes no longer than this, and so much more an event, has not waited.
_AT_ONCE_NS, _EVENT_NS = 10_000, 1_000
# The most that is saved up for refusals.
_CREDIT_MAX_NS = 2_000_000
# A queue that would change by less stays as it is, unless it is to be whole again.
_QUEUE_STEP = 0.1
_NS_PER_SECOND = 1e9

_LIMIT_GAUGE = metrics.REQUEST.index("admission_limit")
_IN_FLIGHT_GAUGE = metrics.REQUEST.index("admission_in_flight")
_DATAGRAM_GAUGE = metrics.REQUEST.index("admission_datagram_limit")
_P50_GAUGE = metrics.REQUEST.index("queue_delay_seconds", "0.5")
_P90_GAUGE = metrics.REQUEST.index("queue_delay_seconds", "0.9")
_CONNECTIONS_GAUGE = metrics.REQUEST.index("admission_connections_limit")


class Governor(NamedTuple):
    """What a worker's governor remembers."""

    requests: np.void  # governor.LAW_DTYPE, of connections with a request
    datagrams: np.void
    marks: Integers
    wanted: Integers  # of this turn, by class
    shares: Integers


def make_governor(target_ns: int, queue_bytes: int = 0) -> Governor:
    """Without a target there is no governor; `queue_bytes` is what the kernel granted to the datagrams' queue."""
    marks = np.zeros(_MARK_COUNT, dtype=np.int64)
    marks[TARGET_NS], marks[_QUEUE_BYTES], marks[_QUEUE_SET] = target_ns, queue_bytes, queue_bytes
    none = np.zeros(CLASSES, dtype=np.int64)
    return Governor(make_law(), make_law(), marks, none, none.copy())


@compiled_inline
def end_turn(governor: Governor, timespec: Integers, events: int, datagrams: int) -> None:
    """The loop is about to wait, having served so much."""
    marks = governor.marks
    marks[_WEIGHT] = events + datagrams
    if marks[_WEIGHT] <= 1 or marks[TARGET_NS] == 0:
        return
    marks[_BUSY_UNTIL_NS] = read_clock(MONOTONIC, timespec)
    # A turn that had both says little of either.
    if datagrams == 0 and marks[_TAKEN] > 1:
        note_service(governor.requests, (marks[_BUSY_UNTIL_NS] - marks[_STARTED_NS]) / marks[_TAKEN])
    elif datagrams > events:
        note_service(governor.datagrams, (marks[_BUSY_UNTIL_NS] - marks[_STARTED_NS]) / datagrams)


@compiled_inline
def begin_turn(governor: Governor, at: Connections, events: Events, count: int, now_ns: int) -> None:
    """The wait is over: say when its events came, and whether all of them are taken."""
    marks = governor.marks
    if marks[TARGET_NS] == 0:
        return
    at_once_ns = _AT_ONCE_NS + _EVENT_NS * count
    was_busy = marks[_WEIGHT] > 1 and now_ns - marks[_BUSY_UNTIL_NS] <= at_once_ns
    marks[_ARRIVED_NS] = marks[_STARTED_NS] if was_busy else now_ns
    marks[_STEP_NS] = (now_ns - marks[_ARRIVED_NS]) // max(count, 1)
    marks[_STARTED_NS] = now_ns
    marks[_CUT_NS] = now_ns + marks[TARGET_NS] if governor.requests["learned"] < LIMIT_MAX else _NEVER_NS
    marks[_CHOOSING] = marks[_TAKEN] = 0
    note_in_flight(governor.requests, count)
    if was_busy and count > limit_at(governor.requests["learned"], count):
        _choose(governor, at, events, count)


@compiled_inline
def takes(governor: Governor, at: Connections, slot: int, bits: int, now_ns: int) -> bool:
    """Whether this connection is served now; if not, it was put off."""
    marks = governor.marks
    if marks[TARGET_NS] == 0:
        return True
    marks[_ARRIVED_NS] += marks[_STEP_NS]
    if marks[_CHOOSING] == 1 and at.over_marks[slot] & CHOSEN_FROM:
        at.over_marks[slot] &= ~CHOSEN_FROM
        which = at.known[slot] & CLASS_MASK
        governor.wanted[which] -= 1
        if governor.wanted[which] < governor.shares[which]:
            governor.shares[which] -= 1
        elif _asks(at, slot, bits):  # enough newer ones follow
            put_off(at, slot, now_ns)
            return False
    if at.state[DONE_NS] > marks[_CUT_NS] and _asks(at, slot, bits):
        put_off(at, slot, now_ns)
        return False
    marks[_TAKEN] += 1
    note_delay(governor.requests, at.state[DONE_NS] - marks[_ARRIVED_NS], 1)
    return True


@compiled_inline
def note_datagrams(governor: Governor, at: Connections, count: int, udp_fd: int, scratch: Events) -> None:
    """So many were served just now, behind the answers of this turn before them."""
    marks, law = governor.marks, governor.datagrams
    first_ns = at.state[DONE_NS]
    if marks[TARGET_NS] == 0:
        return
    if count <= 1:
        note_delay(law, first_ns - marks[_ARRIVED_NS], count)
        note_in_flight(law, count)
        return
    done_ns = at.state[DONE_NS] = read_clock(MONOTONIC, at.timespec)
    marks[_CUT_NS] += done_ns - first_ns  # a flood of datagrams takes no connection's time
    last_delay_ns, waiting = float(done_ns - marks[_ARRIVED_NS]), 0.0
    if count == TURN_DATAGRAMS:  # the turn's bound, and not the queue's end: who is at its end waits for all before
        waiting = max(0, queued_bytes(udp_fd, scratch)) / DATAGRAM_QUEUE_BYTES
        last_delay_ns = max(last_delay_ns, waiting * (done_ns - first_ns) / count)
    note_delay(law, first_ns - marks[_ARRIVED_NS], count // 2)
    note_delay(law, last_delay_ns, count - count // 2)
    note_in_flight(law, count + int(waiting))


@compiled
def refuse_some(
    governor: Governor, at: Connections, context: RequestContext, counters: Words, began_ns: int, is_idle: bool
) -> None:
    """Refuse what was put off, for as long as a twentieth of what this turn took so far, or one of it if it is idle."""
    marks, now_ns = governor.marks, read_clock(MONOTONIC, at.timespec)
    credit = marks[_CREDIT_NS] + int(REFUSING_SHARE * (now_ns - began_ns))
    credit = min(max(credit, 1) if is_idle else credit, _CREDIT_MAX_NS)
    while at.state[OVER_COUNT] > 0 and credit > 0:
        refuse_next(at, context, counters, now_ns)
        then_ns, now_ns = now_ns, read_clock(MONOTONIC, at.timespec)
        credit -= now_ns - then_ns
    marks[_CREDIT_NS] = credit if at.state[OVER_COUNT] > 0 else 0


@compiled
def end_windows(
    governor: Governor, at: Connections, gauges: Numbers, udp_fd: int, scratch: Events, now_ns: int
) -> None:
    """A window is over: the next limits, the queue of the datagrams, and what is told of all that."""
    marks, requests, datagrams = governor.marks, governor.requests, governor.datagrams
    line = at.state[LINE]
    marks[_WINDOW_END_NS] = now_ns + WINDOW_NS
    at.admission[line + ADMITTED] += np.uint64(requests["samples"] + datagrams["samples"])
    end_window(requests, float(marks[TARGET_NS]))
    end_window(datagrams, float(marks[TARGET_NS]))
    wanted_bytes = marks[_QUEUE_BYTES]
    if datagrams["learned"] < LIMIT_MAX:
        wanted_bytes = min(wanted_bytes, int(datagrams["learned"] * DATAGRAM_QUEUE_BYTES))
    step = 0.0 if wanted_bytes == marks[_QUEUE_BYTES] else _QUEUE_STEP * marks[_QUEUE_SET]
    if abs(wanted_bytes - marks[_QUEUE_SET]) > step:
        marks[_QUEUE_SET] = wanted_bytes
        set_receive_buffer(udp_fd, wanted_bytes, scratch)
    peak = int(max(requests["last_peak"], 1.0))
    limit, waiting = limit_at(requests["learned"], peak), marks[_QUEUE_SET] // DATAGRAM_QUEUE_BYTES
    at.admission[line + LIMIT], at.admission[line + IN_FLIGHT] = limit, int(requests["last_peak"])
    p50_ns, p90_ns = max(requests["p50_ns"], datagrams["p50_ns"]), max(requests["p90_ns"], datagrams["p90_ns"])
    at.admission[line + DELAY_P50_NS], at.admission[line + DELAY_P90_NS] = int(p50_ns), int(p90_ns)
    at.admission[line + DATAGRAM_LIMIT] = waiting
    gauges[_LIMIT_GAUGE], gauges[_IN_FLIGHT_GAUGE], gauges[_DATAGRAM_GAUGE] = limit, requests["last_peak"], waiting
    gauges[_P50_GAUGE], gauges[_P90_GAUGE] = p50_ns / _NS_PER_SECOND, p90_ns / _NS_PER_SECOND
    gauges[_CONNECTIONS_GAUGE] = at.admission[CONNECTIONS_LIMIT]


@compiled_inline
def is_window_over(governor: Governor, now_ns: int) -> bool:
    return bool(governor.marks[TARGET_NS] != 0 and now_ns >= governor.marks[_WINDOW_END_NS])


@compiled
def _choose(governor: Governor, at: Connections, events: Events, count: int) -> None:
    """Give each class its share of the limit. One that is on the ready list as well as among the events counts once."""
    wanted, total = governor.wanted, 0
    for which in range(CLASSES):
        wanted[which] = 0
    for i in range(count):
        slot = event_tag(events, i)
        if slot >= CONNECTIONS_MAX or not _asks(at, slot, event_bits(events, i)):
            continue
        if at.over_marks[slot] & CHOSEN_FROM == 0:
            at.over_marks[slot] |= CHOSEN_FROM
            wanted[at.known[slot] & CLASS_MASK] += 1
            total += 1
    share_out(limit_at(governor.requests["learned"], total), wanted, governor.shares)
    governor.marks[_CHOOSING] = 1


@compiled_inline
def _asks(at: Connections, slot: int, bits: int) -> bool:
    """Whether input of this connection is, or may be, a request."""
    row = at.table[slot]
    return bool(bits & (EPOLLERR | EPOLLHUP) == 0 and row[FD] >= 0 and row[PHASE] in (IDLE, HEAD, NEW))
