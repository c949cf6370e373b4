"""Records for the tests of the flusher, a ring that holds them, and the ledger's tables as one reads them."""

import contextlib
import logging
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trinity.clock import SystemClock
from trinity.errors import LedgerTakenError
from trinity.limits import COUNTER_WORDS
from trinity.memory.control import ProcessBlock
from trinity.memory.usage_ring import RECORD_DTYPE, UsageRing, append_record
from trinity.store.connect import AnyConnection
from workers.ledger.kind import Groups
from workers.ledger.ledger import Ledger
from workers.ledger.usage.usage_tables import USAGE

NODE = uuid.UUID(int=7)
DAY_NS = 86_400 * 10**9
# The last 23:59:58 UTC: two seconds later another minute, hour and day began. (Days beyond 93 are dropped.)
EVENING_NS = SystemClock().wall_ns() // DAY_NS * DAY_NS - 2 * 10**9
ASSETS = (b"", b"BTC", b"ETH", b"LONGASSETNAME1", b"LONGASSETNAME2")
LOG = logging.getLogger("tests.flusher")


def make_records(count: int, ring: int = 0, first: int = 1000, seed: int = 1, keys: int = 3) -> NDArray[np.void]:
    """Records of some keys, assets, protocols and statuses within four seconds around midnight."""
    random = np.random.default_rng(seed)
    records = np.zeros(count, dtype=RECORD_DTYPE)
    records["time_ns"] = EVENING_NS + random.integers(0, 4 * 10**9, count)
    records["request_id"] = np.arange(first, first + count, dtype=np.uint64) | np.uint64(ring << 56)
    records["address"] = np.frombuffer(bytes(10) + b"\xff\xff\x7f\x00\x00\x01", dtype=np.uint8)
    records["asset"] = np.array(ASSETS)[random.integers(0, len(ASSETS), count)]
    records["latency_ns"] = 10 ** random.integers(2, 10, count)
    records["key_id"] = random.integers(0, keys, count)
    records["status"] = np.array([200, 404, 429])[random.integers(0, 3, count)]
    records["assets"] = random.integers(0, 5, count)
    records["protocol"] = random.integers(0, 4, count)
    records["source"], records["code"] = random.integers(0, 8, count), random.integers(0, 28, count)
    # Refusals without a key have no row each: test_refusals.py.
    records["code"][records["key_id"] == 0] = 0
    return records


def fill(ring: UsageRing, records: NDArray[np.void]) -> int:
    """Append records as a worker does; returns how many the ring took."""
    words = records.view(np.uint64).reshape(-1, 8)
    taken = 0
    for record, word in zip(records, words, strict=True):
        numbers = [
            int(record[name]) for name in ("latency_ns", "key_id", "status", "assets", "protocol", "source", "code")
        ]
        taken += append_record(ring.words, int(record["time_ns"]), word[2:4], word[4:6], *numbers)
    return taken


def make_ring(folder: Path, number: int = 0, capacity: int = 1024) -> UsageRing:
    folder.mkdir(parents=True, exist_ok=True)
    return UsageRing.open(folder / f"ring-{number}", number, capacity, 1000)


def no_beat() -> None:
    """Nobody waits for a sign of life."""


def make_block() -> ProcessBlock:
    return ProcessBlock(np.zeros(8 + COUNTER_WORDS, dtype=np.uint64))


def in_order(groups: Groups) -> list[bytes]:
    """For comparing: groups come in any order."""
    return sorted(group.tobytes() for group in groups)


def make_ledger(connection: AnyConnection, node: uuid.UUID = NODE, name: str = "n") -> Ledger:
    """As soon as the server has noticed the end of the session before."""
    for _ in range(1500):
        with contextlib.suppress(LedgerTakenError):
            return Ledger(connection, USAGE, node, name)
        threading.Event().wait(0.02)
    raise AssertionError("the lock is never free")


def one(connection: AnyConnection, statement: str, *values: Any) -> Any:
    """The first column of the only row."""
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return row[0]


def totals(connection: AnyConnection) -> dict[str, int]:
    """Rows, distinct request ids, and the requests of the three kinds of sums."""
    found = {
        "rows": one(connection, "SELECT count(*) FROM usage_log"),
        "ids": one(connection, "SELECT count(DISTINCT (node_id, request_id)) FROM usage_log"),
    }
    for table in ("usage_minute", "usage_hour", "usage_day"):
        found[table] = int(one(connection, f"SELECT coalesce(sum(requests), 0) FROM {table}"))
    return found
