"""trinity/memory/record_ring.py: with a kind of its own, beside that of usage (test_usage_ring.py)."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import LayoutError
from trinity.memory.atomics import store_release
from trinity.memory.record_ring import HEADER_WORDS, JUMP_MIN, POSITION_BITS, WRITTEN, RecordRing
from trinity.memory.usage_ring import UsageRing

DELIVERY_DTYPE = np.dtype(
    [
        ("time_ns", np.int64),
        ("delivery_id", np.uint64),
        ("target", "S64"),
        ("sent_bytes", np.uint64),
        ("attempts", np.uint64),
    ]
)


class DeliveryRing(RecordRing):
    """Records of 96 bytes: one cache line and a half."""

    magic = int.from_bytes(b"TESTDELV", "little")
    record_dtype = DELIVERY_DTYPE


def append(ring: RecordRing, time_ns: int) -> None:
    """As a kind's writer does, in Python."""
    at, words = ring.written, ring.record_dtype.itemsize // 8
    record = np.zeros(1, dtype=ring.record_dtype)
    record["time_ns"], record["delivery_id"], record["attempts"] = time_ns, ring.number << POSITION_BITS | at, 3
    place = HEADER_WORDS + at % ring.capacity * words
    ring.words[place : place + words] = record.view(np.uint64)
    store_release(ring.words, WRITTEN, at + 1)


def open_ring(path: Path, wall_seconds: int = 1000) -> DeliveryRing:
    return DeliveryRing.open(path, 5, 64, wall_seconds)


@pytest.mark.uncompiled
@given(st.lists(st.integers(1, 64), max_size=12))
def test_every_record_of_another_kind_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int]
) -> None:
    """Over the ring's end, in views and in copies, with the id of its place."""
    ring = open_ring(tmp_path_factory.mktemp("ring") / "ring-5")
    sent = 0
    seen: list[int] = []
    for batch in batches:
        for _ in range(batch):
            append(ring, sent)
            sent += 1
        first, copied = ring.released, ring.read(ring.released, batch)
        while len(part := ring.view(ring.released)):
            seen += part["time_ns"].tolist()
            ring.release(ring.released + len(part))
        assert copied["time_ns"].tolist() == seen[-batch:]
        assert copied["delivery_id"].tolist() == [5 << POSITION_BITS | first + i for i in range(batch)]
    assert seen == list(range(sent))


@pytest.mark.uncompiled
def test_a_ring_goes_on_where_it_was_and_moves_on_beyond_it(tmp_path: Path) -> None:
    """Of whatever kind: reopened it has its records, moved on its positions are new ones."""
    append(open_ring(tmp_path / "ring-5"), 42)
    again = open_ring(tmp_path / "ring-5", 1001)
    assert again.read(again.released, 1)["attempts"].tolist() == [3]
    before = again.written
    again.release(before)
    again.move_on(1000)
    assert again.released == again.written >= before + JUMP_MIN


@pytest.mark.parametrize(("made", "opened"), [(DeliveryRing, UsageRing), (UsageRing, DeliveryRing)])
def test_a_ring_of_one_kind_is_refused_as_one_of_another(
    tmp_path: Path, made: type[RecordRing], opened: type[RecordRing]
) -> None:
    """Its records would be read as something that they are not."""
    made.open(tmp_path / "ring-0", 0, 64, 1000)
    with pytest.raises(LayoutError, match=": magic is"):
        opened.open(tmp_path / "ring-0", 0, 64, 1000)


@pytest.mark.parametrize(("kind", "record_bytes"), [(DeliveryRing, 96), (UsageRing, 64)])
def test_a_ring_s_file_has_the_room_of_its_records(tmp_path: Path, kind: type[RecordRing], record_bytes: int) -> None:
    """Reserved when it is made; words in no file are as many."""
    ring = kind.open(tmp_path / "ring-0", 0, 64, 1000)
    assert ring.path.stat().st_size == 64 + 64 * record_bytes
    assert (ring.words == kind.private_words(0, 64, 1000)).all()


def test_the_file_of_a_usage_ring_stays_as_it_is(tmp_path: Path) -> None:
    """An upgraded node finds the records of the version before: magic, version and places are part of the format."""
    ring = UsageRing.open(tmp_path / "ring-3", 3, 64, 1000)
    position = (1000 << 24).to_bytes(8, "little")
    small = [(1).to_bytes(8, "little"), (64).to_bytes(8, "little"), (3).to_bytes(8, "little")]
    assert ring.path.read_bytes()[:64] == b"".join([b"TRINITYU", *small, position, position, bytes(16)])
