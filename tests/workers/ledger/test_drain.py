"""workers/ledger/drain.py"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workers.ledger.ledger_fixture import LOG, fill, make_block, make_records, make_ring, no_beat
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.limits import RING_SUM_SHARE
from trinity.memory.usage_ring import UsageRing
from trinity.observe.metrics import FLUSHER
from workers.ledger import drain as module
from workers.ledger.disk.spool import Spool
from workers.ledger.drain import Drain
from workers.ledger.sums import decode_sums
from workers.ledger.usage.usage_tables import USAGE

LOST_DETAIL = FLUSHER.index("usage_lost_total", "detail")
LOST_RECORD = FLUSHER.index("usage_lost_total", "record")
TAKEN = FLUSHER.index("usage_records_total")


class TurnClock(SystemClock):
    """A monotonic clock that goes on by 50 ms at each question, as the drain's turns do."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        self.now_ns += NS_PER_SECOND // 20
        return self.now_ns


class Setup:
    """Two rings, a spool whose disk refuses while `refuses`, and the drain over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rings = [make_ring(folder, number) for number in (0, 1)]
        self.block = make_block()
        self.refuses = False
        self.start()

    def start(self) -> None:
        """As after a kill: everything anew from what is on disk."""
        self.spool = Spool(USAGE, self.folder / "spool", 1 << 30)
        self.spool.append = self._refusing(self.spool.append)  # type: ignore[method-assign]
        self.spool.append_sums = self._refusing(self.spool.append_sums)  # type: ignore[method-assign]
        self.rings = [UsageRing.open(ring.path, ring.number, 1024, 0) for ring in self.rings]
        self.drain = Drain(self.rings, self.spool, self.folder / "reserve", self.block, LOG, no_beat, SystemClock())

    def _refusing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*values: Any) -> Any:
            if self.refuses:
                raise OSError(28, "No space left on device")
            return method(*values)

        return refuse

    def lost(self) -> tuple[int, int]:
        return self.block.read_counter(LOST_DETAIL), self.block.read_counter(LOST_RECORD)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_a_turn_takes_everything_from_every_ring(setup: Setup) -> None:
    """Also over a ring's end; afterwards nothing waits and nothing is lost."""
    for seed in range(4):
        for ring in setup.rings:
            assert fill(ring, make_records(700, seed=seed)) == 700
        assert setup.drain.waiting == 1400
        setup.drain.turn()
        assert setup.drain.waiting == 0
    assert setup.spool.records == setup.block.read_counter(TAKEN) == 5600
    assert setup.drain.share_before == 700 / 1024
    assert setup.lost() == (0, 0)


def test_a_successor_goes_on_behind_what_is_spooled(setup: Setup) -> None:
    """The predecessor died between writing and releasing: nothing is taken twice."""
    ring = setup.rings[0]
    fill(ring, make_records(100))
    before = ring.released
    setup.drain.turn()
    ring.words[5] = np.uint64(before)
    fill(ring, make_records(50, seed=2))
    setup.start()
    setup.drain.turn()
    assert setup.spool.records == 150


def test_while_the_disk_refuses_the_ring_is_the_buffer(setup: Setup) -> None:
    """Nothing is lost as long as there is room; afterwards everything goes on by itself."""
    setup.refuses = True
    fill(setup.rings[0], make_records(700))
    for _ in range(3):
        setup.drain.turn()
    assert not setup.drain.is_writable
    assert setup.drain.waiting == 700
    setup.refuses = False
    setup.drain.turn()
    assert setup.drain.is_writable
    assert setup.spool.records == 700
    assert setup.lost() == (0, 0)


def test_when_the_ring_is_full_as_well_sums_are_kept(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    """Detail of the oldest records is lost, loudly and once; their sums come before the records that are left."""
    setup.refuses = True
    for seed in range(5):
        assert fill(setup.rings[0], make_records(250, seed=seed)) == 250
        setup.drain.turn()
        setup.start()
    waiting = setup.drain.waiting
    assert waiting <= RING_SUM_SHARE * 1024
    assert [record.message for record in caplog.records].count("usage detail is given up, sums stay exact") >= 1
    assert setup.lost() == (1250 - waiting, 0)
    setup.refuses = False
    setup.drain.turn()
    first, *rest = setup.spool._units
    sums = decode_sums(USAGE, first.path.read_bytes())
    assert sums is not None
    assert sums.requests == 1250 - waiting
    assert sum(unit.records for unit in rest) == waiting
    assert setup.spool.ends() == {0: setup.rings[0].written}


def test_a_reserve_that_had_become_a_file_is_not_taken_twice(setup: Setup) -> None:
    """Killed between the file and the clearing of the reserve."""
    setup.refuses = True
    fill(setup.rings[0], make_records(1000))
    setup.drain.turn()
    setup.refuses = False
    assert setup.drain._reserve is not None
    setup.spool.append_sums(setup.drain._reserve.sums, lambda: None)
    setup.start()
    setup.drain.turn()
    assert setup.spool.records == 1000


def test_records_that_found_the_ring_full_are_counted_as_lost(setup: Setup) -> None:
    """Only when the flusher was away for longer than the ring lasts."""
    assert fill(setup.rings[1], make_records(1100)) == 1024
    setup.drain.turn()
    assert setup.lost() == (0, 76)
    setup.drain.turn()
    assert setup.lost() == (0, 76)


def test_what_was_refused_while_there_was_no_flusher_is_counted_by_the_next_one(setup: Setup) -> None:
    """Once: the ring remembers how many were counted."""
    assert fill(setup.rings[1], make_records(1100)) == 1024
    setup.start()
    setup.drain.turn()
    assert setup.lost() == (0, 76)
    setup.start()
    setup.drain.turn()
    assert setup.lost() == (0, 76)


def _critical(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int | None]]:
    return [
        (record.message, getattr(record, "fields", {}).get("lost"))
        for record in caplog.records
        if record.levelname == "CRITICAL"
    ]


def test_what_is_lost_turn_by_turn_is_a_line_a_minute_that_adds_up(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    """The first at once, then the number of the last minute, and the rest at the end: never a line a turn."""
    drain = Drain(setup.rings, setup.spool, setup.folder / "none", setup.block, LOG, no_beat, TurnClock())
    setup.refuses = True
    for _ in range(2000):  # 100 seconds and more
        fill(setup.rings[0], make_records(20))
        drain.turn()
    setup.refuses = False
    drain.turn(is_last=True)
    detail, records = setup.lost()
    lines = _critical(caplog)
    told = {event: sum(lost or 0 for said, lost in lines if said == event) for event, _ in lines}
    assert told["usage detail is given up, sums stay exact"] == detail > 0
    assert records == told.get("usage records lost: a ring is full", 0)
    assert len(lines) <= 10


def test_a_disk_that_takes_and_refuses_in_turns_is_told_once_a_second(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    """And the last line says how it is."""
    caplog.set_level("WARNING")
    drain = Drain(setup.rings, setup.spool, setup.folder / "none", setup.block, LOG, no_beat, TurnClock())
    for turn in range(200):
        setup.refuses = turn % 2 == 0
        fill(setup.rings[0], make_records(1))
        drain.turn()
    for _ in range(50):
        drain.turn()
    said = [record.message for record in caplog.records]
    assert 2 <= len(said) <= 40
    assert said[-1] == "the disk takes the usage spool again"


def test_a_turn_says_that_it_lives_and_gives_up_one_file_at_most(tmp_path: Path) -> None:
    """However much there is to do: after each block, and within the making of sums."""
    ring, beats = make_ring(tmp_path, capacity=8192), [0]

    def beat() -> None:
        beats[0] += 1

    spool = Spool(USAGE, tmp_path / "spool", 1 << 30, beat)
    drain = Drain([ring], spool, tmp_path / "reserve", make_block(), LOG, beat, SystemClock())
    assert drain.has_taken_all
    spool._segment_bytes_max = 1000
    for _ in range(4):
        fill(ring, make_records(10))
        assert not drain.has_taken_all
        drain.turn()
    assert drain.has_taken_all
    assert beats[0] >= 4
    spool._bytes_max, before = 1, beats[0]
    drain.turn()
    assert [unit.is_sum for unit in spool._units] == [True, False, False, False]
    assert beats[0] > before


def test_what_a_failed_machine_left_in_a_ring_is_not_believed(setup: Setup) -> None:
    """A record without the id of its place goes into no sums; its position is left to the loader to count, once."""
    ring = setup.rings[0]
    fill(ring, make_records(1000))
    ring.view(ring.released)["request_id"][[7, 8, 999]] = 0
    setup.refuses = True
    setup.drain.turn()
    assert setup.drain._reserve is not None
    summed = sum(span.end - span.first for span in setup.drain._reserve.sums.spans)
    assert setup.drain._reserve.sums.requests == summed - 2
    setup.refuses = False
    setup.drain.turn()
    assert setup.spool.ends() == {0: ring.written}
    assert setup.lost() == (summed, 0)


def test_without_room_for_the_reserve_nothing_is_released(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Then the ring refuses in the end, and that is counted."""

    def no_room(_kind: object, _path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "Reserve", no_room)
    setup.start()
    setup.refuses = True
    fill(setup.rings[0], make_records(1000))
    setup.drain.turn()
    assert setup.drain.waiting == 1000
    assert fill(setup.rings[0], make_records(100)) == 24
    setup.drain.turn()
    assert setup.lost() == (0, 76)


def test_detail_beyond_the_bound_is_given_up_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Counted as lost detail and said once."""
    ring, block = make_ring(tmp_path), make_block()
    spool = Spool(USAGE, tmp_path / "spool", 8 * 20_000)
    drain = Drain([ring], spool, tmp_path / "reserve", block, LOG, no_beat, SystemClock())
    records = make_records(250)
    records["time_ns"], records["asset"], records["status"] = records["time_ns"][0], b"BTC", 200
    for _ in range(14):
        fill(ring, records)
        drain.turn()
    assert spool.share <= 1
    lost = block.read_counter(LOST_DETAIL)
    assert lost > 0
    assert spool.records == 14 * 250
    assert lost == sum(unit.records for unit in spool._units if unit.is_sum)
    assert [record.message for record in caplog.records] == ["usage detail is given up, sums stay exact"]
