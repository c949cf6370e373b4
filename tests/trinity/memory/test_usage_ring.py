"""trinity/memory/usage_ring.py"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import LayoutError
from trinity.memory.record_ring import JUMP_MIN, REFUSED, RELEASED, WRITTEN
from trinity.memory.usage_ring import UsageRing, append_record, next_request_id

ADDRESS = np.frombuffer(bytes(10) + b"\xff\xff\x7f\x00\x00\x01", dtype=np.uint64)
BTC = np.frombuffer(b"BTC".ljust(16, b"\0"), dtype=np.uint64)


def append(ring: UsageRing, time_ns: int = 1, latency_ns: int = 0, code: int = 0) -> bool:
    return append_record(ring.words, time_ns, ADDRESS, BTC, latency_ns, 7, 200, 1, 0, 1, code)


@pytest.fixture
def ring(tmp_path: Path) -> UsageRing:
    return UsageRing.open(tmp_path / "ring-3", 3, 1024, 1_700_000_000)


@pytest.mark.uncompiled
def test_a_record_is_read_as_it_was_written(ring: UsageRing) -> None:
    """Every field arrives, and the id shown to the client before is the record's id."""
    shown = next_request_id(ring.words)
    assert append(ring, time_ns=1_800_000_000_000_000_001, latency_ns=1 << 40, code=27)
    (record,) = ring.read(ring.released, 10)
    assert record["time_ns"] == 1_800_000_000_000_000_001
    assert record["request_id"] == shown
    assert shown >> 56 == 3
    assert bytes(record["address"]) == ADDRESS.tobytes()
    assert record["asset"] == b"BTC"
    assert record["latency_ns"] == 2**32 - 1, "a longer time is shown as the longest"
    numbers = [int(record[name]) for name in ("key_id", "status", "assets", "protocol", "source", "code")]
    assert numbers == [7, 200, 1, 0, 1, 27]


@pytest.mark.uncompiled
def test_a_full_ring_refuses_and_counts_instead_of_overwriting(ring: UsageRing) -> None:
    """What the flusher has not taken over is never lost to a newer record."""
    for time_ns in range(1024):
        assert append(ring, time_ns)
    assert not append(ring)
    assert ring.refused == int(ring.words[REFUSED]) == 1
    assert [int(r["time_ns"]) for r in ring.read(ring.released, 3)] == [0, 1, 2]
    ring.release(ring.released + 1)
    assert append(ring)


@pytest.mark.uncompiled
@given(st.lists(st.integers(1, 700), max_size=12))
def test_every_record_is_read_once_whatever_the_batches(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int]
) -> None:
    """Over many turns of the ring, records come out in order, none twice, none missing."""
    ring = UsageRing.open(tmp_path_factory.mktemp("ring") / "ring-0", 0, 1024, 1)
    sent = 0
    seen: list[int] = []
    for batch in batches:
        for _ in range(batch):
            assert append(ring, sent)
            sent += 1
        records = ring.read(ring.released, batch)
        seen += [int(record["time_ns"]) for record in records]
        ring.release(ring.released + len(records))
    assert seen == list(range(sent))


@pytest.mark.uncompiled
def test_a_view_shows_the_records_up_to_the_end_of_the_ring(ring: UsageRing) -> None:
    """Two views make a whole batch where it goes over the ring's end; none is copied."""
    for time_ns in range(1500):
        append(ring, time_ns)
        ring.release(ring.written - min(time_ns, 900))
    start = ring.released
    first = ring.view(start)
    second = ring.view(start + len(first))
    assert len(first) > 0
    assert len(second) > 0
    assert [*first["time_ns"], *second["time_ns"]] == list(range(600, 1500))
    assert len(ring.view(ring.written)) == 0
    assert np.shares_memory(first, ring.words)


def test_positions_go_on_after_a_restart_and_never_come_back(tmp_path: Path) -> None:
    """A reopened ring continues; one made anew a second later starts beyond everything that it could have written."""
    path = tmp_path / "ring-0"
    first = UsageRing.open(path, 0, 1024, 1000)
    append(first)
    assert UsageRing.open(path, 0, 2048, 1001).written == first.written, "the existing file counts"
    path.unlink()
    assert UsageRing.open(path, 0, 1024, 1001).written - first.written >= 1 << 23


def test_an_older_copy_of_a_ring_moves_on_beyond_all_that_the_newer_one_wrote(tmp_path: Path) -> None:
    """So no request id comes twice; the jump is always wide enough to be told from a loss."""
    path, copy = tmp_path / "ring-0", tmp_path / "copy"
    ring = UsageRing.open(path, 0, 1024, 1000)
    copy.write_bytes(path.read_bytes())
    for _ in range(100):
        append(ring)
    copy.rename(path)
    again = UsageRing.open(path, 0, 1024, 1001)
    again.move_on(1001)
    assert again.released == again.written >= ring.written + JUMP_MIN
    shown = next_request_id(again.words)
    assert append(again)
    assert [int(record["request_id"]) for record in again.read(again.released, 1)] == [shown]
    before = again.written
    again.release(before)
    again.move_on(1001)
    assert again.written - before >= JUMP_MIN, "a second start within one second, or with a clock set back"


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("size", lambda data: b""),
        ("size", lambda data: data[:40]),
        ("size", lambda data: data[:-1]),
        ("size", lambda data: data + b"x"),
        ("magic", lambda data: b"x" + data[1:]),
        ("ring", lambda data: data[:24] + b"\x07" + data[25:]),
        ("number of waiting records", lambda data: data[:40] + b"\x01" + data[41:]),
        ("number of waiting records", lambda data: data[:34] + b"\x01" + data[35:]),
    ],
)
def test_a_file_that_is_no_whole_ring_is_refused(tmp_path: Path, what: str, damage: Callable[[bytes], bytes]) -> None:
    """Truncated, foreign or with a header that cannot be: it is never mapped."""
    path = tmp_path / "ring-0"
    UsageRing.open(path, 0, 1024, 0)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LayoutError, match=f": {what} is"):
        UsageRing.open(path, 0, 1024, 0)


def test_a_ring_is_its_owner_s_alone_and_remembers_what_was_counted(ring: UsageRing) -> None:
    """It holds addresses; a successor of the flusher counts only what was refused since."""
    assert ring.path.stat().st_mode & 0o777 == 0o600
    assert ring.counted == 0
    ring.count_refused(5)
    assert UsageRing.open(ring.path, 3, 1024, 0).counted == 5
    assert int(ring.words[RELEASED]) == int(ring.words[WRITTEN])


def test_records_survive_the_death_of_their_writer(ring: UsageRing) -> None:
    """SIGKILL loses nothing that was published: the file has it."""
    child = os.fork()
    if child == 0:
        append(ring, time_ns=42)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    again = UsageRing.open(ring.path, 3, 1024, 0)
    assert again.read(again.released, 1)["time_ns"] == [42]


def test_another_layout_is_refused_by_name(tmp_path: Path) -> None:
    """A file of an unknown version is not read as records."""
    ring = UsageRing.open(tmp_path / "ring-0", 0, 1024, 1)
    ring.words[1] = 99
    with pytest.raises(LayoutError, match="layout version"):
        UsageRing.open(tmp_path / "ring-0", 0, 1024, 1)
