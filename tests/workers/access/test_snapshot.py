"""workers/access/snapshot.py"""

import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import SnapshotError
from workers.access.rows import END_NEVER, KEY_DTYPE, BlockRow, PlanRow
from workers.access.snapshot import Snapshot, load, save


def make_snapshot(keys: int = 3) -> Snapshot:
    """Some keys, two plans, one block."""
    rows = np.zeros(keys, dtype=KEY_DTYPE)
    rows["id"] = np.arange(1, keys + 1)
    rows["ends_at_us"] = END_NEVER
    rows["digest"] = np.frombuffer(hashlib.sha256(b"key").digest(), dtype=np.uint8)
    plans = (PlanRow(1, 10, 20, 1000, False), PlanRow(2, 0, 0, 0, True))
    return Snapshot(1_700_000_000_000_000, rows, plans, (BlockRow("192.0.2.0/24", END_NEVER),))


def same(one: Snapshot | None, other: Snapshot | None) -> bool:
    """Equal in every part."""
    assert one is not None
    assert other is not None
    return one._replace(keys=other.keys) == other and one.keys.tobytes() == other.keys.tobytes()


@pytest.mark.parametrize("keys", [0, 1, 1000])
def test_what_was_saved_is_loaded(tmp_path: Path, keys: int) -> None:
    """Keys, plans, blocks and the time come back, for the owner alone."""
    path = tmp_path / "access.snapshot"
    save(path, make_snapshot(keys))
    assert same(load(path), make_snapshot(keys))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["access.snapshot"]


def test_a_new_snapshot_takes_the_place_of_the_old_one_also_after_a_torn_draft(tmp_path: Path) -> None:
    """A draft that a dead process left, readable by all, is overwritten."""
    path = tmp_path / "access.snapshot"
    save(path, make_snapshot(5))
    draft = tmp_path / "access.snapshot.new"
    draft.write_bytes(b"torn" * 10_000)
    draft.chmod(0o644)
    save(path, make_snapshot(2))
    assert same(load(path), make_snapshot(2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_snapshot_is_no_error(tmp_path: Path) -> None:
    """The first start has none."""
    assert load(tmp_path / "access.snapshot") is None


def test_a_folder_in_its_place_is_reported(tmp_path: Path) -> None:
    """Whatever cannot be read is a broken snapshot."""
    with pytest.raises(SnapshotError):
        load(tmp_path)


@given(st.data())
def test_any_changed_byte_and_any_cut_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A snapshot is whole or it is none."""
    path = tmp_path_factory.getbasetemp() / "changed.snapshot"
    save(path, make_snapshot())
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    path.write_bytes(raw)
    with pytest.raises(SnapshotError):
        load(path)


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_a_right_checksum_over_nonsense_is_no_snapshot(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, head_bytes: int
) -> None:
    """What a checksum cannot see is found when it is decoded."""
    raw = b"TRINITYA" + (1).to_bytes(4, "little") + head_bytes.to_bytes(4, "little") + body
    path = tmp_path_factory.getbasetemp() / "nonsense.snapshot"
    path.write_bytes(raw + hashlib.sha256(raw).digest())
    with pytest.raises(SnapshotError):
        load(path)


def test_a_snapshot_with_a_wrong_block_is_broken(tmp_path: Path) -> None:
    """Networks are checked like the rest."""
    path = tmp_path / "access.snapshot"
    with pytest.raises(ValueError, match="nonsense"):
        BlockRow("nonsense", END_NEVER)
    block = BlockRow("192.0.2.0/24", END_NEVER)
    save(path, make_snapshot()._replace(blocks=(block,)))
    raw = path.read_bytes()[:-32].replace(b"192.0.2.0/24", b"192.0.2.9/24")
    path.write_bytes(raw + hashlib.sha256(raw).digest())
    with pytest.raises(SnapshotError):
        load(path)
