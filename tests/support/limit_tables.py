"""Limit tables at a fixed moment, and requests of them."""

from pathlib import Path

import numpy as np

from trinity.memory.gcra import FOUND_WORDS, RETRY_NS
from trinity.memory.limit_table import LimitTable, consume_key_rate

SECOND = 1_000_000_000
NOW_NS = 1_000 * SECOND
WALL_NS = 1_700_000_000 * SECOND
BOOT = bytes(range(16))
OTHER_BOOT = bytes(range(1, 17))
MONTH = 2026 * 12


def open_table(
    path: Path, keys_max: int = 10, boot_id: bytes = BOOT, now_ns: int = NOW_NS, wall_ns: int = WALL_NS
) -> LimitTable:
    return LimitTable.open(path, keys_max, boot_id, now_ns, wall_ns)


def take(table: LimitTable, key_id: int, now_ns: int = NOW_NS, rate: int = 1, burst: int = 5) -> int:
    """Nanoseconds to wait; 0 when the request was admitted."""
    found = np.zeros(FOUND_WORDS, dtype=np.int64)
    admitted = consume_key_rate(table.words, key_id, now_ns, rate, burst, found)
    assert admitted == (found[RETRY_NS] == 0)
    return int(found[RETRY_NS])


def spend(table: LimitTable, key_id: int) -> None:
    for _ in range(5):
        assert take(table, key_id) == 0
