"""The composition root: what must exist before the first process of the node; trinity/node/roles.py lists them.

Order of a start, so that a failure leaves nothing behind: every port is tried, shared memory is made, the request
loop is compiled, then the launcher forks. At the end the shared memory is removed, whatever the reason.

What the children call is compiled before the fork (compiling.py). Import this module only after `prepare_cache`.
"""

import contextlib
import dataclasses
import datetime
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec
from setproctitle import setproctitle

import workers.api.server
import workers.backup.process
import workers.health.server
import workers.ledger.process
import workers.push.process
import workers.request.loop
from trinity.clock import NS_PER_SECOND, Clock, SystemClock
from trinity.config import Config, FeedsSection, NodeSection, services_of
from trinity.errors import ConfigError, MissingExtraError
from trinity.limits import COMPILE_SECONDS_MAX, DELIVERY_RING_RECORDS, OPEN_FILES_WANTED
from trinity.markets import Catalog, load_catalog
from trinity.memory.access import AccessMemory, bytes_needed
from trinity.memory.control import (
    NODE_LEAVING,
    NODE_RECORDING,
    NODE_SIMULATED,
    NODE_STARTED_NS,
    ProcessBlock,
)
from trinity.memory.delivery_ring import DeliveryRing
from trinity.memory.miss_queue import MissWakes
from trinity.memory.node import Card, NodeMemory
from trinity.memory.usage_ring import UsageRing
from trinity.net.egress import read_proxies
from trinity.net.ports import check_port, host_in_url, listeners_of, local_host
from trinity.net.seat import Seat
from trinity.node.compiling import compile_before_fork
from trinity.node.console import NodeConsole
from trinity.node.data_dir import check_stamp, claim_data_dir, node_uuid, open_rings
from trinity.node.launcher import Launcher, Process
from trinity.node.notify import Notifier, Phase
from trinity.node.plan import NodePlan, RunningPlan
from trinity.node.reload import Reload, ReloadedNode
from trinity.node.roles import (
    DELIVERY_WRITER,
    NO_RINGS,
    RECEIVER_FOLDER,
    USAGE_WRITERS,
    Rings,
    Role,
    SharedMemory,
    card_of,
    instances_of,
)
from trinity.node.supervisor import ProcessSpec, Stop
from trinity.observe.log import check_log_folder, open_log
from trinity.observe.metrics import REGISTERS
from trinity.process import ProcessContext
from trinity.push.addresses import AllowList
from trinity.store import migrate
from trinity.store.database import database_url
from trinity.version import version
from workers.receiver.certificate import make_certificate


def run_node(config: Config, with_simulator: bool, console: TextIO, read: Callable[[], Config] | None = None) -> Stop:
    """Start the node and stay until it has ended; the result says why. `console` gets the lines for the operator.

    `read`: how the configuration is read anew for a reload; without it nothing is.

    Raises ConfigError, PortTakenError, DataDirTakenError or NodeRunningError before anything was started.
    """
    with claim_data_dir(config.node.data_dir):
        check_stamp(config.node.data_dir, version(), list(migrate.digests(migrate.FOLDER)))
        set_title("supervisor", config.node.name)
        return _run_node(config, with_simulator, console, read or (lambda: config))


def _run_node(config: Config, with_simulator: bool, console: TextIO, read: Callable[[], Config]) -> Stop:
    # Before the launcher takes over nothing runs that a reload could change.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    receives = False
    if with_simulator:
        config = with_simulated_exchanges(config)
        config, receives = with_demo_receiver(config, SystemClock())
    node = node_uuid(config.node.data_dir)
    plan = NodePlan(config, load_catalog(config.node.markets_file), with_simulator, node, receives)
    check_config(config)
    log = open_log("supervisor", config.node.data_dir, terminal_level=logging.CRITICAL)
    clock = SystemClock()
    notifier = Notifier(os.environ, os.getpid())
    shown = NodeConsole(config, plan.catalog, with_simulator, console, log, notifier.tell, with_receiver=receives)
    shown.show_start(clock.monotonic_ns())
    for listener in listeners_of(config, with_simulator, receives):
        check_port(listener, config.node.bind_host)
    raise_file_limit()
    # Until the launcher takes over, a stop still removes what was made. (As process 1 we would not even get SIGTERM.)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    with contextlib.ExitStack() as made:
        memory = create_memory(card_of(plan), plan.config)
        made.callback(memory.unlink)
        access = create_access(config, clock)
        made.callback(access.unlink)
        memory.control.write_node_word(NODE_STARTED_NS, clock.wall_ns())
        memory.control.write_node_word(NODE_SIMULATED, int(config.feeds.simulated))
        memory.control.write_node_word(NODE_RECORDING, int(config.recording.on))

        def announce_compiling(why: str) -> None:
            notifier.ask_for_time(COMPILE_SECONDS_MAX)
            shown.show_compiling(why, clock.monotonic_ns())

        def on_turn() -> bool:
            is_ready = shown.on_turn(memory, clock.monotonic_ns())
            notifier.on_turn(clock.monotonic_ns(), is_ready)
            return is_ready

        if compile_before_fork(announce_compiling):
            shown.show_compiled(clock.monotonic_ns())
        rings = prepare_rings(config, memory, clock, log)

        def announce(phase: Phase) -> None:
            if phase is Phase.STOPPING:
                memory.control.write_node_word(NODE_LEAVING, 1)
            notifier.announce(phase, clock.monotonic_ns())

        notice_ns = int(config.node.drain_notice_seconds * NS_PER_SECOND)
        running = RunningPlan(plan)
        processes = build_processes(running, memory, access, rings)
        changes = make_reload(running, memory, read, clock, log)
        launcher = Launcher(processes, clock, log, on_turn, announce, notice_ns, changes)
        log.info("started", extra={"fields": {"processes": [process.name for process in processes]}})
        stop = launcher.run()
        log.info("stopped", extra={"fields": {"exit_code": stop.exit_code, "message": stop.message}})
        return stop


def check_config(config: Config) -> None:
    """What only shows when it is used: a wrong one is found before anything is started, or replaced."""
    database_url(config)
    check_log_folder(config.node.data_dir)
    read_proxies(config.feeds)
    workers.push.process.tls_of(config.push)
    workers.backup.process.check_settings(config.backup)
    AllowList.parse(config.push.allowed_targets)


def make_reload(
    running: RunningPlan, memory: NodeMemory, read: Callable[[], Config], clock: Clock, log: logging.Logger
) -> Reload:
    """How this node's configuration is changed while it runs."""

    def read_as_started() -> Config:
        plan, config = running.plan, read()
        if plan.with_simulator:
            config = with_simulated_exchanges(config)
        if plan.with_receiver:  # its certificate stands
            targets = (*config.push.allowed_targets, local_host(config.node.bind_host))
            section = msgspec.structs.replace(config.push, ca_file=plan.config.push.ca_file, allowed_targets=targets)
            config = msgspec.structs.replace(config, push=section)
        return config

    def apply(config: Config, before: Config, catalog: Catalog) -> None:
        if config.recording.on != before.recording.on:
            memory.control.write_node_word(NODE_RECORDING, int(config.recording.on))
        if config.stores.cache_url is None:  # else the cluster process says it
            memory.admission.tell_limit(config.request.cluster_connections_max, clock.monotonic_ns())
        if not memory.write_catalog(catalog):
            log.warning("the node's card has no room for the new markets: tools show the old ones")

    kinds = {entry.name: entry.kind for entry in memory.card.processes}
    return Reload(ReloadedNode(running, kinds, read_as_started, check_config, apply), log)


def set_title(what: str, node: str) -> None:
    """What `ps` and `top` call this process; where several nodes run, those with a name of their own have it too."""
    setproctitle(f"trinity: {what}" + ("" if node == NodeSection().name else f" [{node}]"))


def with_simulated_exchanges(config: Config) -> Config:
    """The same configuration with the simulated exchanges of this node in the place of the real ones."""
    address = f"{host_in_url(local_host(config.node.bind_host))}:{config.simulator.port}"
    exchanges = load_catalog(config.node.markets_file).exchanges
    section = FeedsSection(
        simulated=True,
        ws_base_urls={exchange: f"ws://{address}/{exchange}" for exchange in exchanges},
        rest_base_urls={exchange: f"http://{address}/{exchange}" for exchange in exchanges},
    )
    return msgspec.structs.replace(config, feeds=section)


def with_demo_receiver(config: Config, clock: Clock) -> tuple[Config, bool]:
    """The same configuration with a receiver of this machine to push to; as it was without the extra `demo`."""
    if "push" not in services_of(config):
        return config, False
    folder = config.node.data_dir / RECEIVER_FOLDER
    now = datetime.datetime.fromtimestamp(clock.wall_ns() / NS_PER_SECOND, datetime.UTC)
    try:
        authorities = make_certificate(folder, now, Path(config.push.ca_file) if config.push.ca_file else None)
    except MissingExtraError:
        return config, False
    except OSError as error:
        raise ConfigError("TRINITY_DATA_DIR", f"{folder}: {error}") from None
    section = msgspec.structs.replace(
        config.push,
        ca_file=str(authorities),
        allowed_targets=(*config.push.allowed_targets, local_host(config.node.bind_host)),
    )
    return msgspec.structs.replace(config, push=section), True


@dataclass(frozen=True)
class ProcessRun:
    """One run of a process, called in the child; the context's log is opened there."""

    role: Role
    instance: str
    running: RunningPlan
    context: ProcessContext
    memory: SharedMemory

    def __call__(self, seat: Seat | None) -> None:
        plan = self.running.plan
        set_title(f"{self.role.kind} {self.instance}".rstrip(), self.context.node)
        log = open_log(self.context.name, plan.config.node.data_dir)
        log.info("started", extra={"fields": {"pid": os.getpid()}})
        context = dataclasses.replace(self.context, log=log, seat=seat, catalog=plan.catalog)
        memory = dataclasses.replace(self.memory, node=self.memory.node.with_catalog(plan.catalog))
        self.role.start(context, memory, plan, self.instance)
        log.info("stopped")


def build_processes(
    running: RunningPlan, node: NodeMemory, access: AccessMemory, rings: Rings = NO_RINGS
) -> list[Process]:
    """All processes, each with its context, in the order of the card."""
    plan = running.plan
    wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    memory = SharedMemory(node, access, rings, wake_fd, MissWakes.create(node.misses.count))
    clock = SystemClock()
    processes = []
    for index, ((role, instance), entry) in enumerate(zip(instances_of(plan), node.card.processes, strict=True)):
        context = ProcessContext.of(node, index, clock, os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        run = ProcessRun(role, instance, running, context, memory)
        spec = ProcessSpec(entry.name, role.stage, role.vital, *_place_of(role, instance, plan))
        processes.append(
            Process(spec, run, context.block, context.control_fd, _on_rest(node, role, instance, context.block))
        )
    return processes


def _place_of(role: Role, instance: str, plan: NodePlan) -> tuple[str, int | None]:
    """Pool and seat: the last instance of a pool is its spare."""
    seats = role.seats(plan)
    if not seats:
        return "", None
    return role.kind, int(instance) if int(instance) < seats else None


def _on_rest(node: NodeMemory, role: Role, instance: str, block: ProcessBlock) -> Callable[[], None]:
    """What it said last of the present is nobody's now: it may have been killed. Its counters stand."""

    def forget() -> None:
        register = REGISTERS[role.kind]
        gauges = (metric for metric in register.metrics if metric.kind == "gauge")
        for word in [register.index(metric.name, *series) for metric in gauges for series in metric.series()]:
            block.set_gauge(word, 0.0)
        if role.kind == "worker":
            node.admission.clear(int(instance))

    return forget


def prepare_rings(config: Config, memory: NodeMemory, clock: Clock, log: logging.Logger) -> Rings:
    """All rings of records, empty, and at positions that none of them had before; what they held is in the spools."""
    section, data_dir, wall_seconds = config.ledger, config.node.data_dir, clock.wall_ns() // NS_PER_SECOND
    kinds = [entry.kind for entry in memory.card.processes]
    writers, of_deliveries = sum(kind in USAGE_WRITERS for kind in kinds), kinds.count(DELIVERY_WRITER)
    records = section.ring_records
    usage = open_rings(UsageRing, data_dir, writers, records, wall_seconds, log)
    deliveries = open_rings(
        DeliveryRing, data_dir, of_deliveries, min(records, DELIVERY_RING_RECORDS), wall_seconds, log
    )
    rings = (*usage, *deliveries)
    flusher = kinds.index("flusher")
    if not workers.ledger.process.take_over(rings, data_dir, section, memory.control.block(flusher), log):
        reason = "records of a former run wait in it, and neither their spool nor their reserve takes them"
        folders = " and ".join(str(data_dir / folder) for folder in dict.fromkeys(ring.folder for ring in rings))
        raise ConfigError("TRINITY_DATA_DIR", f"{reason}: make room on its disk, or make {folders} writable")
    for ring in rings:
        ring.move_on(wall_seconds)
    return Rings(usage, deliveries)


def create_memory(card: Card, config: Config) -> NodeMemory:
    """The node's shared memory; NodeRunningError when a live node has it, ConfigError when there is no room."""
    try:
        memory = NodeMemory.create(card)
    except OSError as error:
        raise ConfigError("shared memory", f"{error.strerror}: 64 MB are enough (docker: --shm-size=64m)") from None
    memory.admission.tell_limit(config.request.cluster_connections_max, 0)
    return memory


def create_access(config: Config, clock: Clock) -> AccessMemory:
    """The node's access tables; ConfigError when shared memory or the disk has no room for them."""
    keys_max = config.access.keys_max
    try:
        in_cluster = config.stores.cache_url is not None
        return AccessMemory.create(config.node.name, config.node.data_dir, keys_max, clock, in_cluster)
    except OSError as error:
        shared, on_disk = (size // 1_000_000 + 1 for size in bytes_needed(keys_max))
        needs = f"{shared} MB of shared memory (docker: --shm-size) and {on_disk} MB in TRINITY_DATA_DIR"
        raise ConfigError("KEYS_MAX", f"{error.strerror}: {keys_max} keys need {needs}") from None


def raise_file_limit() -> None:
    """As many open files as the machine permits, up to what a worker can use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
