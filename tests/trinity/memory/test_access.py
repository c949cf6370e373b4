"""trinity/memory/access.py"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from trinity.clock import SystemClock
from trinity.errors import NodeRunningError
from trinity.memory.access import LIMITS_FILE, AccessMemory, bytes_needed, read_boot_id
from trinity.memory.address_table import AddressTable
from trinity.memory.node import name_of
from trinity.vocabulary import KeyState

PARTS = ("keys", "addresses", "blocks")


@pytest.fixture
def node() -> Iterator[str]:
    name = f"t-{uuid.uuid4().hex[:12]}"
    yield name
    for part in PARTS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_file(name, part))


def _file(node: str, part: str) -> Path:
    return Path("/dev/shm") / name_of(node, part)


def test_a_node_gets_its_tables_and_leaves_only_its_limits(node: str, tmp_path: Path) -> None:
    """Three segments that go with the node, readable by nobody else, and one file that stays."""
    access = AccessMemory.create(node, tmp_path, 100, SystemClock())
    assert all(_file(node, part).stat().st_mode & 0o077 == 0 for part in PARTS)
    assert access.keys.write(100, bytes(range(32)), KeyState.ACTIVE, 1, 1, 1, False)
    access.unlink()
    assert not any(_file(node, part).exists() for part in PARTS)
    assert (tmp_path / LIMITS_FILE).exists()
    AccessMemory.create(node, tmp_path, 100, SystemClock()).unlink()


def test_a_failure_on_the_way_leaves_no_segment_behind(
    node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the second segment belongs to a living node, the first is removed again."""

    def owned(name: str) -> AddressTable:
        raise NodeRunningError(name, 1)

    monkeypatch.setattr(AddressTable, "create", owned)
    with pytest.raises(NodeRunningError):
        AccessMemory.create(node, tmp_path, 100, SystemClock())
    assert not any(_file(node, part).exists() for part in PARTS)


def test_a_million_keys_fit_into_128_megabytes() -> None:
    """All shared memory of who may ask; 64 MB more on the disk."""
    shared, on_disk = bytes_needed(1_000_000)
    assert shared < 128_000_000
    assert on_disk < 65_000_000


def test_the_boot_id_stays_the_same_until_the_next_boot() -> None:
    """16 bytes."""
    assert len(read_boot_id()) == 16
    assert read_boot_id() == read_boot_id()
