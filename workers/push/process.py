"""The push server's process: prices out of shared memory, subscriptions out of PostgreSQL, messages to receivers.

    source's thread   subscriptions, leases and states   shares/source.py; calls the roster's methods in this loop
    this loop         each turn: beat, prices, what is due, what has moved, datagrams, reports to the source
    tasks             one for each message that is under way   delivering.py

Rules: no listener, and nothing here waits for the database or for a receiver. A turn comes when the next message is
due, after TURN_MIN_SECONDS at the earliest (what falls due meanwhile goes together) and TURN_MAX_SECONDS at the latest.
A fault of ours in a task or a thread ends the process; the next one goes on with higher sequences. At a drain what is
under way has DRAIN_SECONDS, then the leases are let go.
"""

import asyncio
import gc
import signal
import ssl
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import uvloop

from trinity.clock import NS_PER_SECOND
from trinity.config import PushSection
from trinity.errors import ConfigError, DeliveryError
from trinity.observe.metrics import PUSHER
from trinity.process import ProcessContext, PushMemory
from trinity.push.addresses import AllowList
from trinity.push.resolve import Resolver
from workers.push.datagrams import Datagrams
from workers.push.delivering import Deliveries
from workers.push.entries import Begun
from workers.push.events.posting import poster
from workers.push.events.worker import EventWorker
from workers.push.https.pool import ConnectionPool, PoolBounds
from workers.push.https.tls import make_tls
from workers.push.moves import MoveWatch
from workers.push.orders.carry_out import OrderDesk
from workers.push.orders.worker import OrderWorker
from workers.push.prices import CurrentPrices
from workers.push.schedule import Due, Reason, Scheduler, dues_of
from workers.push.served import Roster, Served
from workers.push.shares.epochs import Epochs
from workers.push.shares.leases import Leases
from workers.push.shares.source import STATES_MAX, PushSource, Reports
from workers.push.state import States
from workers.push.udp.sender import UdpSender
from workers.push.verdict import Verdict, of_error

TURN_MIN_SECONDS, TURN_MAX_SECONDS = 0.005, 0.02
# Moves are looked for this often, a comparison of arrays; the consensus decides four times a second.
MOVES_GAP_NS = NS_PER_SECOND // 10
REPORT_GAP_NS = NS_PER_SECOND // 2
# What is under way at a drain; the stage before the next has 1.5 s.
DRAIN_SECONDS, LAST_WORDS_SECONDS = 0.7, 0.5


@dataclass(frozen=True)
class PushIdentity:
    """Where the process keeps what must outlive it, and what the database knows the node by."""

    data_dir: Path
    node_uuid: uuid.UUID
    node_name: str
    database_url: str


def run(context: ProcessContext, memory: PushMemory, section: PushSection, identity: PushIdentity) -> None:
    """Deliver until SIGTERM or SIGINT."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(context, memory, section, identity))


def tls_of(section: PushSection) -> ssl.SSLContext:
    """What receivers' certificates are checked with; ConfigError where the file of an authority is none."""
    try:
        return make_tls(section.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("PUSH_CA_FILE", f"{section.ca_file}: {error}") from None


async def _serve(context: ProcessContext, memory: PushMemory, section: PushSection, identity: PushIdentity) -> None:
    stop = threading.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    context.block.beat(context.clock.monotonic_ns())
    pusher = Pusher(context, memory, section, identity)
    pusher.start()
    try:
        while not stop.is_set():
            await asyncio.sleep(pusher.turn())
    finally:
        await pusher.finish()


class Pusher:
    """Everything of one process; made inside its loop."""

    def __init__(
        self, context: ProcessContext, memory: PushMemory, section: PushSection, identity: PushIdentity
    ) -> None:
        self._context, self._clock, self._block = context, context.clock, context.block
        loop, names = asyncio.get_running_loop(), [asset.name for asset in context.catalog.assets]
        self._prices = CurrentPrices(memory.answers, names)
        self._scheduler, self._watch, self._states = Scheduler(Random()), MoveWatch(), States()
        places = {name: place for place, name in enumerate(names)}
        self.roster = Roster(
            self._scheduler, self._watch, self._states, places.get, self._clock, context.log,
            is_simulated=context.simulated,
        )  # fmt: skip
        self._resolver = Resolver(section.resolvers)
        allow = AllowList.parse(section.allowed_targets)
        bounds = PoolBounds(connections_max=section.connections_max)
        self._pool = ConnectionPool(self._resolver, allow, tls_of(section), bounds, self._clock, Random())
        self._deliveries = Deliveries(
            self._pool, self._prices, self._scheduler, self._watch, self._states, self.roster, memory.ring,
            self._block, self._clock, Random(),
        )  # fmt: skip
        self._sender = UdpSender(memory.answers, names, memory.ring, self._clock, is_simulated=context.simulated)
        self._datagrams = Datagrams(
            self._sender, allow, self._resolver, self._clock, self.roster.is_current, self._scheduler.row_of,
            self._deliveries.spawn, self._refused, self._put_off,
        )  # fmt: skip
        self.roster.on_dropped = self._datagrams.forget
        self._epochs = Epochs(identity.data_dir, context.log)
        self._source = PushSource(
            identity.database_url, (identity.node_uuid, identity.node_name), Leases(self._epochs), identity.data_dir,
            self._clock, context.log, self.roster, loop.call_soon_threadsafe,
        )  # fmt: skip
        self._events = EventWorker(
            identity.database_url, self._clock, poster(self._pool, self._clock), context.log,
            lambda outcome: self._block.count(PUSHER.index("push_events_total", outcome.state)),
        )  # fmt: skip
        desk = OrderDesk(self, self._prices, self.roster.find, self._clock, is_simulated=context.simulated)
        node = identity.node_uuid, identity.node_name
        self._orders = OrderWorker(identity.database_url, node, self._clock, desk.carry_out, context.log)
        self._moves_at_ns = self._report_at_ns = 0
        self._counted: dict[str, int] = {}  # of totals that others keep

    def start(self) -> None:
        """Begin to ask the database."""
        self._source.start()
        self._events.start()
        self._orders.start()

    def turn(self) -> float:
        """Do what is due; after how many seconds to come again."""
        now_ns = self._clock.monotonic_ns()
        self._block.beat(now_ns)
        self._source.raise_failure()
        self._events.raise_failure()
        self._orders.raise_failure()
        self._deliveries.raise_failure()
        self._prices.turn(now_ns)
        if self.roster.turn(now_ns):
            # What lives as long as its subscription is no garbage: to search through that of 10,000 takes 0.1 s.
            gc.freeze()
        if self._source.is_current:
            begun = self._scheduler.due(now_ns, self._deliveries.room)
            if now_ns >= self._moves_at_ns:
                self._moves_at_ns = now_ns + MOVES_GAP_NS
                moved = self._scheduler.moved(self._watch.moved(self._prices.values), now_ns)
                begun = np.concatenate([begun, moved])
            if len(begun):
                self._begin(begun)
        if now_ns >= self._report_at_ns:
            self._report_at_ns = now_ns + REPORT_GAP_NS
            self._report(now_ns)
        due_ns = self._scheduler.next_due_ns()
        left_s = (due_ns - self._clock.monotonic_ns()) / NS_PER_SECOND if due_ns is not None else TURN_MAX_SECONDS
        return min(max(left_s, TURN_MIN_SECONDS), TURN_MAX_SECONDS)

    async def finish(self) -> None:
        """What is under way may end, then others take over."""
        self._events.finish(0.0)
        self._orders.finish(0.0)
        await self._deliveries.finish(DRAIN_SECONDS)
        self._report(self._clock.monotonic_ns())
        await asyncio.to_thread(self._source.finish, LAST_WORDS_SECONDS)
        await self._pool.close()
        await self._resolver.close()
        self._sender.close()

    @property
    def skipped(self) -> int:
        """Messages that stalls of this process have cost."""
        return self._scheduler.skipped

    def next_sequence(self, number: int) -> int | None:
        """For a message that somebody asked for; None where this node does not serve the subscription."""
        served = self.roster.find(number)
        return self._datagrams.next_sequence(served) if served is not None else None

    async def post_now(
        self, served: Served, reason: Reason, sequence: int, body: bytes, timeout_s: float,
        pauses_s: Sequence[float] = (),
    ) -> tuple[Verdict, int]:  # fmt: skip
        """A message that somebody asked for, over HTTPS."""
        return await self._deliveries.post_now(served, reason, sequence, body, timeout_s, pauses_s)

    async def send_now(self, served: Served, reason: Reason) -> int | None:
        """The same as a datagram."""
        sequence = await self._datagrams.send_now(served, reason)
        if self.roster.served.get(served.subscription.id) is not served:
            self._datagrams.forget(served)  # it is paused: its next message may go elsewhere
        return sequence

    def _begin(self, begun: Begun) -> None:
        is_known = self._datagrams.known(begun)
        if is_known.any():
            self._send_known(begun[is_known])
        over_https: list[tuple[Due, Served]] = []
        over_udp: list[tuple[Due, Served]] = []
        for due in dues_of(begun[~is_known]):
            served = self.roster.served[due.id]
            (over_https if served.target.kind == "https" else over_udp).append((due, served))
        self._deliveries.begin(over_https)
        if over_udp:
            self._send(over_udp)

    def _send_known(self, begun: Begun) -> None:
        now_ns = self._clock.monotonic_ns()
        is_sent = self._datagrams.send_known(begun)
        self._deliveries.all_sent(begun, is_sent, now_ns)
        for due in dues_of(begun[~is_sent]):
            self._settle(due, is_sent=False)

    def _send(self, begun: Sequence[tuple[Due, Served]]) -> None:
        now_ns = self._clock.monotonic_ns()
        for due, is_sent in self._datagrams.send(begun):
            self._deliveries.note_lateness(due, now_ns)
            self._settle(due, is_sent=is_sent)

    def _settle(self, due: Due, *, is_sent: bool) -> None:
        served = self.roster.served[due.id]
        values = self._prices.values[served.recipe.assets] if served.cadence.deviates else None
        verdict = Verdict("sent" if is_sent else "send_failed", 0)
        self._deliveries.settle(due, verdict, self._datagrams.last_sequence(due.id), values)

    def _refused(self, due: Due, error: DeliveryError) -> None:
        self._deliveries.refuse(due, of_error(error))

    def _put_off(self, due: Due) -> None:
        self._scheduler.postponed(due, self._clock.monotonic_ns())

    def _report(self, now_ns: int) -> None:
        """To the source what goes to the database, and the gauges."""
        self._orders.serve(self.roster.shards)
        source, deliveries = self._source, self._deliveries
        given_up = deliveries.take_given_up()
        for sent in self._datagrams.take_sent(now_ns, STATES_MAX):
            self._states.sent(*sent)
        reports = Reports(
            self._states.take_rows(now_ns, STATES_MAX),
            self._states.take_turns(),
            given_up,
            self.roster.take_left(deliveries.in_flight),
        )
        if any(reports):
            source.take_over(reports)
        deliveries.show_counts()
        counters = self._pool.counters()
        for name, value in (
            ("push_subscriptions", len(self.roster.served)),
            ("push_failing", self._scheduler.failing),
            ("push_in_flight", self._scheduler.flying),
            ("push_shards", len(self.roster.shards)),
            ("push_database_up", source.is_up),
            ("push_states_waiting", source.states_waiting),
            ("push_connections", counters.open),
            ("push_connections_idle", counters.idle),
        ):
            self._block.set_gauge(PUSHER.index(name), float(value))
        for name, total in (
            ("push_skipped_total", self._scheduler.skipped),
            ("push_snapshot_errors_total", source.snapshot_errors),
            ("push_connections_new_total", counters.new_total),
            ("push_connections_reused_total", counters.reused_total),
        ):
            self._block.count(PUSHER.index(name), total - self._counted.get(name, 0))
            self._counted[name] = total
        self._block.count(PUSHER.index("push_disabled_total"), len(given_up))
