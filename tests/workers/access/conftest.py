"""A seat for the access process with tables of its own, and a clock that the test moves."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trinity.markets import load_catalog
from trinity.memory.block_table import BlockTable
from trinity.memory.control import BLOCK_WORDS, ProcessBlock
from trinity.memory.key_table import KeyTable
from trinity.memory.limit_table import LimitTable
from trinity.observe.metrics import ACCESS
from trinity.process import Seat
from trinity.store.watch import Watch
from workers.access import database
from workers.access.database import AsyncConnection

KEYS_MAX = 50
WALL_NS = 1_700_000_000 * 1_000_000_000


@dataclass
class HandClock:
    """Both clocks stand until the test moves them."""

    now_ns: int = WALL_NS

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self.now_ns


def make_seat(clock: Any, keys: KeyTable, blocks: BlockTable, block: ProcessBlock) -> Seat:
    """A seat that has what the access process uses, and nothing else."""
    fields: dict[str, Any] = dict.fromkeys(Seat.__dataclass_fields__)
    own = {"name": "access", "kind": "access", "catalog": load_catalog(), "clock": clock, "keys": keys}
    tables = {"limits": LimitTable.private(KEYS_MAX), "blocks": blocks}
    return Seat(**fields | own | tables | {"block": block, "log": logging.getLogger("trinity.access")})


@pytest.fixture
def seat() -> Seat:
    """Empty tables, and time that stands."""
    block = ProcessBlock(np.zeros(BLOCK_WORDS, dtype=np.uint64))
    return make_seat(HandClock(), KeyTable.private(KEYS_MAX), BlockTable.private(), block)


def gauge(seat: Seat, name: str) -> float:
    return seat.block.read_gauge(ACCESS.index(name))


def move(seat: Seat, seconds: float) -> None:
    """Let time pass."""
    assert isinstance(seat.clock, HandClock)
    seat.clock.now_ns += int(seconds * 1e9)


def snapshot_path(tmp_path: Path) -> Path:
    return tmp_path / "access.snapshot"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    async with await database.connect(database_url, Watch(database_url)) as connected:
        yield connected
