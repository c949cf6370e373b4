"""The composition root: the one list of the node's processes, and what must exist before the first of them.

Order of a start, so that a failure leaves nothing behind: every port is tried, shared memory is made, the request
loop is compiled, then the launcher forks. At the end the shared memory is removed, whatever the reason.

`feeds` and `workers` are imported here, before the fork: the children share the code's memory, and a restarted
process is back at once. Import this module only after `prepare_cache`.
"""

import contextlib
import dataclasses
import logging
import os
import resource
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec
import numpy as np

import feeds.consensus.process
import feeds.exchanges.registry
import feeds.ingest.process
import feeds.simulator.server
import trinity.node.database
import workers.access.process
import workers.api.base.admission
import workers.api.server
import workers.health.server
import workers.ledger.process
import workers.request.loop
from feeds.audit.explain import explain_moment, explain_now
from feeds.audit.recorder import RecordSettings
from trinity.cli import examination as doctor
from trinity.clock import NS_PER_SECOND, Clock, SystemClock
from trinity.config import Config, FeedsSection, worker_count
from trinity.errors import ConfigError
from trinity.limits import OPEN_FILES_WANTED
from trinity.markets import Catalog, load_catalog
from trinity.memory.access import AccessMemory, bytes_needed
from trinity.memory.atomics import load_acquire, store_release
from trinity.memory.cell import cell_words, publish, snapshot
from trinity.memory.control import NODE_RECORDING, NODE_SIMULATED, NODE_STARTED_NS
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.memory.usage_ring import UsageRing
from trinity.net.egress import read_proxies
from trinity.net.ports import Listener, check_port, host_in_url, listeners_of, local_host
from trinity.node.console import NodeConsole
from trinity.node.data_dir import claim_data_dir, node_uuid, open_rings
from trinity.node.launcher import Launcher, Process
from trinity.node.supervisor import Charge, Stop
from trinity.observe.log import check_log_folder, open_log
from trinity.process import Seat
from trinity.store.database import database_url, is_embedded
from trinity.terminal import say
from workers.api.base.context import Explain, ReportSettings


class Plan(NamedTuple):
    """What is to be started."""

    config: Config
    catalog: Catalog
    with_simulator: bool
    node_uuid: uuid.UUID


class Role(NamedTuple):
    """One kind of process.

    `instances` names its processes (an empty name: there is one, called as its kind), `start` is the life of one of
    them. A start begins with the highest stage, a drain with the lowest: workers answer while prices come in. A start
    fails with a `vital` process; a node that was ready once lives on without any (trinity/node/supervisor.py).
    """

    kind: str
    instances: Callable[[Plan], Sequence[str]]
    stage: int
    start: Callable[[Seat, Plan, str], None]
    vital: bool = True


ROLES = (
    Role(
        "database",
        lambda plan: [""] if is_embedded(plan.config) else [],
        3,
        lambda seat, plan, _: trinity.node.database.run(seat, plan.config.node.data_dir),
        vital=False,
    ),
    Role(
        "access",
        lambda _: [""],
        2,
        lambda seat, plan, _: workers.access.process.run(
            seat, plan.config.access, plan.config.node.data_dir, database_url(plan.config)
        ),
        vital=False,
    ),
    Role(
        "simulator",
        lambda plan: [""] if plan.with_simulator else [],
        2,
        lambda seat, plan, _: feeds.simulator.server.run(seat, plan.config.simulator, plan.config.node.bind_host),
    ),
    Role(
        "feed",
        lambda plan: plan.catalog.exchanges,
        1,
        lambda seat, plan, exchange: feeds.ingest.process.run(
            seat, plan.config.feeds, exchange, record_settings_of(plan.config)
        ),
        vital=False,
    ),
    Role(
        "consensus",
        lambda _: [""],
        1,
        lambda seat, plan, _: feeds.consensus.process.run(seat, record_settings_of(plan.config)),
    ),
    Role(
        "flusher",
        lambda _: [""],
        1,
        lambda seat, plan, _: workers.ledger.process.run(
            seat, plan.config.ledger, plan.config.node, plan.node_uuid, database_url(plan.config)
        ),
        vital=False,
    ),
    Role(
        "worker",
        lambda plan: [str(number) for number in range(worker_count(plan.config.request))],
        0,
        lambda seat, plan, number: workers.request.loop.run(
            seat, plan.config.ports, plan.config.request, plan.config.access, plan.config.node.bind_host, int(number)
        ),
    ),
    Role(
        "reporter",
        lambda plan: [str(number) for number in range(plan.config.reports.processes)],
        0,
        lambda seat, plan, _number: workers.api.server.run(
            seat, card_of(plan), report_settings_of(plan.config), explainer(seat, plan.config.node.data_dir)
        ),
        vital=False,
    ),
    Role(
        "health",
        lambda _: [""],
        2,
        lambda seat, plan, _: workers.health.server.run(
            seat, card_of(plan), plan.config.ports, plan.config.node.bind_host
        ),
    ),
)


def run_node(config: Config, with_simulator: bool, people: TextIO) -> Stop:
    """Start the node and stay until it has ended; the result says why. `people` gets the lines for them.

    Raises ConfigError, PortTakenError, DataDirTakenError or NodeRunningError before anything was started.
    """
    with claim_data_dir(config.node.data_dir):
        return _run_node(config, with_simulator, people)


def _run_node(config: Config, with_simulator: bool, people: TextIO) -> Stop:
    if with_simulator:
        config = with_simulated_exchanges(config)
    plan = Plan(config, load_catalog(config.node.markets_file), with_simulator, node_uuid(config.node.data_dir))
    database_url(config)  # a wrong one is found before anything is started
    check_log_folder(config.node.data_dir)
    read_proxies(config.feeds)  # the same
    log = open_log("supervisor", config.node.data_dir, terminal_level=logging.CRITICAL)
    console = NodeConsole(config, plan.catalog, with_simulator, people)
    console.show_start()
    for listener in listeners_of(config, with_simulator):
        check_port(listener, config.node.bind_host)
    raise_file_limit()
    # Until the launcher takes over, a stop still removes what was made. (As process 1 we would not even get SIGTERM.)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    if not has_compiled_code():
        console.show_compiling()
    clock = SystemClock()
    with contextlib.ExitStack() as made:
        memory = create_memory(card_of(plan))
        made.callback(memory.unlink)
        access = create_access(config, clock)
        made.callback(access.unlink)
        memory.control.write_node_word(NODE_STARTED_NS, clock.wall_ns())
        memory.control.write_node_word(NODE_SIMULATED, int(config.feeds.simulated))
        memory.control.write_node_word(NODE_RECORDING, int(config.recording.on))
        compile_before_fork()
        rings = prepare_rings(config, memory, clock, log)
        processes = build_processes(plan, memory, access, rings)
        launcher = Launcher(processes, clock, log, lambda: console.on_turn(memory, clock.monotonic_ns()))
        log.info("started", extra={"fields": {"processes": [process.name for process in processes]}})
        stop = launcher.run()
        log.info("stopped", extra={"fields": {"exit_code": stop.exit_code, "message": stop.message}})
        return stop


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


def card_of(plan: Plan) -> Card:
    """The node's card: its processes in the order of the control segment's blocks."""
    entries = tuple(
        ProcessEntry(f"{role.kind}-{instance}" if instance else role.kind, role.kind)
        for role in ROLES
        for instance in role.instances(plan)
    )
    node = plan.config.node
    return Card(node.name, plan.config.feeds.simulated, entries, plan.catalog, node.environment)


def explainer(seat: Seat, data_dir: Path) -> Explain:
    """How the reporter explains a price: it must not know the consensus's rules itself."""

    def explain(asset: str, at_ns: int | None) -> object:
        if at_ns is not None:
            return explain_moment(data_dir, asset, at_ns)
        return explain_now(seat.prices, seat.answers, seat.catalog, seat.catalog.asset_index(asset), seat.clock)

    return explain


def record_settings_of(config: Config) -> RecordSettings:
    """Where recordings and candles go."""
    return RecordSettings(config.node.data_dir, config.recording.bytes_max)


def report_settings_of(config: Config) -> ReportSettings:
    """The reporter's part of the configuration."""
    return ReportSettings(
        bind_host=config.node.bind_host,
        tcp_port=config.ports.tcp_port_lrs,
        udp_port=config.ports.udp_port_lrs,
        data_dir=config.node.data_dir,
        auth=config.access.auth,
        admin_key=config.stores.admin_key,
        database_url=database_url(config),
        cache_url=config.stores.cache_url,
        udp_trusted_networks=config.request.udp_trusted_networks,
        anonymous_rate=config.access.anonymous_rate,
        trusted_proxies=config.access.trusted_proxies,
    )


@dataclass(frozen=True)
class _Life:
    """The life of one process, called in the child; the seat's log is opened there."""

    role: Role
    instance: str
    plan: Plan
    seat: Seat

    def __call__(self) -> None:
        log = open_log(self.seat.name, self.plan.config.node.data_dir)
        log.info("started", extra={"fields": {"pid": os.getpid()}})
        self.role.start(dataclasses.replace(self.seat, log=log), self.plan, self.instance)
        log.info("stopped")


def build_processes(
    plan: Plan, memory: NodeMemory, access: AccessMemory, rings: tuple[UsageRing, ...] = ()
) -> list[Process]:
    """All processes with their seats, in the order of the card."""
    wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    clock = SystemClock()
    instances = [(role, instance) for role in ROLES for instance in role.instances(plan)]
    processes = []
    for index, ((role, instance), entry) in enumerate(zip(instances, memory.card.processes, strict=True)):
        seat = Seat(
            name=entry.name,
            kind=entry.kind,
            index=index,
            catalog=plan.catalog,
            clock=clock,
            prices=memory.prices,
            answers=memory.answers,
            control=memory.control,
            block=memory.control.block(index),
            wake_fd=wake_fd,
            control_fd=os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC),
            simulated=plan.config.feeds.simulated,
            log=logging.getLogger(f"trinity.{entry.name}"),
            rings=rings,
            keys=access.keys,
            limits=access.limits,
            addresses=access.addresses,
            blocks=access.blocks,
        )
        life = _Life(role, instance, plan, seat)
        processes.append(Process(Charge(entry.name, role.stage, role.vital), life, seat.block, seat.control_fd))
    return processes


def prepare_rings(config: Config, memory: NodeMemory, clock: Clock, log: logging.Logger) -> tuple[UsageRing, ...]:
    """The usage rings, empty, and at positions that none of them had before; what they held is in the spool."""
    section, data_dir, wall_seconds = config.ledger, config.node.data_dir, clock.wall_ns() // NS_PER_SECOND
    rings = open_rings(data_dir, worker_count(config.request), section.ring_records, wall_seconds, log)
    flusher = next(i for i, entry in enumerate(memory.card.processes) if entry.kind == "flusher")
    if workers.ledger.process.take_over(rings, data_dir, section, memory.control.block(flusher), log):
        for ring in rings:
            ring.move_on(wall_seconds)
    return rings


def create_memory(card: Card) -> NodeMemory:
    """The node's shared memory; NodeRunningError when a live node has it, ConfigError when there is no room."""
    try:
        return NodeMemory.create(card)
    except OSError as error:
        raise ConfigError("shared memory", f"{error.strerror}: 64 MB are enough (docker: --shm-size=64m)") from None


def create_access(config: Config, clock: Clock) -> AccessMemory:
    """The node's access tables; ConfigError when shared memory or the disk has no room for them."""
    keys_max = config.access.keys_max
    try:
        return AccessMemory.create(config.node.name, config.node.data_dir, keys_max, clock)
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


def has_compiled_code() -> bool:
    """Whether an earlier start of this version left its compiled code."""
    return any(Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi"))


def compile_before_fork() -> None:
    """Compile, or load from the cache, what the children call: they inherit it through the fork."""
    words = np.zeros(cell_words(8), dtype=np.uint64)
    publish(words, 0, 8, np.ones(8, dtype=np.uint64))
    snapshot(words, 0, 8, np.zeros(8, dtype=np.uint64))
    store_release(words, 0, load_acquire(words, 0))
    workers.request.loop.warm_up()
    workers.access.process.warm_up()
    workers.api.base.admission.warm_up()


def simulate(config: Config, people: TextIO) -> None:
    """`trinity simulate`: the simulated exchanges alone, until SIGTERM or SIGINT."""
    section, host = config.simulator, config.node.bind_host
    check_port(Listener("SIMULATOR_PORT", section.port, "simulated exchanges"), host)
    address = f"{host_in_url(local_host(host))}:{section.port}"
    catalog = load_catalog(config.node.markets_file)
    say("SIMULATED EXCHANGES: none of their prices is real.", people)
    for exchange in catalog.exchanges:
        path = feeds.exchanges.registry.EXCHANGE_MODULES[exchange].PROFILE.ws_path
        say(f"  {exchange:<10} ws://{address}/{exchange}{path}   http://{address}/{exchange}", people)
    say(f"  faults     http://{address}/faults", people)
    check_log_folder(config.node.data_dir)
    log = open_log("simulator", config.node.data_dir)
    feeds.simulator.server.run_standalone(catalog, section, host, SystemClock(), log)


def examine(config: Config) -> list[doctor.Finding]:
    """`trinity doctor`: the findings."""
    catalog = load_catalog(config.node.markets_file)
    urls = {exchange: _cheap_url(config.feeds, catalog, exchange) for exchange in catalog.exchanges}
    ws_urls = {exchange: feeds.exchanges.registry.ws_url_of(exchange, config.feeds) for exchange in catalog.exchanges}
    min_sources = max(asset.rules.min_sources for asset in catalog.assets)
    return doctor.examine(config, urls, min_sources, SystemClock(), ws_urls)


def _cheap_url(section: FeedsSection, catalog: Catalog, exchange: str) -> str:
    """The REST request for one of the exchange's symbols: what a feed would ask, at the least cost."""
    module = feeds.exchanges.registry.EXCHANGE_MODULES[exchange]
    symbol = module.symbol_of(catalog.markets_of(exchange)[0])
    _, rest_url = feeds.exchanges.registry.base_urls_of(exchange, section)
    return rest_url + module.rest_requests([symbol])[0].path
