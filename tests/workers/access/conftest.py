"""A context for the access process with tables of its own, and a clock that the test moves."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext, open_context
from trinity.markets import load_catalog
from trinity.observe.metrics import ACCESS
from trinity.store.watch import Watch
from workers.access import database
from workers.access.database import AsyncConnection

KEYS_MAX = 50
WALL_NS = 1_700_000_000 * 1_000_000_000


@pytest.fixture
def context() -> Iterator[OpenContext]:
    """Empty tables, and time that stands."""
    clock = ManualClock(WALL_NS, 0)
    with open_context("access", "access", load_catalog(), clock, keys_max=KEYS_MAX) as made:
        yield made


def gauge(context: OpenContext, name: str) -> float:
    return context.block.read_gauge(ACCESS.index(name))


def move(context: OpenContext, seconds: float) -> None:
    """Let time pass."""
    assert isinstance(context.clock, ManualClock)
    context.clock.now_ns += int(seconds * 1e9)


def snapshot_path(tmp_path: Path) -> Path:
    return tmp_path / "access.snapshot"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    async with await database.connect(database_url, Watch(database_url)) as connected:
        yield connected
