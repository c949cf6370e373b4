"""What a push over UDP costs the push server's process end to end: schedule, prices, sender, log, states.

Rules: the process's own turns, one after the other in its own loop, with all that a turn does; without a database, so
subscriptions and leases are told as its source tells them, and what it reports is taken and thrown away. A forked
child stands in for the consensus and rewrites every price four times a second; the receiver's thread empties the
socket on another core. Nothing counts before nearly every subscription is sent to. The figure is the processor time of
the loop's thread.
"""

import asyncio
import base64
import datetime
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.errors import PeerError
from benchmarks.parts.push.push_udp import DatagramReceiver
from benchmarks.progress import Progress
from benchmarks.servers.bare_worker import WRITES_PER_SECOND, write_all
from benchmarks.servers.processes import cores
from trinity.clock import NS_PER_SECOND, NS_PER_US, SystemClock
from trinity.config import PushSection
from trinity.markets import load_catalog
from trinity.memory.delivery_ring import DeliveryRing
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.process import ProcessContext, PushMemory
from trinity.push.subscription import Subscription
from workers.push.process import Pusher, PushIdentity
from workers.push.shares.leases import SHARDS, LeaseNews

ASSETS, INTERVAL_S = 25, 3
# Subscriptions, and whether each asks for moves as well; the last is all that may be subscribed.
SIZES = {
    "10,000": (10_000, False),
    "10,000 with moves": (10_000, True),
    "30,000": (30_000, False),
    "100,000": (100_000, False),
}
# Until then every subscription has an address; a process that does not keep up is measured as it is.
_STAND_INTERVALS_MAX = 10
_RING_RECORDS = 1 << 17
# Nothing listens there: the process is without its database.
_NO_DATABASE = "postgresql://127.0.0.1:1/none"
_SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()
_MADE_AT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def measure_push_process(folder: Path, seconds: float, progress: Progress) -> dict[str, Any]:
    """By size: pushes, the processor time of one, pushes a second of it, and what was skipped for want of it."""
    own_core, other_core = cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {own_core})
    receiver = DatagramReceiver(other_core)
    try:
        sizes = {}
        for name, (count, deviates) in SIZES.items():
            progress.step(f"{name} subscriptions over UDP: {seconds:g} s")
            with _memory(other_core) as memory, receiver.counting():
                sizes[name] = asyncio.run(_measure(folder, memory, receiver.address[1], count, deviates, seconds))
        return {"sizes": sizes}
    finally:
        receiver.close()
        os.sched_setaffinity(0, before)


@contextmanager
def _memory(other_core: int) -> Iterator[NodeMemory]:
    """A node's memory, with prices that another process keeps new."""
    name, clock = f"bench-{uuid.uuid4().hex[:8]}", SystemClock()
    memory = NodeMemory.create(Card(name, True, (ProcessEntry("pusher", "pusher"),), load_catalog()))
    try:
        write_all(memory, clock, 0)
        parent, child = os.getpid(), os.fork()
        turn = 0
        while child == 0:
            os.sched_setaffinity(0, {other_core})
            turn += 1
            write_all(memory, clock, turn)
            signal.sigtimedwait([], 1 / WRITES_PER_SECOND)
            if os.getppid() != parent:
                os._exit(0)
        try:
            yield memory
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    finally:
        memory.unlink()


async def _measure(
    folder: Path, memory: NodeMemory, port: int, count: int, deviates: bool, seconds: float
) -> dict[str, Any]:
    control_fd, clock = os.eventfd(0, os.EFD_NONBLOCK), SystemClock()
    ring = DeliveryRing(Path(), DeliveryRing.private_words(0, _RING_RECORDS))
    pusher = Pusher(
        ProcessContext.of(memory, 0, clock, control_fd),
        PushMemory(memory.answers, ring),
        PushSection(allowed_targets=("127.0.0.0/8",)),
        PushIdentity(folder, uuid.uuid4(), "benchmark", _NO_DATABASE),
    )
    pusher.start()
    try:
        pusher.roster.on_leases(LeaseNews(dict.fromkeys(range(SHARDS), 1), (), (), 0))
        names = tuple([asset.name for asset in load_catalog().assets])
        pusher.roster.on_subscriptions([_subscription(number, port, names, deviates) for number in range(count)], True)
        while pusher.roster.turn(clock.monotonic_ns()):
            pass
        for _ in range(_STAND_INTERVALS_MAX):
            if (await _turns(pusher, ring, INTERVAL_S))["pushes"] > 0.95 * count:
                break
        return await _turns(pusher, ring, seconds)
    finally:
        await pusher.finish()
        os.close(control_fd)


async def _turns(pusher: Pusher, ring: DeliveryRing, seconds: float) -> dict[str, Any]:
    """The process's turns for so long, and what they cost."""
    written, skipped, refused = ring.written, pusher.skipped, ring.refused
    started_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
    while time.monotonic_ns() - started_ns < seconds * NS_PER_SECOND:
        await asyncio.sleep(pusher.turn())
        ring.release(ring.written)
    cpu_ns, wall_ns = time.thread_time_ns() - cpu_ns, time.monotonic_ns() - started_ns
    pushes = ring.written - written
    if ring.refused > refused:
        raise PeerError("pusher", f"{ring.refused - refused} records had no room")
    return {
        "pushes": pushes,
        "cpu_us": round(cpu_ns / max(pushes, 1) / NS_PER_US, 2),
        "per_cpu_second": round(pushes / cpu_ns * NS_PER_SECOND),
        "per_second": round(pushes / wall_ns * NS_PER_SECOND),
        "cpu_share": round(cpu_ns / wall_ns, 3),
        "skipped": pusher.skipped - skipped,
    }


def _subscription(number: int, port: int, names: tuple[str, ...], deviates: bool) -> Subscription:
    first = number % (len(names) - ASSETS)
    return Subscription(
        id=number + 1, account_id=1, key_id=None, name="", target=f"udp://127.0.0.1:{port}",
        assets=names[first : first + ASSETS], interval_s=INTERVAL_S, deviation_bps=10_000 if deviates else 0,
        heartbeat_s=0, max_age_ms=0, min_sources=0, state="active", disabled_reason=None, disabled_at=None,
        secret=_SECRET, old_secret=None, old_secret_until=None, revision=number + 1,
        created_at=_MADE_AT, changed_at=_MADE_AT, deleted_at=None,
    )  # fmt: skip
