"""How late messages are: 10,000 subscriptions of 25 assets every 10 s, and then with every tenth receiver gone bad.

Rules: the push server's own process, with its own database, on one core; the receivers, ten thousand names with as many
addresses behind one listener, on the other one with all else. Lateness is what the delivery log has: from when a
message was due until it was sent; `answered` is until the receiver's answer. Nothing counts before all connections
stand. Then a tenth of the receivers hang, answer 500, drip, send bodies without end or reset, each a fifth of them; the
others are measured from that moment on, the first minute with its time-outs as well as the next ones.
"""

import math
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import PeerError
from benchmarks.progress import Progress
from benchmarks.servers.bare_pusher import PUSHER, RING_FILE, RING_RECORDS
from benchmarks.servers.database import database_in
from benchmarks.servers.processes import Server, cores, cpu_ns, free_port, pss_bytes, raise_file_limit, start
from benchmarks.servers.processes import wait_for_port as wait_for
from benchmarks.servers.webhook_receiver import DOMAIN
from trinity.markets import load_catalog
from trinity.memory.delivery_ring import DeliveryRing
from trinity.memory.node import NodeMemory
from trinity.observe.metrics import PUSHER as METRICS
from trinity.store.connect import connect
from trinity.vocabulary import DELIVERY_OUTCOMES

ASSETS, INTERVAL_S = 25, 10
BAD_SHARE = 0.1
KINDS = ("hang", "500", "drip", "endless", "reset")
WINDOWS_BAD = 2
_STAND_SECONDS_MAX = 180
_LOOK_SECONDS = 0.5
_SUBSCRIBE = """
INSERT INTO push_subscriptions (account_id, target, assets, interval_s, secret)
SELECT %s, 'https://r' || number || %s, %s, %s, 'whsec_' || encode(sha256(number::text::bytea), 'base64')
FROM generate_series(1, %s) number"""
_SPOIL = """
UPDATE push_subscriptions SET target = replace(target, '/ok', '/' || (%s::text[])[1 + (id / %s) %% %s])
WHERE id %% %s = 0"""


class _Running(NamedTuple):
    pusher: Server
    ring: DeliveryRing
    memory: NodeMemory
    url: str


def measure_push_schedule(folder: Path, subscriptions: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """Lateness, answers, processor time, new connections: of all while all are well, then of those that still are."""
    with _running(folder, subscriptions, progress) as running:
        progress.step("waiting until every connection stands")
        _stand(running, subscriptions)
        progress.step(f"all are well: {seconds:g} s")
        well = _window(running, seconds, every=0)
        every = round(1 / BAD_SHARE)
        with connect(running.url, "benchmark", autocommit=True) as connection:
            connection.execute(_SPOIL, [list(KINDS), every, len(KINDS), every])
        bad = []
        for number in range(WINDOWS_BAD):
            progress.step(f"a tenth is bad, window {number + 1}/{WINDOWS_BAD}: {seconds:g} s")
            bad.append(_window(running, seconds, every))
    return {
        "subscriptions": subscriptions,
        "well": well,
        "bad": bad,
        "p99_bad_to_well": round(max(row["late_ms_p99"] for row in bad) / well["late_ms_p99"], 3),
    }


@contextmanager
def _running(folder: Path, subscriptions: int, progress: Progress) -> Iterator[_Running]:
    own_core, other_core = cores()
    raise_file_limit()
    port, name = free_port(), f"bench-{uuid.uuid4().hex[:8]}"
    home = folder / name
    home.mkdir()
    progress.step(f"{subscriptions:,} subscriptions into a database")
    with database_in(home / "database") as (url, _):
        with connect(url, "benchmark", autocommit=True) as connection:
            row = connection.execute("INSERT INTO accounts (name) VALUES ('benchmark') RETURNING id").fetchone()
            assert row is not None
            names = [asset.name for asset in load_catalog().assets[:ASSETS]]
            path = f".{DOMAIN}:{port}/ok"
            connection.execute(_SUBSCRIBE, [row[0], path, names, INTERVAL_S, subscriptions])
        receivers = ["--port", str(port), "--folder", str(home)]
        receiver = start(
            "receivers", [sys.executable, "-m", "benchmarks.servers.webhook_receiver", *receivers], home, other_core
        )
        try:
            wait_for(receiver, port)
            command = [sys.executable, "-m", "benchmarks.servers.bare_pusher", name, str(home), url, str(port)]
            pusher = start("pusher", command, home, own_core)
            try:
                yield _Running(pusher, *_attach(pusher, home, name), url)
            finally:
                pusher.stop()
        finally:
            receiver.stop()


def _attach(pusher: Server, home: Path, name: str) -> tuple[DeliveryRing, NodeMemory]:
    until = time.monotonic() + _STAND_SECONDS_MAX
    while time.monotonic() < until and not pusher.ended_within(_LOOK_SECONDS):
        if (home / RING_FILE).exists():
            ring = DeliveryRing.open(home / RING_FILE, 0, RING_RECORDS, 0)
            return ring, NodeMemory.attach(name)
    raise PeerError("pusher", pusher.log_file.read_text(errors="replace")[-400:])


def _stand(running: _Running, subscriptions: int) -> None:
    """Until there is a connection for each subscription, and an interval more."""
    until, block = time.monotonic() + _STAND_SECONDS_MAX, running.memory.control.block(PUSHER)
    while block.read_gauge(METRICS.index("push_connections_idle")) < 0.99 * subscriptions:
        if time.monotonic() > until or running.pusher.ended_within(_LOOK_SECONDS):
            said = running.pusher.log_file.read_text(errors="replace")[-400:]
            raise PeerError("pusher", f"{block.read_gauge(METRICS.index('push_connections'))} connections; {said}")
        running.ring.release(running.ring.written)
    _collect(running, INTERVAL_S)


def _collect(running: _Running, seconds: float) -> NDArray[np.void]:
    """The records of so many seconds, given back to the ring."""
    until, found = time.monotonic() + seconds, []
    running.ring.release(running.ring.written)
    while time.monotonic() < until:
        if running.pusher.ended_within(_LOOK_SECONDS):
            raise PeerError("pusher", running.pusher.log_file.read_text(errors="replace")[-400:])
        found.append(running.ring.read(running.ring.released, RING_RECORDS))
        running.ring.release(running.ring.released + len(found[-1]))
    return np.concatenate(found)


def _window(running: _Running, seconds: float, every: int) -> dict[str, Any]:
    """The figures of those whose receivers are well: all but each `every`-th."""
    block, new = running.memory.control.block(PUSHER), METRICS.index("push_connections_new_total")
    skipped = METRICS.index("push_skipped_total")
    before, began = (
        (cpu_ns([running.pusher.pid]), block.read_counter(new), block.read_counter(skipped)),
        time.monotonic(),
    )
    records = _collect(running, seconds)
    took = time.monotonic() - began
    is_bad = records["subscription_id"] % every == 0 if every else np.zeros(len(records), dtype=bool)
    good = records[~is_bad]
    late_ms = good["late_us"] / 1_000
    answered_ms = late_ms + good["latency_ns"] / 1e6
    outcomes = np.bincount(good["outcome"], minlength=len(DELIVERY_OUTCOMES))
    of_bad = np.bincount(records[is_bad]["outcome"], minlength=len(DELIVERY_OUTCOMES))
    spent_us = (cpu_ns([running.pusher.pid]) - before[0]) / 1_000
    return {
        "deliveries": len(good),
        "per_second": round(len(records) / took, 1),
        "late_ms_p50": _percentile(late_ms, 50),
        "late_ms_p99": _percentile(late_ms, 99),
        "late_ms_max": _percentile(late_ms, 100),
        "answered_ms_p50": _percentile(answered_ms, 50),
        "answered_ms_p99": _percentile(answered_ms, 99),
        "cpu_us_a_delivery": round(spent_us / max(len(records), 1), 1),
        "new_connections": block.read_counter(new) - before[1],
        "skipped": block.read_counter(skipped) - before[2],
        "pss_mib": round(pss_bytes(running.pusher.pid) / 1024**2, 1),
        "outcomes": {name: int(count) for name, count in zip(DELIVERY_OUTCOMES, outcomes, strict=True) if count},
        "outcomes_of_bad": {name: int(count) for name, count in zip(DELIVERY_OUTCOMES, of_bad, strict=True) if count},
    }


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 2) if len(values) else math.inf
