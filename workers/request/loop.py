"""The one loop of a request worker: epoll over HTTP and UDP, compiled, out of shared memory only.

`run` makes the sockets and the memory and calls `_serve`, which returns to Python only when the worker has drained.
So no Python signal handler runs meanwhile: SIGTERM comes through a signalfd and the supervisor's command through the
control segment and an eventfd, all in the epoll set; the loop itself writes its heartbeat at each turn.

A turn: wait at most 100 ms, serve each event of a connection, of the datagrams and of the ready list, refuse some of
what the governor put off (governor.py), then new connections, then count.

To drain: accept what is waiting, shut the listener, answer what is in flight with `Connection: close`, let idle
connections bring a last request for a moment, then close, and leave when all are gone or the time is up. A worker that
is replaced leaves its sockets, and all that waits in them, to its successor (trinity/net/seat.py), and has more time.
"""

import os
import resource
import select
from collections.abc import Sequence

import numpy as np

from trinity.access.gate import make_gate, turn_month
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.compiled import compile_for, compiled, has_code_for, refer_to
from trinity.config import AccessSection, PortsSection, RequestSection
from trinity.limits import (
    ACCEPTS_MAX,
    CONNECTIONS_MAX,
    DRAIN_IDLE_MAX_NS,
    DRAIN_WORKER_MAX_NS,
    EVENTS_MAX,
    PARKED_MAX,
    RETIRE_IDLE_MAX_NS,
    RETIRE_WORKER_MAX_NS,
)
from trinity.markets import load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.admission_table import CLASSES
from trinity.memory.atomics import load_acquire, signed, store_release
from trinity.memory.control import BLOCK_WORDS, COMMAND, COUNTERS, HEARTBEAT_NS, Command
from trinity.native.libc import (
    EAGAIN,
    EPOLL_ADD,
    EPOLL_DELETE,
    EPOLLIN,
    MONOTONIC,
    REALTIME,
    accept,
    close,
    control_events,
    dropped_datagrams,
    event_bits,
    event_tag,
    is_exhausted,
    read_clock,
    read_words,
    shut_listener,
    wait_events,
)
from trinity.native.networks import trusted_networks
from trinity.net.ports import is_any
from trinity.net.seat import sockets_of
from trinity.observe import metrics
from trinity.process import ProcessContext, WorkerMemory
from trinity.vocabulary import ADMISSION_CLASSES
from workers.request import lookups
from workers.request.admission import gate_counters
from workers.request.beyond import ASKED, NEXT_NS, hurry, make_beyond, parked_count
from workers.request.forwarded import make_caller
from workers.request.http.connection import open_connection, serve_event, sweep
from workers.request.http.context import make_context, make_private_context
from workers.request.http.response import write_date
from workers.request.http.room import MADE, excess, give_way
from workers.request.http.slots import (
    ANSWERED,
    DEADLINE_NS,
    DONE_NS,
    DRAINING,
    FREE_COUNT,
    HIGHEST,
    IDLE,
    NEW,
    OVER_COUNT,
    PHASE,
    READY_COUNT,
    Connections,
    connections_of,
    make_connections,
    take_ready,
)
from workers.request.ledger import WALL_OFFSET_NS, make_ledger
from workers.request.readiness import wait_for_prices
from workers.request.sockets import BACKLOG, bind_both, open_signal_fd, pin_to_cpu
from workers.request.turns import (
    begin_turn,
    end_turn,
    end_windows,
    is_window_over,
    make_governor,
    note_datagrams,
    refuse_some,
    takes,
)
from workers.request.udp.batch import (
    granted_queue_bytes,
    serve_datagrams,
)
from workers.request.waiting import count_duration, serve_waiting, tell_lookups
from workers.request.worker import (
    ACCEPT_AGAIN_NS,
    CONTROL,
    DECIDED,
    DRAIN_END_NS,
    DROPPED_BEFORE,
    EPOLL,
    FD_COUNT,
    LISTENER,
    LOOKUPS_BEFORE,
    NEXT_SECOND_NS,
    NEXT_SWEEP_NS,
    OVERLOAD_BEFORE,
    REFUSED_BEFORE,
    RESOLVER,
    UDP,
    Worker,
    make_worker,
)

# Tags of the epoll set beside the connections' slots.
_TAG_LISTENER, _TAG_UDP, _TAG_CONTROL, _TAG_SIGNAL, _TAG_DECIDED = range(CONNECTIONS_MAX, CONNECTIONS_MAX + 5)

_TURN_MS = 100  # the longest wait: a heartbeat is never older, and the supervisor allows 5 s
_DRAIN_TURN_MS = 20
_SWEEP_NS = NS_PER_SECOND  # deadlines are seconds: looking once a second is near enough, and 8,192 rows take 10 us
_ACCEPT_PAUSE_NS = 100_000_000  # without descriptors: look again then, instead of spinning
_GIVEN_UP_MAX = 256  # connections in a second, over the node's limit: each is looked for among all, in some 10 us

_CONNECTIONS_GAUGE = metrics.REQUEST.index("http_connections")
_REFUSING_GAUGE = metrics.REQUEST.index("http_connections_refused_last_second")
_REFUSED_WORD = metrics.REQUEST.index("http_connections_refused_total")
_DISPLACED_WORD = metrics.REQUEST.index("http_connections_displaced_total")
_OVERLOAD_WORD = metrics.REQUEST.index("overload_refusals_total", ADMISSION_CLASSES[0])
_OVERLOAD_GAUGE = metrics.REQUEST.index("overload_refusals_last_second")
_DROPPED_WORD = metrics.REQUEST.index("udp_datagrams_total", "dropped")
_DRAIN, _RETIRE = int(Command.DRAIN), int(Command.RETIRE)


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
        pin_to_cpu(worker if context.seat is None else context.seat.number)
    if request.listen_when_ready and not wait_for_prices(memory.answers, context.clock, context.block.beat):
        context.log.warning("listening without prices: they did not come in time")
    tcp, udp = sockets_of(context.seat, lambda: bind_both(bind_host, ports))
    with tcp, udp, select.epoll() as epoll:
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
        connections = make_connections(
            epoll.fileno(), request_context, room, access.proxy_protocol, memory.admission, worker
        )
        governor = make_governor(round(request.target_queue_delay_ms * NS_PER_MS), granted_queue_bytes(udp))
        context.log.info("serving %s: TCP %d, UDP %d", bind_host, ports.tcp_port_lpo, ports.udp_port_lpo)
        worker_memory = make_worker(
            fds, context.block.words, request_context, networks, connections, governor, is_any(udp)
        )
        # Of a socket that another one had before: what was dropped until now is counted already.
        worker_memory.marks[DROPPED_BEFORE] = max(0, dropped_datagrams(udp.fileno(), worker_memory.event))
        _serve(refer_to(worker_memory))
        tcp.detach()  # the loop closed it when it began to drain
        os.close(signal_fd)
    context.log.info("drained")


def warm_up() -> None:
    """Compile the loop and what others call of it, or load it: the supervisor does it once, before it forks."""
    worker = _example()
    compile_for(_serve, refer_to(worker))
    compile_for(dropped_datagrams, 0, worker.event)
    lookups.warm_up()


def is_compiled() -> bool:
    """Whether all of it only has to be loaded."""
    return has_code_for(_serve, refer_to(_example())) and lookups.is_compiled()


def _example() -> Worker:
    """A worker of the types that all workers have."""
    words = np.zeros(BLOCK_WORDS, dtype=np.uint64)
    context = make_private_context(words, load_catalog(), words[COUNTERS:], AccessSection(), AccessMemory.private())
    fds = np.zeros(FD_COUNT, dtype=np.int64)
    return make_worker(fds, words, context, trusted_networks(()), make_connections(0, context, 1), make_governor(0))


@compiled
def _serve(worker: Worker) -> None:
    """The loop; returns when the worker has drained."""
    fds, marks, connections = worker.fds, worker.marks, worker.connections
    state, events, governor, beyond = connections.state, worker.events, worker.governor, worker.context.beyond.state
    events_max = connections.free.size + FD_COUNT
    for which in range(LISTENER, DECIDED + 1):
        tag = _TAG_LISTENER + which - LISTENER
        control_events(fds[EPOLL], EPOLL_ADD, fds[which], EPOLLIN, tag, worker.event)
    while True:
        timeout_ms = _DRAIN_TURN_MS if state[DRAINING] == 1 else _TURN_MS
        if state[READY_COUNT] > 0 or state[OVER_COUNT] > 0:
            timeout_ms = 0
        count = wait_events(fds[EPOLL], events, events_max, timeout_ms)
        now_ns = read_clock(MONOTONIC, worker.timespec)
        store_release(worker.block, HEARTBEAT_NS, now_ns)
        if now_ns >= marks[NEXT_SECOND_NS]:
            _tick(worker, now_ns)
        if 0 < marks[ACCEPT_AGAIN_NS] <= now_ns:
            marks[ACCEPT_AGAIN_NS] = 0
            control_events(fds[EPOLL], EPOLL_ADD, fds[LISTENER], EPOLLIN, _TAG_LISTENER, worker.event)
        if now_ns >= marks[NEXT_SWEEP_NS]:
            sweep(connections, worker.context, worker.counters, now_ns)
            marks[NEXT_SWEEP_NS] = now_ns + (_DRAIN_TURN_MS * 1_000_000 if state[DRAINING] == 1 else _SWEEP_NS)
        if is_window_over(governor, now_ns):
            end_windows(governor, connections, worker.gauges, fds[UDP], worker.event, now_ns)
        state[DONE_NS] = now_ns
        accepting = drain = decided = False
        total, datagrams, began_ns = take_ready(connections, events, max(0, count)), 0, now_ns
        begin_turn(governor, connections, events, total, now_ns)
        for i in range(total):
            if i % EVENTS_MAX == EVENTS_MAX - 1:
                now_ns = read_clock(MONOTONIC, worker.timespec)  # what is answered late must not be as of before
            tag = event_tag(events, i)
            if tag < CONNECTIONS_MAX:
                bits = event_bits(events, i)
                if takes(governor, connections, tag, bits, now_ns):
                    state[ANSWERED] = 0
                    serve_event(connections, worker.context, worker.counters, tag, bits, now_ns)
                    if state[ANSWERED] > 0:
                        count_duration(worker.counters, state[ANSWERED], state[DONE_NS] - began_ns)
            elif tag == _TAG_LISTENER:
                accepting = True
            elif tag == _TAG_UDP:
                datagrams = serve_datagrams(worker.mailbox, worker.counters, fds[UDP], now_ns)
                note_datagrams(governor, connections, datagrams, fds[UDP], worker.event)
            else:
                read_words(fds[CONTROL + tag - _TAG_CONTROL], worker.signals)
                drain |= tag == _TAG_SIGNAL
                decided |= tag == _TAG_DECIDED
        if state[OVER_COUNT] > 0:
            refuse_some(governor, connections, worker.context, worker.counters, began_ns, total == 0)
        if accepting:
            _accept_waiting(worker, now_ns)
        if decided or beyond[ASKED] == 1 or now_ns >= beyond[NEXT_NS]:
            serve_waiting(
                connections, worker.mailbox, worker.context, worker.counters, fds[UDP], fds[RESOLVER], decided, now_ns
            )
        if state[DRAINING] == 0 and (drain or load_acquire(worker.block, COMMAND) == _DRAIN):
            _begin_drain(worker, load_acquire(worker.block, COMMAND) == _RETIRE, now_ns)
        end_turn(governor, worker.timespec, total, datagrams)
        left = _open_count(connections) + parked_count(worker.context.beyond)
        if state[DRAINING] == 1 and (left == 0 or now_ns >= marks[DRAIN_END_NS]):
            break
    if load_acquire(worker.block, COMMAND) != _RETIRE:
        serve_datagrams(worker.mailbox, worker.counters, fds[UDP], now_ns)
    hurry(worker.context.beyond, 0)
    serve_waiting(connections, worker.mailbox, worker.context, worker.counters, fds[UDP], fds[RESOLVER], True, now_ns)


@compiled
def _accept_waiting(worker: Worker, now_ns: int) -> None:
    """Take in a burst of new connections; without descriptors, leave the listener alone for a moment."""
    fds = worker.fds
    for _ in range(ACCEPTS_MAX):
        fd = accept(fds[LISTENER], worker.connections.sockaddr)
        if fd == -EAGAIN:
            return
        if is_exhausted(fd):
            control_events(fds[EPOLL], EPOLL_DELETE, fds[LISTENER], 0, 0, worker.event)
            worker.marks[ACCEPT_AGAIN_NS] = now_ns + _ACCEPT_PAUSE_NS
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
    worker.marks[NEXT_SECOND_NS] = now_ns + NS_PER_SECOND - wall_ns % NS_PER_SECOND
    worker.gauges[_CONNECTIONS_GAUGE] = _open_count(worker.connections)
    refused = np.int64(worker.counters[_REFUSED_WORD])
    worker.gauges[_REFUSING_GAUGE] = refused - worker.marks[REFUSED_BEFORE]
    worker.marks[REFUSED_BEFORE] = refused
    tell_lookups(worker.context.beyond, worker.counters, worker.marks, LOOKUPS_BEFORE)
    for _ in range(min(excess(worker.connections), _GIVEN_UP_MAX)):
        worker.counters[_DISPLACED_WORD] += np.uint64(give_way(worker.connections, now_ns) == MADE)
    overloaded = 0
    for which in range(CLASSES):
        overloaded += signed(worker.counters[_OVERLOAD_WORD + which])
    worker.gauges[_OVERLOAD_GAUGE] = overloaded - worker.marks[OVERLOAD_BEFORE]
    worker.marks[OVERLOAD_BEFORE] = overloaded
    dropped = dropped_datagrams(worker.fds[UDP], worker.event)
    if dropped >= 0:
        worker.counters[_DROPPED_WORD] += np.uint64((dropped - worker.marks[DROPPED_BEFORE]) & 0xFFFFFFFF)
        worker.marks[DROPPED_BEFORE] = dropped


@compiled
def _open_count(connections: Connections) -> int:
    free: int = connections.state[FREE_COUNT]
    return connections.free.size - free


@compiled
def _begin_drain(worker: Worker, is_replaced: bool, now_ns: int) -> None:
    """Shut the door, and give everyone inside a deadline; who is replaced leaves what waits at the door to another."""
    fds, connections = worker.fds, worker.connections
    idle_ns, all_ns = DRAIN_IDLE_MAX_NS, DRAIN_WORKER_MAX_NS
    if is_replaced:
        idle_ns, all_ns = RETIRE_IDLE_MAX_NS, RETIRE_WORKER_MAX_NS
    connections.state[DRAINING] = 1
    hurry(worker.context.beyond, now_ns)
    worker.marks[DRAIN_END_NS] = now_ns + all_ns
    worker.marks[NEXT_SWEEP_NS] = now_ns
    worker.marks[ACCEPT_AGAIN_NS] = 0
    if not is_replaced:
        _accept_waiting(worker, now_ns)
    control_events(fds[EPOLL], EPOLL_DELETE, fds[LISTENER], 0, 0, worker.event)
    if is_replaced:
        control_events(fds[EPOLL], EPOLL_DELETE, fds[UDP], 0, 0, worker.event)
    else:
        shut_listener(fds[LISTENER])  # the supervisor holds a duplicate
    close(fds[LISTENER])
    for slot in range(connections.state[HIGHEST]):
        idle = connections.table[slot, PHASE] in (IDLE, NEW)
        limit_ns = now_ns + (idle_ns if idle else all_ns)
        connections.table[slot, DEADLINE_NS] = min(connections.table[slot, DEADLINE_NS], limit_ns)
