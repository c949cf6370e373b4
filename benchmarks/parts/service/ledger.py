"""The ledger's load: rows a second from spool segments into the embedded PostgreSQL, of usage and of deliveries.

Segments are made beforehand, so that only the load is measured: reading, checking, COPY, indexes, commit, and of usage
the sums of minutes, hours and days. Beside the rate it says the processor time a row, in Python and in PostgreSQL,
which holds on a busy machine as well.
"""

import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil  # type: ignore[import-untyped] # it ships no types
from numpy.typing import NDArray

from benchmarks.progress import Progress
from benchmarks.servers.database import database_in
from trinity.limits import SEGMENT_BYTES_MAX
from trinity.memory import delivery_ring
from trinity.memory.usage_ring import RECORD_DTYPE
from trinity.store.connect import connect
from trinity.vocabulary import CODE_OK, CODES, DELIVERY_OUTCOMES
from workers.ledger.delivery_tables import DELIVERY
from workers.ledger.disk.block import header_of
from workers.ledger.disk.spool import Spool
from workers.ledger.kind import RecordKind, Records
from workers.ledger.ledger import Ledger
from workers.ledger.usage.usage_tables import USAGE

ASSETS, KEYS = 35, 100
# As full as the spool makes them; customers ask from some addresses each, which is more than most do.
SEGMENT_RECORDS = SEGMENT_BYTES_MAX // RECORD_DTYPE.itemsize - 4096
ADDRESSES_A_KEY = 8
SUBSCRIPTIONS = 10_000
# Bytes of a table with all its parts and indexes.
_SIZES = """
SELECT coalesce(parent.relname, part.relname), sum(pg_total_relation_size(part.oid))
FROM pg_class AS part
LEFT JOIN pg_inherits ON inhrelid = part.oid LEFT JOIN pg_class AS parent ON parent.oid = inhparent
WHERE part.relkind = 'r' AND coalesce(parent.relname, part.relname)
    ~ '^(usage_(runs|minute|hour|day|hour_all|day_all)|push_deliveries)$'
GROUP BY 1
"""


class Load(NamedTuple):
    """What was loaded, and what a row cost: microseconds of processor time, bytes with all indexes, those of sums."""

    rows: int
    seconds: float
    python_us: float
    postgresql_us: float
    bytes: float
    sums_bytes: float


def measure_ledger(seconds: float, progress: Progress) -> dict[str, Any]:
    """The load as the results have it."""
    progress.step(f"loading the ledger for {seconds:.0f} s")
    load = measure(seconds, KEYS)
    return {
        "rows": load.rows,
        "rows_per_second": round(load.rows / load.seconds),
        "keys": KEYS,
        "assets": ASSETS,
        "python_us_a_row": round(load.python_us, 2),
        "postgresql_us_a_row": round(load.postgresql_us, 2),
        "bytes_a_row": round(load.bytes, 1),
        "sums_bytes_a_row": round(load.sums_bytes, 1),
    }


def measure_delivery_log(seconds: float, progress: Progress) -> dict[str, Any]:
    """The load of deliveries, each of which is a row."""
    progress.step(f"loading deliveries for {seconds:.0f} s")
    load = measure_deliveries(seconds)
    return {
        "rows": load.rows,
        "rows_per_second": round(load.rows / load.seconds),
        "python_us_a_row": round(load.python_us, 2),
        "postgresql_us_a_row": round(load.postgresql_us, 2),
        "bytes_a_row": round(load.bytes, 1),
    }


def measure(seconds: float, keys: int, records: int = SEGMENT_RECORDS) -> Load:
    """Load segments of `records` for this long, in a database of its own."""
    return _measure(USAGE, "usage_runs", lambda first: _make_records(first, keys, records), seconds)


def measure_deliveries(seconds: float, records: int = SEGMENT_RECORDS) -> Load:
    """The same of deliveries."""
    return _measure(DELIVERY, "push_deliveries", lambda first: _make_deliveries(first, records), seconds)


def _measure(kind: RecordKind, table: str, make: Callable[[int], Records], seconds: float) -> Load:
    with tempfile.TemporaryDirectory() as name, database_in(Path(name)) as (url, server):
        return _load(kind, table, make, url, Path(name) / "spool", seconds, psutil.Process(server))


def _load(
    kind: RecordKind,
    table: str,
    make: Callable[[int], Records],
    url: str,
    spool_folder: Path,
    seconds: float,
    server: psutil.Process,
) -> Load:
    spool_folder.mkdir()
    rows, position, spent = 0, 1, 0.0
    with connect(url, "benchmark", statement_seconds=0, autocommit=True) as connection:
        ledger = Ledger(connection, kind, uuid.uuid4(), "benchmark")
        python_s = postgresql_s = 0.0
        while spent < seconds:
            made = make(position)
            write_segment(spool_folder / f"{position:012}.seg", position, made)
            position += len(made)
            spool = Spool(kind, spool_folder, 1 << 40)
            unit = spool.take()
            assert unit is not None
            before = time.perf_counter(), time.process_time(), _cpu_seconds(server)
            rows += ledger.load(unit).records
            spool.remove(unit)
            spent += time.perf_counter() - before[0]
            python_s += time.process_time() - before[1]
            postgresql_s += _cpu_seconds(server) - before[2]
        sizes: dict[str, Any] = dict(connection.execute(_SIZES).fetchall())
    return Load(
        rows, spent, python_s / rows * 1e6, postgresql_s / rows * 1e6,
        int(sizes.pop(table)) / rows, int(sum(sizes.values())) / rows,
    )  # fmt: skip


def write_segment(path: Path, first: int, records: NDArray[np.void]) -> None:
    """A segment of one block, as the spool writes it."""
    path.write_bytes(header_of(0, first, records) + records.tobytes())


def _make_records(first: int, keys: int, count: int) -> NDArray[np.void]:
    random = np.random.default_rng(first)
    made = np.zeros(count, dtype=RECORD_DTYPE)
    made["time_ns"] = time.time_ns() + np.arange(count) * 10_000
    made["request_id"] = np.arange(first, first + count)
    made["asset"] = np.array([f"ASSET{number}".encode() for number in range(ASSETS)])[random.integers(0, ASSETS, count)]
    made["key_id"], made["latency_ns"] = random.integers(1, keys + 1, count), random.integers(500, 50_000, count)
    is_refused = random.random(count) < 0.05
    made["status"], made["assets"] = np.where(is_refused, 429, 200), 1
    made["code"] = np.where(is_refused, CODES.index("rate_limited"), CODE_OK)
    made["address"][:, 10:12], made["address"][:, 13:15] = (
        0xFF,
        made["key_id"].astype(">u2").view(np.uint8).reshape(-1, 2),
    )
    made["address"][:, 15] = random.integers(0, ADDRESSES_A_KEY, count)
    return made


def _make_deliveries(first: int, count: int) -> NDArray[np.void]:
    """Of 1,000 a second."""
    random = np.random.default_rng(first)
    made = np.zeros(count, dtype=delivery_ring.RECORD_DTYPE)
    made["time_ns"] = time.time_ns() + np.arange(count) * 1_000_000
    made["delivery_id"], made["sequence"] = np.arange(first, first + count), np.arange(first, first + count)
    made["subscription_id"], made["account_id"] = random.integers(1, SUBSCRIPTIONS + 1, count), 1
    made["latency_ns"], made["late_us"] = (
        random.integers(1_000_000, 50_000_000, count),
        random.integers(0, 9_000, count),
    )
    made["status"], made["attempts"], made["assets"] = 200, 1, 25
    made["outcome"] = DELIVERY_OUTCOMES.index("delivered")
    return made


def _cpu_seconds(server: psutil.Process) -> float:
    """Of the server's first process and all that live now; those that ended meanwhile are workers of a moment."""
    total = 0.0
    for process in (server, *server.children()):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
