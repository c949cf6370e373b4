"""A flood of refusals without a key into the ledger: what it leaves in the database, and what it costs to load.

A node's refusals as the spool has them: 65,536 networks, two codes, at 100,000 a second, with answers of keys among
them. The tests load a small one, `python -m benchmarks refusals` ten million.
"""

import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.parts.service.ledger import SEGMENT_RECORDS, write_segment
from benchmarks.progress import Progress
from benchmarks.servers.database import database_in
from trinity.memory.usage_ring import RECORD_DTYPE
from trinity.store.connect import AnyConnection, connect
from trinity.vocabulary import CODES
from workers.ledger.disk.spool import Spool
from workers.ledger.ledger import Ledger
from workers.ledger.usage.usage_tables import USAGE

# One answer of a key for so many refusals.
_REFUSALS_AN_ANSWER = 100
_A_SECOND = 100_000
_KEY_ID = 5
_TABLES = "^(usage_runs|usage_minute|usage_hour|usage_day|refusal_minute)"


def measure_refusals(refusals: int, progress: Progress) -> dict[str, Any]:
    """The flood's figures."""
    progress.step(f"loading {refusals:,} refusals")
    with tempfile.TemporaryDirectory() as name, database_in(Path(name)) as (url, _):
        folder = Path(name) / "spool"
        folder.mkdir()
        with connect(url, "benchmark", statement_seconds=0, autocommit=True) as connection:
            empty = _bytes_of(connection)
            began = time.perf_counter(), time.process_time()
            rows = _load(connection, folder, refusals)
            seconds, python_seconds = time.perf_counter() - began[0], time.process_time() - began[1]
            return {
                "refusals": refusals,
                "answers_of_keys": rows,
                "refusals_per_second": round(refusals / seconds),
                "python_us_a_refusal": round(python_seconds / refusals * 1e6, 2),
                "database_bytes": _bytes_of(connection) - empty,
                "rows_of_keys": _count(connection, "SELECT count(*) FROM usage_log WHERE key_id > 0"),
                "rows_of_refusals": _count(connection, "SELECT count(*) FROM usage_log WHERE key_id = 0"),
                "groups_of_refusals": _count(connection, "SELECT count(*) FROM refusal_minute"),
            }


def make_flood(refusals: int, answers: int, first_ns: int) -> NDArray[np.void]:
    """So many refusals with so many answers of one key among them, from `first_ns` on."""
    random = np.random.default_rng(refusals)
    records = np.zeros(refusals + answers, dtype=RECORD_DTYPE)
    records["time_ns"] = first_ns + np.arange(len(records)) * (10**9 // _A_SECOND)
    records["address"][:, 10:12] = 255
    records["address"][:, 12:] = random.integers(0, 256, (len(records), 4))
    records["address"][:, 12] = 10
    records["latency_ns"] = random.integers(500, 50_000, len(records))
    records["status"] = 401
    codes = [CODES.index("missing_key"), CODES.index("invalid_key")]
    records["code"] = np.array(codes)[random.integers(0, 2, len(records))]
    of_key = random.permutation(len(records))[:answers]
    records["key_id"][of_key], records["code"][of_key], records["status"][of_key] = _KEY_ID, 0, 200
    records["assets"][of_key] = 1
    return records


def _load(connection: AnyConnection, folder: Path, count: int) -> int:
    """Segment by segment; returns how many answers of keys there were."""
    ledger = Ledger(connection, USAGE, uuid.uuid4(), "benchmark")
    position, answers, first_ns = 1, 0, time.time_ns()
    for at in range(0, count, SEGMENT_RECORDS):
        refusals = min(SEGMENT_RECORDS, count - at)
        records = make_flood(refusals, refusals // _REFUSALS_AN_ANSWER, first_ns + at * (10**9 // _A_SECOND))
        records["request_id"] = np.arange(position, position + len(records))
        write_segment(folder / f"{position:012}.seg", position, records)
        position, answers = position + len(records), answers + len(records) - refusals
        spool = Spool(USAGE, folder, 1 << 40)
        unit = spool.take()
        assert unit is not None
        ledger.load(unit)
        spool.remove(unit)
    return answers


def _bytes_of(connection: AnyConnection) -> int:
    sizes = "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE relname ~ %s"
    row = connection.execute(sizes, [_TABLES]).fetchone()
    return int(row[0] or 0) if row else 0


def _count(connection: AnyConnection, statement: str) -> int:
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0
