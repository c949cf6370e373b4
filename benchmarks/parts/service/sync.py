"""The sync job: a whole history and an increment, from a PostgreSQL to a Valkey of their own.

Rules: both are started here and removed at the end. A whole history is brought into an emptied Valkey each turn; an
increment is what one batch of the ledger brought since. Seconds are those of the wall, from the connection to the last
mark; the processor time is that of the job's own process, without PostgreSQL and Valkey.
"""

import contextlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from benchmarks.errors import PeerError
from benchmarks.progress import Progress
from benchmarks.servers.database import database_in
from benchmarks.servers.processes import free_port
from benchmarks.servers.usage_rows import fill
from trinity.cache.address import CacheSettings, cache_settings
from trinity.cache.client import SyncCacheClient
from trinity.cache.keys import USAGE_SECONDS
from trinity.memory.usage_ring import RECORD_DTYPE
from trinity.store.connect import connect
from trinity.store.queries import load_for
from trinity.sync.job import SyncJob, SyncResult
from trinity.sync.source import SyncSource
from workers.ledger.usage.usage_tables import UsageTables

# A session of 18 requests a minute is the least that fills a day: 1,036,800 requests in 40 of them.
_DAYS, _REQUESTS_A_DAY = 40, 1440 * 18
_KEYS = 1_000
_INCREMENT = 1_000
_INCREMENTS = 15
_START_TRIES, _START_PAUSE_SECONDS = 600, 0.05


def measure_sync(folder: Path, rows: int, turns: int, progress: Progress) -> dict[str, Any]:
    """Seconds of a whole history and of an increment."""
    days = max(1, min(_DAYS * 2, round(rows / _REQUESTS_A_DAY)))
    with tempfile.TemporaryDirectory(prefix="sync-", dir=folder) as place, contextlib.ExitStack() as ending:
        url, _ = ending.enter_context(database_in(Path(place) / "postgresql"))
        settings = ending.enter_context(_valkey(Path(place)))
        end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        with psycopg.connect(url) as connection:
            connection.execute("SET timezone = 'UTC'")
            made = max(fill(connection, rows, days, _KEYS, end))
            connection.execute("ANALYZE")
        progress.step(f"{made:,} requests in {days} days")
        whole = []
        for _ in range(turns):
            with contextlib.closing(SyncCacheClient.open(settings)) as client:
                client.run([("FLUSHALL",)], 60)
            before = _used_by_valkey(settings)
            result, seconds, own = _run(url, settings)
            if result.usage_entries != made:
                raise PeerError("sync", f"{result.usage_entries} entries of {made} arrived")
            whole.append((seconds, own, _used_by_valkey(settings) - before))
            progress.step(f"whole: {seconds:.2f} s, of them {own:.2f} s of its own processor")
        increments = [_increment(url, settings, number) for number in range(_INCREMENTS)]
        nothing = [_run(url, settings)[1] for _ in range(_INCREMENTS)]
    return {
        "rows": made,
        "whole_seconds": round(statistics.median(one[0] for one in whole), 2),
        "whole_cpu_seconds": round(statistics.median(one[1] for one in whole), 2),
        "whole_valkey_cpu_seconds": round(statistics.median(one[2] for one in whole), 2),
        "increment_rows": _INCREMENT,
        "increment_ms": round(statistics.median(increments) * 1000, 1),
        "increment_ms_max": round(max(increments) * 1000, 1),
        "nothing_ms": round(statistics.median(nothing) * 1000, 1),
    }


def _used_by_valkey(settings: CacheSettings) -> float:
    """Seconds of processor time since its start."""
    with contextlib.closing(SyncCacheClient.open(settings)) as client:
        (found,) = client.run([("INFO", "cpu")], 60)
    lines = found.decode().splitlines() if isinstance(found, bytes) else [f"{k}:{v}" for k, v in found.items()]
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    return float(named["used_cpu_user"]) + float(named["used_cpu_sys"])


def _run(url: str, settings: CacheSettings) -> tuple[SyncResult, float, float]:
    began, own = time.perf_counter(), time.process_time()
    with connect(url, "sync", statement_seconds=0, autocommit=True) as connection:
        job = SyncJob(SyncSource(connection), settings, USAGE_SECONDS, uuid.uuid4().hex)
        result = job.run()
    return result, time.perf_counter() - began, time.process_time() - own


def _increment(url: str, settings: CacheSettings, number: int) -> float:
    """Seconds of the run that brings a batch of the last two seconds."""
    records = np.zeros(_INCREMENT, dtype=RECORD_DTYPE)
    records["time_ns"] = time.time_ns() - np.arange(_INCREMENT) * 2_000_000
    records["request_id"] = np.arange(_INCREMENT) + (1 << 40) + number * _INCREMENT
    records["address"][:, 10:12], records["address"][:, 12:] = 255, (10, 0, 0, 1)
    records["asset"], records["latency_ns"] = b"A1", 9_000
    records["key_id"], records["status"] = np.arange(_INCREMENT) % 50 + 1, 200
    records["assets"], records["source"] = 1, 1
    with connect(url, "bench", autocommit=True) as connection:
        node = connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'bench') RETURNING id")
        node_id = int((node.fetchone() or (0,))[0])
        change = UsageTables(connection, node_id).of_records(records)
        with connection.transaction():
            change.write()
            times = [datetime.fromtimestamp(int(at) / 1e9, UTC) for at in records["time_ns"][[-1, 0]]]
            values = {"node_id": node_id, "ring": 0, "first": 0, "end": _INCREMENT, "rows": _INCREMENT, "lost": 0}
            values |= {"sampled": 0, "oldest": times[0], "newest": times[1]}  # type: ignore[dict-item]
            connection.execute(load_for("ledger.add_batch", "usage_batches"), values)
    result, seconds, _ = _run(url, settings)
    if result.usage_entries < _INCREMENT:
        raise PeerError("sync", f"{result.usage_entries} entries of an increment of {_INCREMENT} arrived")
    return seconds


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(_START_TRIES):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(_START_PAUSE_SECONDS)
    raise PeerError("valkey", "did not start")


@contextlib.contextmanager
def _valkey(folder: Path) -> Iterator[CacheSettings]:
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise PeerError("valkey", "neither valkey-server nor redis-server is installed")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait(port, process)
        yield cache_settings(f"valkey://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
