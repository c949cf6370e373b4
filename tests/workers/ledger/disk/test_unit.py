"""workers/ledger/disk/unit.py"""

import errno
import os
from pathlib import Path

import pytest

from tests.workers.ledger.ledger_fixture import fill, make_records, make_ring, no_beat
from trinity.files import Durability, write_whole
from trinity.memory.usage_ring import UsageRing
from workers.ledger.disk import unit as module
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.unit import Unit, recover, set_aside, sums_unit
from workers.ledger.sums import Span, Sums, encode_sums
from workers.ledger.usage.usage_sums import sum_records
from workers.ledger.usage.usage_tables import USAGE


@pytest.fixture
def ring(tmp_path: Path) -> UsageRing:
    return make_ring(tmp_path, capacity=8192)


@pytest.fixture
def folder(tmp_path: Path, ring: UsageRing) -> Path:
    """Three closed segments of 100 records, in blocks of ten."""
    spool = Spool(USAGE, tmp_path / "spool", 8 * 6800)
    for _ in range(30):
        fill(ring, make_records(10))
        spool.append(ring, ring.view(ring.released))
    spool.close()
    return tmp_path / "spool"


def _sums(first: int, end: int, ring: int = 0) -> bytes:
    return encode_sums(Sums((Span(ring, first, end),), sum_records(make_records(end - first, ring, first))))


def test_a_start_reads_the_seals_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the blocks; it says that it lives after each file; what it found may be in the database already."""
    before, _, _ = recover(USAGE, folder, no_beat)
    monkeypatch.setattr(module, "read_blocks", lambda _kind, _data: pytest.fail("a whole segment was read"))
    beats: list[int] = []
    units, damaged, sequence = recover(USAGE, folder, lambda: beats.append(1))
    assert units == before
    assert [unit.records for unit in units] == [100, 100, 100]
    assert all(unit.keeps_bounds and unit.oldest_ns for unit in units)
    assert (damaged, sequence, len(beats)) == ([], 4, 3)


def test_a_segment_without_a_seal_is_read_once_and_sealed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer was killed; the next start reads as little as of the others."""
    path = min(folder.iterdir())
    path.write_bytes(path.read_bytes()[:-56])
    units, _, _ = recover(USAGE, folder, no_beat)
    assert [unit.records for unit in units] == [100, 100, 100]
    monkeypatch.setattr(module, "read_blocks", lambda _kind, _data: pytest.fail("a whole segment was read"))
    assert recover(USAGE, folder, no_beat)[0] == units


def test_a_block_that_is_damaged_hides_nothing_behind_it(folder: Path) -> None:
    """Of a segment without a seal as well: only what is behind the last block is cut off."""
    path = min(folder.iterdir())
    data = bytearray(path.read_bytes()[:-56])
    data[32 + 5] ^= 1
    path.write_bytes(data)
    units, _, _ = recover(USAGE, folder, no_beat)
    assert [unit.records for unit in units] == [100, 100, 100]


def test_damaged_files_are_set_aside_and_their_numbers_are_not_used_again(folder: Path) -> None:
    """Segment or sums: whoever wants to look finds them; empty ones are nothing."""
    (folder / "000000000002.seg").write_bytes(b"not a block" * 100)
    (folder / "000000000007.sum").write_bytes(b"not sums")
    (folder / "000000000009.seg").write_bytes(b"")
    units, damaged, sequence = recover(USAGE, folder, no_beat)
    assert [unit.sequence for unit in units] == [1, 3]
    assert [path.name for path in damaged] == ["000000000002.seg.bad", "000000000007.sum.bad"]
    assert damaged[0].read_bytes() == b"not a block" * 100
    assert sequence == 10
    assert [unit.sequence for unit in recover(USAGE, folder, no_beat)[0]] == [1, 3]
    assert recover(USAGE, folder, no_beat)[2] == 8


def test_what_sums_stand_for_is_in_no_other_file(folder: Path, ring: UsageRing) -> None:
    """Killed after the sums were renamed into place: the segment of their number, and one that joined them, go."""
    first = ring.written - 300
    write_whole(folder / "000000000001.sum", [_sums(first, first + 200)], Durability.SYNCED)
    units, damaged, _ = recover(USAGE, folder, no_beat)
    assert [(unit.path.name, unit.records) for unit in units] == [("000000000001.sum", 200), ("000000000003.seg", 100)]
    assert sorted(path.name for path in folder.iterdir()) == ["000000000001.sum", "000000000003.seg"]
    assert damaged == []


def test_a_file_of_sums_is_known_by_its_head(tmp_path: Path) -> None:
    """Positions, requests, unit and age; private, and moved out of the way under a name of its own."""
    path = tmp_path / "000000000001.sum"
    write_whole(path, [_sums(10, 60, ring=3)], Durability.SYNCED)
    unit = sums_unit(path)
    assert unit.spans == {3: Span(3, 10, 60)}
    assert (unit.is_sum, unit.records, unit.unit_minutes, unit.bytes) == (True, 50, 1, path.stat().st_size)
    assert unit.oldest_ns > 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert set_aside(path).name == "000000000001.sum.bad"
    assert Unit(1, path).records == 0


def test_a_segment_that_the_disk_will_not_cut_is_taken_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torn, without a seal, and each write to it fails: its whole records count, now and at the next start."""

    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EIO, "the disk refuses")

    path = folder / "000000000003.seg"
    data = path.read_bytes()
    path.write_bytes(data[: 9 * (32 + 640) + 32 + 5 * 64 + 7])
    torn = path.read_bytes()
    for name in ("pwrite", "ftruncate"):
        monkeypatch.setattr(os, name, refuse)
    for _ in range(2):
        units, damaged, _ = recover(USAGE, folder, no_beat)
        assert [unit.records for unit in units] == [100, 100, 95]
        assert damaged == []
        assert path.read_bytes() == torn
    monkeypatch.undo()
    cut = recover(USAGE, folder, no_beat)[0]
    assert [unit.spans for unit in cut] == [unit.spans for unit in units]
    assert cut[2].bytes == path.stat().st_size
