"""Reports over a large ledger: how late they are, how fast a CSV is, and what the lookups next to them notice.

Rules: the database is made here (servers/usage_rows.py), in a folder of its own that is removed at the end, and only
where the disk has room for it. Questions rotate over the keys, so that no answer comes out of a memory; the remembered
ones are measured apart. Latencies are those of one client that asks again when it was answered.
"""

import http.client
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.errors import PeerError
from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.progress import Progress
from benchmarks.servers.database import database_in
from benchmarks.servers.node import start_bare
from benchmarks.servers.one_worker import CONNECTIONS, WARM_SECONDS, run_with_cpu
from benchmarks.servers.processes import cores, free_port, start, wait_for_port
from benchmarks.servers.report_service import ADMIN_KEY, KEYS
from benchmarks.servers.usage_rows import fill
from trinity.clock import Clock
from workers.api.usage.log_page import Cursor, encode_cursor

DAYS = 93
# usage_runs with its indexes, the sums, and the log of what was written meanwhile.
_BYTES_A_ROW = 250
_SAMPLES = 200
_CSV_ROWS = 1_000_000
_HOT_TURNS = 5


def measure_reports(folder: Path, rows: int, seconds: float, clock: Clock, progress: Progress) -> dict[str, Any]:
    """The whole: make the database, measure, remove it."""
    _check_room(folder, rows)
    with tempfile.TemporaryDirectory(prefix="reports-", dir=folder) as place, database_in(Path(place)) as (url, _):
        end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        with psycopg.connect(url) as connection:
            connection.execute("SET timezone = 'UTC'")
            for number, made in enumerate(fill(connection, rows, DAYS, KEYS, end)):
                progress.step(f"day {number + 1}/{DAYS}: {made:,} rows")
            connection.execute("ANALYZE")
        return measure_over(url, folder, end, seconds, clock, progress)


def measure_over(
    url: str, folder: Path, end: datetime, seconds: float, clock: Clock, progress: Progress
) -> dict[str, Any]:
    """The figures over a database that is there; its last day ends at `end`."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "benchmarks.servers.report_service",
        f"bench-reports-{os.getpid()}",
        str(port),
        url,
    ]
    service = start("reports", command, folder)
    asker = _Asker(port, clock)
    try:
        wait_for_port(service, port)
        first = end - timedelta(days=DAYS)
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT sum(requests) FROM usage_day_all").fetchone()
        found: dict[str, Any] = {"rows": int(row[0]) if row else 0, "days": DAYS, "keys": KEYS}
        found["latency_ms"] = {name: _latencies(ask, progress, name) for name, ask in _questions(asker, first, end)}
        progress.step(f"CSV of {_CSV_ROWS:,} rows")
        found["csv_rows_per_second"] = round(asker.csv_rows_per_second(first, end))
        found["lookups"] = _lookups_beside(folder, seconds, asker, progress)
        return found
    finally:
        asker.close()
        service.stop()


def _questions(asker: "_Asker", first: datetime, end: datetime) -> Iterator[tuple[str, Callable[[int], float]]]:
    """Name and question; the number makes each ask for another key."""
    whole = f"from={first:%Y-%m-%dT%H:%M}Z&to={end:%Y-%m-%dT%H:%M}Z"
    yield "summary", lambda number: asker.get("/reports/summary?period=24h", f"key-{1 + number % KEYS}")
    yield "summary, all keys", lambda number: asker.get(f"/reports/summary?period={24 + number}h", ADMIN_KEY)
    yield "summary, remembered", lambda _: asker.get("/reports/summary?period=24h", ADMIN_KEY)
    yield "summary over UDP", lambda number: asker.datagram("25h", f"key-{1 + number % KEYS}")
    yield "summary over UDP, all keys", lambda number: asker.datagram(f"{300 + number}h", ADMIN_KEY)
    yield "summary over UDP, remembered", lambda _: asker.datagram("24h", ADMIN_KEY)
    yield (
        "usage by day, 93 days",
        lambda number: asker.get(f"/reports/usage?granularity=day&{whole}", f"key-{1 + number % KEYS}"),
    )
    yield "usage by day, 93 days, all keys", lambda _: asker.get(f"/reports/usage?granularity=day&{whole}", ADMIN_KEY)
    for depth in (1, 46, 92):
        cursor = encode_cursor(Cursor(first, end, end - timedelta(days=depth), 0, 0))
        path = f"/reports/log?limit=100&{whole}&cursor={cursor}"
        yield f"log page, {depth} days deep", lambda number, path=path: asker.get(path, f"key-{1 + number % KEYS}")  # type: ignore[misc]
        yield f"log page, {depth} days deep, all keys", lambda _, path=path: asker.get(path, ADMIN_KEY)  # type: ignore[misc]


def _latencies(ask: Callable[[int], float], progress: Progress, name: str) -> dict[str, float]:
    progress.step(name)
    ask(0)
    found = sorted(ask(number) for number in range(_SAMPLES))
    return {
        "mean": round(statistics.mean(found), 2),
        "p50": round(found[len(found) // 2], 2),
        "p99": round(found[len(found) * 99 // 100], 2),
    }


class _Asker:
    """One client of the service, over HTTP and UDP; answers are checked, times are in milliseconds."""

    def __init__(self, port: int, clock: Clock) -> None:
        self._clock = clock
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.settimeout(60)
        self._udp.connect(("127.0.0.1", port))

    def close(self) -> None:
        self._http.close()
        self._udp.close()

    def get(self, path: str, key: str) -> float:
        started_ns = self._clock.monotonic_ns()
        self._http.request("GET", path, headers={"X-API-Key": key})
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise PeerError("reports", f"{path}: {answer.status} {body[:200]!r}")
        return (self._clock.monotonic_ns() - started_ns) / 1e6

    def datagram(self, period: str, key: str) -> float:
        started_ns = self._clock.monotonic_ns()
        self._udp.send(json.dumps({"report": "summary", "period": period, "api_key": key}).encode())
        answer = json.loads(self._udp.recv(2048))
        if "error" in answer:
            raise PeerError("reports", str(answer))
        return (self._clock.monotonic_ns() - started_ns) / 1e6

    def csv_rows_per_second(self, first: datetime, end: datetime) -> float:
        path = f"/reports/log?format=csv&limit={_CSV_ROWS}&from={first:%Y-%m-%d}&to={end:%Y-%m-%d}"
        started_ns = self._clock.monotonic_ns()
        self._http.request("GET", path, headers={"X-API-Key": ADMIN_KEY})
        answer = self._http.getresponse()
        lines = 0
        while piece := answer.read(1 << 20):
            lines += piece.count(b"\n")
        return (lines - 1) / (self._clock.monotonic_ns() - started_ns) * 1e9


def _lookups_beside(folder: Path, seconds: float, asker: _Asker, progress: Progress) -> dict[str, Any]:
    """Processor time of a lookup on the worker's own core, alone and while reports run, in turns."""
    node = start_bare(folder, cores()[0])
    stop, may_ask = threading.Event(), threading.Event()

    def ask_on() -> None:
        number = 0
        while not stop.is_set():
            if may_ask.wait(0.1):
                number += 1
                asker.get("/reports/summary?period=24h", f"key-{1 + number % KEYS}")

    asking = threading.Thread(target=ask_on)
    asking.start()
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    try:
        generator = HttpGenerator(node.http_target(), CONNECTIONS)
        for turn in range(_HOT_TURNS):
            for beside, rates in found.items():
                progress.step(f"turn {turn + 1}/{_HOT_TURNS}: lookups{' beside reports' if beside else ''}")
                (may_ask.set if beside else may_ask.clear)()
                generator.run(Load(WARM_SECONDS))
                outcome, cpu_us = run_with_cpu(generator, node.worker_pids, Load(seconds))
                rates.append((cpu_us, outcome.per_second))
        generator.close()
    finally:
        stop.set()
        asking.join()
        node.stop()
    alone, beside_us = (statistics.median(us for us, _ in found[name]) for name in (False, True))
    ratio = statistics.median(other[0] / one[0] for one, other in zip(found[False], found[True], strict=True))
    return {"alone_us": round(alone, 2), "beside_reports_us": round(beside_us, 2), "ratio": round(ratio, 3)}


def _check_room(place: Path, rows: int) -> None:
    """PeerError when the disk has no room for so many."""
    wanted, free = rows * _BYTES_A_ROW, shutil.disk_usage(place).free
    if free < 2 * wanted:
        raise PeerError("disk", f"{free >> 30} GiB are free, {2 * wanted >> 30} are wanted: ask for fewer --rows")
