"""All that the compiled loop of a request worker touches, in one record: made before the loop begins."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.memory.atomics import Words
from trinity.memory.control import COUNTERS
from trinity.native.libc import EVENT_WORDS, MEMINFO_WORDS, Events
from trinity.native.networks import Networks
from trinity.native.octets import Integers, Octets
from trinity.observe import metrics
from workers.request.http.context import RequestContext
from workers.request.http.slots import Connections
from workers.request.turns import Governor
from workers.request.udp.batch import Mailbox, make_mailbox
from workers.request.udp.context import make_datagram_context

# Words of Worker.fds.
EPOLL, LISTENER, UDP, CONTROL, SIGNAL, DECIDED, RESOLVER, FD_COUNT = range(8)
# Words of Worker.marks: monotonic times; connections refused, datagrams dropped and lookups, until the last second.
(
    NEXT_SECOND_NS,
    NEXT_SWEEP_NS,
    DRAIN_END_NS,
    ACCEPT_AGAIN_NS,
    REFUSED_BEFORE,
    DROPPED_BEFORE,
    LOOKUPS_BEFORE,
    OVERLOAD_BEFORE,
    MARK_COUNT,
) = range(9)

_LOOKUPS_WORD = metrics.REQUEST.index("lookups_total")


class Worker(NamedTuple):
    """All that the compiled loop touches."""

    fds: Integers
    marks: Integers
    block: Words
    counters: Words
    gauges: NDArray[np.float64]
    events: Events
    event: Events  # scratch for epoll_ctl and for what a socket says of itself
    timespec: Integers
    signals: Octets  # scratch for what signalfd and eventfd hold
    context: RequestContext
    connections: Connections
    mailbox: Mailbox
    governor: Governor


def make_worker(
    fds: Integers,
    block: Words,
    context: RequestContext,
    networks: Networks,
    connections: Connections,
    governor: Governor,
    any_address: bool = False,
) -> Worker:
    counters, marks = block[COUNTERS:], np.zeros(MARK_COUNT, dtype=np.int64)
    marks[LOOKUPS_BEFORE] = counters[_LOOKUPS_WORD]
    return Worker(
        fds=fds,
        marks=marks,
        block=block,
        counters=counters,
        gauges=counters.view(np.float64),
        # All that can be ready, behind it the ready list.
        events=np.zeros((2 * connections.ready.size + FD_COUNT) * EVENT_WORDS, dtype=np.uint32),
        event=np.zeros(MEMINFO_WORDS, dtype=np.uint32),
        timespec=np.zeros(2, dtype=np.int64),
        signals=np.zeros(128, dtype=np.uint8),
        context=context,
        connections=connections,
        mailbox=make_mailbox(make_datagram_context(context), networks, any_address),
        governor=governor,
    )
