"""The one loop of a request worker: epoll over HTTP and UDP, compiled, out of shared memory only.

`run` makes the sockets and the memory and calls `_serve`, which returns to Python only when the worker has drained.
So no Python signal handler runs meanwhile: SIGTERM comes through a signalfd and the supervisor's command through the
control segment and an eventfd, all in the epoll set; the loop itself writes its heartbeat at each turn.

A turn: wait at most 100 ms, serve each event of a connection, of the datagrams and of the ready list, then new
connections, then count.

To drain: accept what is waiting, shut the listener, answer what is in flight with `Connection: close`, let idle
connections bring a last request for a moment, then close, and leave when all are gone or the time is up.
"""

import os
import resource
import select
import socket
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.access.gate import make_gate, turn_month
from trinity.clock import NS_PER_SECOND
from trinity.compiled import compile_for, compiled, has_code_for, refer_to
from trinity.config import AccessSection, PortsSection, RequestSection
from trinity.limits import (
    ACCEPTS_MAX,
    CONNECTIONS_MAX,
    DRAIN_IDLE_MAX_NS,
    DRAIN_WORKER_MAX_NS,
    EVENTS_MAX,
    PARKED_MAX,
)
from trinity.markets import load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.atomics import Words, load_acquire, store_release
from trinity.memory.control import BLOCK_WORDS, COMMAND, COUNTERS, HEARTBEAT_NS, Command
from trinity.native.libc import (
    EAGAIN,
    EPOLL_ADD,
    EPOLL_DELETE,
    EPOLLIN,
    EVENT_WORDS,
    MEMINFO_WORDS,
    MONOTONIC,
    REALTIME,
    Events,
    accept,
    close,
    control_events,
    dropped_datagrams,
    event_bits,
    event_tag,
    is_exhausted,
    read_clock,
    read_words,
    wait_events,
)
from trinity.native.networks import Networks, trusted_networks
from trinity.native.octets import Integers, Octets
from trinity.net.ports import is_any
from trinity.observe import metrics
from trinity.process import ProcessContext, WorkerMemory
from workers.request import lookups
from workers.request.admission import gate_counters
from workers.request.beyond import ASKED, NEXT_NS, hurry, make_beyond, parked_count
from workers.request.forwarded import make_caller
from workers.request.http.connection import expire, open_connection, serve_event
from workers.request.http.context import RequestContext, make_context, make_private_context
from workers.request.http.response import write_date
from workers.request.http.slots import (
    ANSWERED,
    DEADLINE_NS,
    DRAINING,
    FD,
    FREE_COUNT,
    HIGHEST,
    IDLE,
    NEW,
    PHASE,
    READY_COUNT,
    Connections,
    connections_of,
    make_connections,
    take_ready,
)
from workers.request.ledger import WALL_OFFSET_NS, make_ledger
from workers.request.sockets import BACKLOG, bind, open_signal_fd, pin_to_cpu
from workers.request.udp.batch import Mailbox, make_mailbox, serve_datagrams
from workers.request.udp.context import make_datagram_context
from workers.request.waiting import count_duration, serve_waiting, tell_lookups

# Tags of the epoll set beside the connections' slots.
_TAG_LISTENER, _TAG_UDP, _TAG_CONTROL, _TAG_SIGNAL, _TAG_ANSWERED = range(CONNECTIONS_MAX, CONNECTIONS_MAX + 5)
# Words of Worker.fds.
_EPOLL, _LISTENER, _UDP, _CONTROL, _SIGNAL, _ANSWERED, _RESOLVER, _FD_COUNT = range(8)
# Words of Worker.marks: monotonic times; connections refused, datagrams dropped and lookups, until the last second.
(
    _NEXT_SECOND_NS,
    _NEXT_SWEEP_NS,
    _DRAIN_END_NS,
    _ACCEPT_AGAIN_NS,
    _REFUSED_BEFORE,
    _DROPPED_BEFORE,
    _LOOKUPS_BEFORE,
    _MARK_COUNT,
) = range(8)

_TURN_MS = 100  # the longest wait: a heartbeat is never older, and the supervisor allows 5 s
_DRAIN_TURN_MS = 20
_SWEEP_NS = NS_PER_SECOND  # deadlines are seconds: looking once a second is near enough, and 8,192 rows take 10 us
_ACCEPT_PAUSE_NS = 100_000_000  # without descriptors: look again then, instead of spinning

_CONNECTIONS_GAUGE = metrics.REQUEST.index("http_connections")
_REFUSING_GAUGE = metrics.REQUEST.index("http_connections_refused_last_second")
_REFUSED_WORD = metrics.REQUEST.index("http_connections_refused_total")
_LOOKUPS_WORD = metrics.REQUEST.index("lookups_total")
_DROPPED_WORD = metrics.REQUEST.index("udp_datagrams_total", "dropped")
_DRAIN = int(Command.DRAIN)


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


def run(
    context: ProcessContext,
    memory: WorkerMemory,
    ports: PortsSection,
    request: RequestSection,
    access: AccessSection,
    bind_host: str,
    worker: int,
    report_paths: Sequence[str] = (),
    *,
    beyond_catalog: bool = False,
) -> None:
    """Serve until the supervisor says DRAIN or SIGTERM comes; `report_paths` are answered by another service.

    `beyond_catalog`: assets that the catalog does not name are looked for.

    Raises PortTakenError when a port cannot be bound, OSError for other failures of the system.
    """
    tables = memory.access
    if request.pin:
        pin_to_cpu(worker)
    with (
        bind("TCP_PORT_LPO", bind_host, ports.tcp_port_lpo, socket.SOCK_STREAM) as tcp,
        bind("UDP_PORT_LPO", bind_host, ports.udp_port_lpo, socket.SOCK_DGRAM) as udp,
        select.epoll() as epoll,
    ):
        tcp.listen(BACKLOG)
        counters = gate_counters(context.block.counters)
        signal_fd = open_signal_fd()
        own = epoll.fileno(), tcp.fileno(), udp.fileno(), context.control_fd, signal_fd
        fds = np.array([*own, memory.asker.answered_fd, memory.asker.resolver_fd], dtype=np.int64)
        request_context = make_context(
            table_words=memory.answers.words,
            catalog=context.catalog,
            node=context.node,
            simulated=context.simulated,
            worker=worker,
            caller=make_caller(access.trusted_proxies),
            gate=make_gate(tables.keys, tables.limits, tables.addresses, tables.blocks, counters, access),
            ledger=make_ledger(memory.ring.words, context.catalog),
            beyond=make_beyond(memory.asker, len(context.catalog.assets), beyond_catalog, PARKED_MAX),
            ports=ports,
            report_paths=report_paths,
        )
        networks = trusted_networks(request.udp_trusted_networks)
        room = connections_of(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        connections = make_connections(epoll.fileno(), request_context, room, access.proxy_protocol)
        context.log.info("serving %s: TCP %d, UDP %d", bind_host, ports.tcp_port_lpo, ports.udp_port_lpo)
        worker_memory = _make_worker(fds, context.block.words, request_context, networks, connections, is_any(udp))
        _serve(refer_to(worker_memory))
        tcp.detach()  # the loop closed it when it began to drain
        os.close(signal_fd)
    context.log.info("drained")


def warm_up() -> None:
    """Compile the loop and what others call of it, or load it: the supervisor does it once, before it forks."""
    compile_for(_serve, refer_to(_example()))
    lookups.warm_up()


def is_compiled() -> bool:
    """Whether all of it only has to be loaded."""
    return has_code_for(_serve, refer_to(_example())) and lookups.is_compiled()


def _example() -> Worker:
    """A worker of the types that all workers have."""
    words = np.zeros(BLOCK_WORDS, dtype=np.uint64)
    context = make_private_context(words, load_catalog(), words[COUNTERS:], AccessSection(), AccessMemory.private())
    fds = np.zeros(_FD_COUNT, dtype=np.int64)
    return _make_worker(fds, words, context, trusted_networks(()), make_connections(0, context, 1))


def _make_worker(
    fds: Integers,
    block: Words,
    context: RequestContext,
    networks: Networks,
    connections: Connections,
    any_address: bool = False,
) -> Worker:
    counters, marks = block[COUNTERS:], np.zeros(_MARK_COUNT, dtype=np.int64)
    marks[_LOOKUPS_BEFORE] = counters[_LOOKUPS_WORD]
    return Worker(
        fds=fds,
        marks=marks,
        block=block,
        counters=counters,
        gauges=counters.view(np.float64),
        events=np.zeros((EVENTS_MAX + connections.ready.size) * EVENT_WORDS, dtype=np.uint32),
        event=np.zeros(MEMINFO_WORDS, dtype=np.uint32),
        timespec=np.zeros(2, dtype=np.int64),
        signals=np.zeros(128, dtype=np.uint8),
        context=context,
        connections=connections,
        mailbox=make_mailbox(make_datagram_context(context), networks, any_address),
    )


@compiled
def _serve(worker: Worker) -> None:
    """The loop; returns when the worker has drained."""
    fds, marks, state, beyond = worker.fds, worker.marks, worker.connections.state, worker.context.beyond.state
    for which in range(_LISTENER, _ANSWERED + 1):
        tag = _TAG_LISTENER + which - _LISTENER
        control_events(fds[_EPOLL], EPOLL_ADD, fds[which], EPOLLIN, tag, worker.event)
    while True:
        timeout_ms = _DRAIN_TURN_MS if state[DRAINING] == 1 else _TURN_MS
        count = wait_events(fds[_EPOLL], worker.events, EVENTS_MAX, 0 if state[READY_COUNT] > 0 else timeout_ms)
        now_ns = read_clock(MONOTONIC, worker.timespec)
        store_release(worker.block, HEARTBEAT_NS, now_ns)
        if now_ns >= marks[_NEXT_SECOND_NS]:
            _tick(worker, now_ns)
        if 0 < marks[_ACCEPT_AGAIN_NS] <= now_ns:
            marks[_ACCEPT_AGAIN_NS] = 0
            control_events(fds[_EPOLL], EPOLL_ADD, fds[_LISTENER], EPOLLIN, _TAG_LISTENER, worker.event)
        if now_ns >= marks[_NEXT_SWEEP_NS]:
            _sweep(worker.connections, worker.context, worker.counters, now_ns)
            marks[_NEXT_SWEEP_NS] = now_ns + (_DRAIN_TURN_MS * 1_000_000 if state[DRAINING] == 1 else _SWEEP_NS)
        state[ANSWERED] = 0
        accepting = drain = decided = False
        for i in range(take_ready(worker.connections, worker.events, max(0, count))):
            tag = event_tag(worker.events, i)
            if tag < CONNECTIONS_MAX:
                bits = event_bits(worker.events, i)
                serve_event(worker.connections, worker.context, worker.counters, tag, bits, now_ns)
            elif tag == _TAG_LISTENER:
                accepting = True
            elif tag == _TAG_UDP:
                serve_datagrams(worker.mailbox, worker.counters, fds[_UDP], now_ns)
            else:
                read_words(fds[_CONTROL + tag - _TAG_CONTROL], worker.signals)
                drain |= tag == _TAG_SIGNAL
                decided |= tag == _TAG_ANSWERED
        if accepting:
            _accept_waiting(worker, now_ns)
        if state[ANSWERED] > 0:
            count_duration(worker.counters, state[ANSWERED], read_clock(MONOTONIC, worker.timespec) - now_ns)
        if decided or beyond[ASKED] == 1 or now_ns >= beyond[NEXT_NS]:
            serve_waiting(
                worker.connections, worker.mailbox, worker.context, worker.counters, fds[_UDP], fds[_RESOLVER], decided,
                now_ns,
            )  # fmt: skip
        if state[DRAINING] == 0 and (drain or load_acquire(worker.block, COMMAND) == _DRAIN):
            _begin_drain(worker, now_ns)
        left = _open_count(worker.connections) + parked_count(worker.context.beyond)
        if state[DRAINING] == 1 and (left == 0 or now_ns >= marks[_DRAIN_END_NS]):
            break
    serve_datagrams(worker.mailbox, worker.counters, fds[_UDP], now_ns)
    hurry(worker.context.beyond, 0)
    serve_waiting(
        worker.connections, worker.mailbox, worker.context, worker.counters, fds[_UDP], fds[_RESOLVER], True, now_ns
    )


@compiled
def _accept_waiting(worker: Worker, now_ns: int) -> None:
    """Take in a burst of new connections; without descriptors, leave the listener alone for a moment."""
    fds = worker.fds
    for _ in range(ACCEPTS_MAX):
        fd = accept(fds[_LISTENER], worker.connections.sockaddr)
        if fd == -EAGAIN:
            return
        if is_exhausted(fd):
            control_events(fds[_EPOLL], EPOLL_DELETE, fds[_LISTENER], 0, 0, worker.event)
            worker.marks[_ACCEPT_AGAIN_NS] = now_ns + _ACCEPT_PAUSE_NS
            worker.counters[_REFUSED_WORD] += np.uint64(1)
            return
        if fd >= 0:
            open_connection(worker.connections, worker.context, worker.counters, fd, now_ns)


@compiled
def _tick(worker: Worker, now_ns: int) -> None:
    """Once a second of the wall clock: the answers' date, the records' time, the quotas' month, and the gauge."""
    wall_ns = read_clock(REALTIME, worker.timespec)
    write_date(worker.context.stamp.octets, wall_ns // NS_PER_SECOND)
    worker.context.ledger.tally[WALL_OFFSET_NS] = wall_ns - now_ns
    turn_month(worker.context.gate, wall_ns, now_ns)
    worker.marks[_NEXT_SECOND_NS] = now_ns + NS_PER_SECOND - wall_ns % NS_PER_SECOND
    worker.gauges[_CONNECTIONS_GAUGE] = _open_count(worker.connections)
    refused = np.int64(worker.counters[_REFUSED_WORD])
    worker.gauges[_REFUSING_GAUGE] = refused - worker.marks[_REFUSED_BEFORE]
    worker.marks[_REFUSED_BEFORE] = refused
    tell_lookups(worker.context.beyond, worker.counters, worker.marks, _LOOKUPS_BEFORE)
    dropped = dropped_datagrams(worker.fds[_UDP], worker.event)
    if dropped >= 0:
        worker.counters[_DROPPED_WORD] += np.uint64((dropped - worker.marks[_DROPPED_BEFORE]) & 0xFFFFFFFF)
        worker.marks[_DROPPED_BEFORE] = dropped


@compiled
def _open_count(connections: Connections) -> int:
    free: int = connections.state[FREE_COUNT]
    return connections.free.size - free


@compiled
def _sweep(connections: Connections, context: RequestContext, counters: Words, now_ns: int) -> None:
    """Let all deadlines that have passed take effect."""
    table = connections.table
    for slot in range(connections.state[HIGHEST]):
        if table[slot, FD] >= 0 and now_ns >= table[slot, DEADLINE_NS]:
            expire(connections, context, counters, slot, now_ns)


@compiled
def _begin_drain(worker: Worker, now_ns: int) -> None:
    """Shut the door, and give everyone inside a deadline."""
    fds, connections = worker.fds, worker.connections
    connections.state[DRAINING] = 1
    hurry(worker.context.beyond, now_ns)
    worker.marks[_DRAIN_END_NS] = now_ns + DRAIN_WORKER_MAX_NS
    worker.marks[_NEXT_SWEEP_NS] = now_ns
    _accept_waiting(worker, now_ns)
    control_events(fds[_EPOLL], EPOLL_DELETE, fds[_LISTENER], 0, 0, worker.event)
    close(fds[_LISTENER])
    for slot in range(connections.state[HIGHEST]):
        idle = connections.table[slot, PHASE] in (IDLE, NEW)
        limit_ns = now_ns + (DRAIN_IDLE_MAX_NS if idle else DRAIN_WORKER_MAX_NS)
        connections.table[slot, DEADLINE_NS] = min(connections.table[slot, DEADLINE_NS], limit_ns)
