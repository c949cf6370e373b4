"""trinity/node/data_dir.py"""

import logging
import os
import signal
from pathlib import Path

import pytest

from trinity.errors import ConfigError, DataDirTakenError
from trinity.memory.usage_ring import UsageRing
from trinity.node import data_dir as module
from trinity.node.data_dir import claim_data_dir, is_claimed, node_uuid, open_rings

LOG = logging.getLogger("tests.data_dir")


def test_two_nodes_cannot_share_a_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told what to do; when the first has ended, the directory is free."""
    monkeypatch.setattr(module, "_CLAIM_TRIES", 2)
    folder = tmp_path / "made" / "here"
    refused = pytest.raises(DataDirTakenError, match="another TRINITY_DATA_DIR")
    with claim_data_dir(folder), refused, claim_data_dir(folder):
        pass
    with claim_data_dir(tmp_path / "made" / "here"):
        pass


def test_a_killed_node_leaves_its_directory_free(tmp_path: Path) -> None:
    """The lock ends with its last holder, also by SIGKILL."""
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        with claim_data_dir(tmp_path):
            os.write(write_fd, b"x")
            signal.pause()
    os.read(read_fd, 1)
    assert is_claimed(tmp_path)
    os.kill(child, signal.SIGKILL)
    with claim_data_dir(tmp_path):
        pass
    assert not is_claimed(tmp_path)
    os.waitpid(child, 0)
    os.close(read_fd)
    os.close(write_fd)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in its place is a wrong setting, not a crash."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="TRINITY_DATA_DIR"), claim_data_dir(tmp_path / "file"):
        pass


def test_a_node_keeps_its_uuid(tmp_path: Path) -> None:
    """Made once, read ever after; another directory is another node."""
    first = node_uuid(tmp_path)
    assert node_uuid(tmp_path) == first
    (tmp_path / "other").mkdir()
    assert node_uuid(tmp_path / "other") != first


def test_a_damaged_uuid_is_not_replaced_in_silence(tmp_path: Path) -> None:
    """Another identity would load the same records a second time."""
    (tmp_path / "node-uuid").write_bytes(b"\xff\x00 nonsense")
    with pytest.raises(ConfigError, match="node-uuid"):
        node_uuid(tmp_path)


def test_workers_have_their_rings_and_former_workers_theirs(tmp_path: Path) -> None:
    """With fewer workers than before, the rings of the others are still there to be drained."""
    assert [ring.number for ring in open_rings(UsageRing, tmp_path, 3, 1024, 1, LOG)] == [0, 1, 2]
    (tmp_path / "usage" / "ring-1.new").write_text("a draft of a start that was killed")
    assert [ring.number for ring in open_rings(UsageRing, tmp_path, 1, 2048, 2, LOG)] == [0, 1, 2]
    assert [ring.number for ring in open_rings(UsageRing, tmp_path, 4, 1024, 3, LOG)] == [0, 1, 2, 3]


def test_no_room_for_the_rings_is_said_with_what_they_need(tmp_path: Path) -> None:
    """Nothing starts without its ledger."""
    (tmp_path / "usage").write_text("")
    with pytest.raises(ConfigError, match=r"usage rings need 64 MB"):
        open_rings(UsageRing, tmp_path, 2, 1 << 19, 1, LOG)


@pytest.mark.parametrize("content", [b"", b"foreign" * 100])
def test_a_file_that_is_no_ring_is_set_aside_loudly(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The node starts with a new one, and what stood there can be looked at."""
    (tmp_path / "usage").mkdir()
    (tmp_path / "usage" / "ring-0").write_bytes(content)
    (ring,) = open_rings(UsageRing, tmp_path, 1, 1024, 77, LOG)
    assert ring.written == 77 << 24
    assert (tmp_path / "usage" / "ring-0.77.unreadable").read_bytes() == content
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert [found.number for found in open_rings(UsageRing, tmp_path, 1, 1024, 78, LOG)] == [0]


def test_an_existing_ring_keeps_its_size_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A changed LEDGER_RING_RECORDS does not go unnoticed; the folder is the owner's alone."""
    open_rings(UsageRing, tmp_path, 1, 1024, 1, LOG)
    assert not caplog.records
    (ring,) = open_rings(UsageRing, tmp_path, 1, 2048, 2, LOG)
    assert ring.capacity == 1024
    assert [record.message for record in caplog.records] == [
        "a ring of records keeps its size: stop the node and remove the file"
    ]
    assert (tmp_path / "usage").stat().st_mode & 0o777 == 0o700
