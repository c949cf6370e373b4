"""Ring, spool and database together, killed with SIGKILL between any two lines of the flusher.

Each child drains and loads for a while and is killed at the n-th line of workers/flusher that it executes; the parent
goes on appending. In the end every record that was appended is there once: as a row, or in the sums where its detail
was given up; the sums count all.
"""

import gc
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.workers.ledger.ledger_fixture import (
    LOG,
    fill,
    make_block,
    make_ledger,
    make_records,
    make_ring,
    no_beat,
    one,
    totals,
)
from trinity.clock import SystemClock
from trinity.memory.usage_ring import UsageRing
from trinity.store.connect import connect
from workers.ledger import ledger
from workers.ledger.disk.spool import Spool
from workers.ledger.drain import Drain
from workers.ledger.usage.usage_tables import USAGE

pytestmark = pytest.mark.long

ROOM = str(Path(ledger.__file__).parent)
KILLS = 20
# The lines of one child's whole life are some hundreds: a kill beyond the last lets it end by itself.
LINES_MAX = 700
# The joining of four files takes some hundred lines: enough of them to meet each file's change.
KILL_STEP_LINES = 9


def _kill_at_line(number: int) -> None:
    """From now on: SIGKILL before the `number`-th line of the flusher."""
    left = number

    def trace(frame: FrameType, event: str, _argument: Any) -> Callable[..., Any] | None:
        nonlocal left
        if not frame.f_code.co_filename.startswith(ROOM):
            return None
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def _live(folder: Path, url: str, bytes_max: int, refuse: bool, kill_at: int | None) -> None:
    """One flusher's life: everything drained, everything loaded, unless it is killed."""
    if kill_at is not None:
        _kill_at_line(kill_at)
    rings = [UsageRing.open(folder / f"ring-{number}", number, 1024, 0) for number in (0, 1)]
    spool = Spool(USAGE, folder / "spool", bytes_max)
    append = spool.append

    def no_room(*_values: Any) -> None:
        raise OSError(28, "No space left on device")

    if refuse:
        spool.append = no_room  # type: ignore[method-assign]
    drain = Drain(rings, spool, folder / "reserve", make_block(), LOG, no_beat, SystemClock())
    drain.turn()
    spool.append = append  # type: ignore[method-assign]
    drain.turn()
    with connect(url, "tests", autocommit=True) as connection:
        loaded = make_ledger(connection)
        while (unit := spool.take()) is not None:
            loaded.load(unit)
            spool.remove(unit)
            drain.turn()


def _in_child(life: Callable[..., None], *arguments: Any) -> int:
    """Call `life` in a process of its own; the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            gc.disable()
            life(*arguments)
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the flusher failed"
    return os.WTERMSIG(status)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bytes_max", [1 << 30, 8 * 10_000], ids=["room", "bound"])
def test_every_record_counts_once_wherever_the_flusher_is_killed(
    tmp_path: Path, database_url: str, seed: int, bytes_max: int
) -> None:
    """Killed some twenty times, with a disk that refuses now and then, and with a spool that is too small."""
    chance = random.Random(seed)
    rings = [make_ring(tmp_path, number) for number in (0, 1)]
    appended = killed = 0
    for turn in range(KILLS):
        for ring in rings:
            # A ring that is full refuses its record: that answer would be lost, so a worker's ring is never so small.
            room = ring.capacity - (ring.written - ring.released)
            count = min(chance.randrange(300), room)
            appended += fill(ring, make_records(count, seed=turn))
        refuse = chance.random() < 0.2
        killed += _in_child(_live, tmp_path, database_url, bytes_max, refuse, chance.randrange(LINES_MAX)) != 0
    assert killed >= KILLS // 3
    assert _in_child(_live, tmp_path, database_url, bytes_max, False, None) == 0
    assert list((tmp_path / "spool").iterdir()) == []
    with connect(database_url, "tests", autocommit=True) as connection:
        found = totals(connection)
        lost = int(one(connection, "SELECT sum(lost) FROM usage_batches"))
        assert found["rows"] == found["ids"] == appended - lost
        assert found["usage_minute"] == found["usage_hour"] == found["usage_day"] == appended


def _give_up(folder: Path, kill_at: int) -> None:
    """Four new segments become sums and join each other, unless it is killed."""
    ring = UsageRing.open(folder / "ring-0", 0, 1024, 0)
    spool = Spool(USAGE, folder / "spool", 8 * 7000)
    for _ in range(4):
        spool.append(ring, ring.view(ring.released)[:100])
    spool._bytes_max = 1
    _kill_at_line(kill_at)
    while spool.give_up_detail():
        pass


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_sums_that_join_each_other_count_once_wherever_it_is_killed(tmp_path: Path) -> None:
    """What the files say afterwards is each position once; nothing is read as a damaged file."""
    kill_at, killed = 1, True
    while killed:
        folder = tmp_path / str(kill_at)
        ring = make_ring(folder)
        fill(ring, make_records(400))
        first = ring.released
        killed = _in_child(_give_up, folder, kill_at) != 0
        spool, at, requests = Spool(USAGE, folder / "spool", 1 << 30), first, 0
        assert spool.damaged == []
        while (unit := spool.take()) is not None:
            (span,) = unit.spans.values()
            assert span.first == at
            at, requests = span.end, requests + unit.records
            spool.remove(unit)
        assert (at, requests) == (first + 400, 400)
        kill_at += KILL_STEP_LINES
    assert kill_at > 10 * KILL_STEP_LINES
