"""workers/ledger/disk/spool.py"""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.ledger.ledger_fixture import DAY_NS, fill, in_order, make_records, make_ring
from trinity.limits import DISK_RESERVE_SHARE, SEGMENT_BYTES_MAX
from trinity.memory.usage_ring import UsageRing
from workers.ledger.disk.block import HEADER_BYTES, read_blocks
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.unit import Unit, read_segment
from workers.ledger.sums import Span, Sums, decode_sums
from workers.ledger.usage.usage_sums import merge_groups, sum_records
from workers.ledger.usage.usage_tables import USAGE

BIG = 1 << 30

RECORD_BYTES = USAGE.record_dtype.itemsize


def _put(spool: Spool, ring: UsageRing, count: int, seed: int = 1) -> None:
    assert fill(ring, make_records(count, seed=seed)) == count
    while len(part := ring.view(ring.released)):
        spool.append(ring, part)


def _ids(unit: Unit) -> list[int]:
    blocks = read_blocks(USAGE, read_segment(unit.path))
    return [int(record["request_id"]) & 0xFFFF_FFFF for block in blocks for record in block.records]


def _units(spool: Spool) -> list[Unit]:
    found = []
    while (unit := spool.take()) is not None:
        found.append(unit)
        spool.remove(unit)
    return found


@pytest.fixture
def ring(tmp_path: Path) -> UsageRing:
    return make_ring(tmp_path, capacity=8192)


@pytest.fixture
def short_files(ring: UsageRing) -> Iterator[None]:
    """While this holds no file grows beyond 64 KB: the disk refuses as a full one does. (The ring is there already.)"""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_the_loader_gets_files_in_order_and_closes_the_open_one_when_there_is_no_other(
    tmp_path: Path, ring: UsageRing
) -> None:
    """A file that was taken never grows; what comes later goes into the next."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    assert spool.take() is None
    _put(spool, ring, 5)
    assert not spool.has_closed()
    first = spool.take()
    assert first is not None
    _put(spool, ring, 3)
    assert spool.take() is first, "until it is removed"
    assert spool.records == 8
    spool.remove(first)
    second = spool.take()
    assert second is not None
    assert second.records == 3
    assert not first.path.exists()


def test_a_segment_is_closed_when_it_is_full(tmp_path: Path, ring: UsageRing) -> None:
    """An eighth of the bound, or 32 MB: one transaction stays one that a database likes."""
    spool = Spool(USAGE, tmp_path / "spool", 8 * (HEADER_BYTES + 100 * RECORD_BYTES))
    for _ in range(4):
        _put(spool, ring, 60)
    assert spool.has_closed()
    assert [unit.records for unit in _units(spool)] == [60, 60, 60, 60]


def test_records_are_released_with_their_block(tmp_path: Path, ring: UsageRing) -> None:
    """Never before, and never later than the loader could take them."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    _put(spool, ring, 100)
    assert ring.released == ring.written
    assert spool.ends() == {0: ring.written}


@given(cut=st.integers(0, 3 * HEADER_BYTES + 30 * RECORD_BYTES))
@settings(max_examples=40)
def test_a_start_takes_over_what_is_whole(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Whatever of the newest segment reached the disk, its whole records are there, and nothing else."""
    folder = tmp_path_factory.mktemp("torn")
    ring = make_ring(folder)
    start = ring.released & 0xFFFF_FFFF
    spool = Spool(USAGE, folder / "spool", BIG)
    for _ in range(3):
        _put(spool, ring, 10)
    (path,) = (folder / "spool").iterdir()
    with path.open("r+b") as file:
        file.truncate(cut)
    again = Spool(USAGE, folder / "spool", BIG)
    whole = [i for i in range(30) if (i // 10 + 1) * HEADER_BYTES + (i + 1) * RECORD_BYTES <= cut]
    assert [number for unit in again._units for number in _ids(unit)] == [start + i for i in whole]
    assert again.records == len(whole)
    assert again.ends() == ({0: (ring.written & ~0xFFFF_FFFF) + start + len(whole)} if whole else {})


def test_a_start_goes_on_behind_what_is_there(tmp_path: Path, ring: UsageRing) -> None:
    """Files keep their order, new ones come after them, drafts of a killed predecessor are removed."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    _put(spool, ring, 5)
    spool.append_sums(Sums((Span(1, 10, 20),), sum_records(make_records(10))), lambda: None)
    (tmp_path / "spool" / "000000000009.new").write_bytes(b"half")
    again = Spool(USAGE, tmp_path / "spool", BIG)
    _put(again, ring, 7)
    assert again.ends() == {0: ring.written, 1: 20}
    assert [(unit.is_sum, unit.records) for unit in _units(again)] == [(False, 5), (True, 10), (False, 7)]
    assert list((tmp_path / "spool").iterdir()) == []


def test_beyond_the_bound_the_oldest_detail_is_given_up_and_its_sums_are_kept(tmp_path: Path, ring: UsageRing) -> None:
    """Segments become one file of sums at their place; the one in the loader's hand and the open one stay."""
    spool = Spool(USAGE, tmp_path / "spool", 8 * (HEADER_BYTES + 500 * RECORD_BYTES))
    records = make_records(500)
    records["time_ns"], records["asset"], records["status"] = records["time_ns"][0], b"BTC", 200
    for _ in range(10):
        fill(ring, records)
        spool.append(ring, ring.view(ring.released))
    in_hand = spool.take()
    assert in_hand is not None
    lost = 0
    while (given_up := spool.give_up_detail()) > 0:
        lost += given_up
    assert spool.share <= 1
    assert lost > 0
    assert not in_hand.is_sum
    units = _units(spool)
    assert [unit.is_sum for unit in units] == [False, True] + [False] * (9 - lost // 500)
    assert sum(unit.records for unit in units) == 5000


def _give_up_all(spool: Spool) -> None:
    """As many steps as there are."""
    before = None
    while (now := [(unit.path, unit.unit_minutes, unit.spans) for unit in spool._units]) != before:
        before = now
        spool.give_up_detail()


def _sums_of(units: list[Unit]) -> list[Sums]:
    found = [decode_sums(USAGE, unit.path.read_bytes()) for unit in units if unit.is_sum]
    return [sums for sums in found if sums is not None]


def test_with_very_many_keys_the_bound_is_kept_and_the_sums_are_exact(tmp_path: Path, ring: UsageRing) -> None:
    """No two records are alike: each step gains room, one segment a step, and nothing is lost of the sums."""
    spool = Spool(USAGE, tmp_path / "spool", 8 * 50_000)
    parts = []
    for seed in range(30):
        records = make_records(700, keys=1 << 30, seed=seed)
        assert fill(ring, records) == 700
        while len(part := ring.view(ring.released)):
            spool.append(ring, part)
        parts.append(records)
        for _ in range(3):  # turns come more often than segments
            before = spool.bytes
            assert spool.give_up_detail() <= 700
            assert spool.bytes <= before
    assert spool.share <= 1
    units = spool._units
    assert spool.records == 30 * 700
    given_up = sum(unit.records for unit in units if unit.is_sum)
    expected = sum_records(np.concatenate(parts)[:given_up])
    assert given_up > 0
    found = merge_groups([sums.groups for sums in _sums_of(units)])
    assert in_order(found) == in_order(expected)


def test_what_the_database_may_have_keeps_its_boundaries(tmp_path: Path, ring: UsageRing) -> None:
    """A file that the loader had in hand, and all that a start found: they become sums, but join no other file."""
    spool = Spool(USAGE, tmp_path / "spool", 8 * 7000)
    for seed in range(4):
        _put(spool, ring, 100, seed)
    tried = spool.take()
    assert tried is not None
    spool.put_back(tried)
    spool._bytes_max = 1
    _give_up_all(spool)
    assert [(unit.is_sum, unit.records) for unit in spool._units] == [(True, 100), (True, 200), (False, 100)]
    again = Spool(USAGE, tmp_path / "spool", 8 * 7000)
    for seed in range(3):
        _put(again, ring, 100, seed)
    again._bytes_max = 1
    _give_up_all(again)
    assert [unit.records for unit in again._units] == [100, 200, 100, 200, 100]
    assert [unit.is_sum for unit in again._units] == [True, True, True, True, False]


def test_sums_across_a_jump_of_the_positions_stay_apart(tmp_path: Path, ring: UsageRing) -> None:
    """Positions that were never used are no records."""
    spool = Spool(USAGE, tmp_path / "spool", 8 * 7000)
    _put(spool, ring, 100)
    ring.move_on(0)
    for _ in range(2):
        _put(spool, ring, 100)
    spool._bytes_max = 1
    _give_up_all(spool)
    assert [unit.records for unit in spool._units] == [100, 100, 100]


def test_when_no_segment_is_left_minutes_become_hours_and_hours_days(tmp_path: Path, ring: UsageRing) -> None:
    """The sums of the days stay exact whatever happens."""
    spool = Spool(USAGE, tmp_path / "spool", 8 * 7000)
    every = make_records(800, keys=1)
    every["time_ns"] += np.arange(len(every)) * (2 * DAY_NS // len(every))
    sizes, units = [], set()
    for at in range(0, len(every), 100):
        fill(ring, every[at : at + 100])
        spool.append(ring, ring.view(ring.released))
    spool.close()
    spool._bytes_max = 1
    for _ in range(40):
        spool.give_up_detail()
        sizes.append(spool.bytes)
        units.update(unit.unit_minutes for unit in spool._units)
    assert sizes == sorted(sizes, reverse=True)
    assert units == {0, 1, 60, 1440}
    (only,) = _sums_of(spool._units)
    expected = merge_groups([sum_records(every)], 1440)
    assert in_order(only.groups) == in_order(expected)


def test_the_disk_s_free_room_bounds_the_spool_as_well(
    tmp_path: Path, ring: UsageRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves a reserve to the database beside it, and keeps a little for itself on the fullest disk."""
    disk = {"free": 100 << 30}
    real = os.statvfs(tmp_path)

    def statvfs(_path: Path) -> os.statvfs_result:
        total = 30 << 30  # of which five per cent are more than one gigabyte
        values = list(real)
        values[0:2], values[2], values[4] = [4096, 4096], total // 4096, disk["free"] // 4096
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", statvfs)
    spool = Spool(USAGE, tmp_path / "spool", 10 << 30)
    _put(spool, ring, 100)
    assert spool.bound == 10 << 30
    disk["free"] = 4 << 30
    reserve = int((30 << 30) * DISK_RESERVE_SHARE)
    assert spool.bound == spool.bytes + (4 << 30) - reserve
    assert spool.share == spool.bytes / spool.bound
    disk["free"] = 0
    assert spool.bound == 4 * SEGMENT_BYTES_MAX


def test_the_folder_is_its_owner_s_alone(tmp_path: Path, ring: UsageRing) -> None:
    """Folder, segments and sums."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    _put(spool, ring, 5)
    spool.append_sums(Sums((Span(1, 10, 20),), sum_records(make_records(10))), lambda: None)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "spool").iterdir()}
    assert ((tmp_path / "spool").stat().st_mode & 0o777, modes) == (0o700, {0o600})


def test_a_file_that_is_set_aside_is_no_longer_in_the_way(tmp_path: Path, ring: UsageRing) -> None:
    """The next one comes; what was set aside stays on the disk."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    _put(spool, ring, 5)
    unit = spool.take()
    assert unit is not None
    assert spool.set_aside(unit).name == "000000000001.seg.bad"
    _put(spool, ring, 6)
    assert [unit.records for unit in _units(spool)] == [6]
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["000000000001.seg.bad"]


def test_a_predecessor_killed_while_it_gave_up_detail_left_one_of_the_two(tmp_path: Path, ring: UsageRing) -> None:
    """The sums were renamed into place, the segment was not removed yet: the sums count."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    _put(spool, ring, 30)
    unit = spool.take()
    assert unit is not None
    kept = unit.path.read_bytes()
    spool.put_back(unit)
    spool._bytes_max = 1
    assert spool.give_up_detail() == 30
    unit.path.with_suffix(".seg").write_bytes(kept)
    (only,) = Spool(USAGE, tmp_path / "spool", BIG)._units
    sums = decode_sums(USAGE, only.path.read_bytes())
    assert sums is not None
    assert (only.is_sum, only.records, sums.requests) == (True, 30, 30)
    assert len(list((tmp_path / "spool").iterdir())) == 1


@pytest.mark.usefixtures("short_files")
def test_a_disk_that_refuses_leaves_everything_as_it_was(tmp_path: Path, ring: UsageRing) -> None:
    """The block is not there, the ring keeps its records; when the disk takes it, all is there once."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    _put(spool, ring, 900)
    released, start = ring.released, ring.released - 900
    fill(ring, make_records(900, seed=2))
    with pytest.raises(OSError, match=r"part of the block|too large"):
        spool.append(ring, ring.view(released)[:900])
    assert ring.released == released
    assert spool.records == 900
    spool.take()
    spool.append(ring, ring.view(released)[:900])
    ids = [number for unit in Spool(USAGE, tmp_path / "spool", BIG)._units for number in _ids(unit)]
    assert ids == [(start + i) & 0xFFFF_FFFF for i in range(1800)]


@pytest.mark.usefixtures("short_files")
def test_an_empty_segment_does_not_stay(tmp_path: Path, ring: UsageRing) -> None:
    """The first block of a segment that is refused leaves no file behind."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    fill(ring, make_records(2000))
    with pytest.raises(OSError, match=r"part of the block|too large"):
        spool.append(ring, ring.view(ring.released)[:2000])
    assert list((tmp_path / "spool").iterdir()) == []
    assert spool.take() is None


def test_what_stays_is_synced(tmp_path: Path, ring: UsageRing) -> None:
    """At the second look: what the loader took in the meantime needs none, and nothing is synced twice."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    _put(spool, ring, 5)
    spool.sync()
    unit = spool._units[0]
    assert (unit.unsynced, unit.synced_bytes) == (True, 0)
    spool.sync()
    assert (unit.unsynced, unit.synced_bytes) == (False, unit.bytes)
    spool.remove(unit)
    spool.sync()


def test_the_age_of_the_oldest_record_is_known(tmp_path: Path, ring: UsageRing) -> None:
    """Also after a start; nothing there is no age."""
    spool = Spool(USAGE, tmp_path / "spool", BIG)
    assert spool.oldest_ns is None
    records = make_records(3)
    fill(ring, records)
    spool.append(ring, ring.view(ring.released))
    assert spool.oldest_ns == Spool(USAGE, tmp_path / "spool", BIG).oldest_ns == int(records["time_ns"][0])
