"""trinity/backup/wal.py"""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support.backups import BackedUp, drop_slot, notes_in, wait_for
from tests.support.database import DatabaseServer
from trinity.backup.catalog import read_catalog
from trinity.backup.layout import WalPiece
from trinity.backup.wal import ensure_slot, slot_of
from trinity.errors import BackupToolError


@pytest.fixture
def backed_up(tmp_path_factory: pytest.TempPathFactory, database_server: DatabaseServer) -> Iterator[BackedUp]:
    """A database of one test's own."""
    with BackedUp(tmp_path_factory.mktemp("backup"), database_server) as made:
        yield made


def _pieces(backed_up: BackedUp) -> tuple[WalPiece, ...]:
    return read_catalog(backed_up.target, backed_up.facts.system).pieces


def test_what_was_not_shipped_is_received_again(backed_up: BackedUp) -> None:
    """A receiver that is killed with its scratch loses nothing: the server keeps the log until it is in the target."""
    backed_up.base()
    first = backed_up.ship()
    backed_up.stream.close()
    backed_up.write("while nobody received")
    backed_up.connection.execute("SELECT pg_switch_wal()")
    backed_up.write("in the next segment")
    backed_up.connection.execute("CHECKPOINT")
    backed_up.stream = backed_up.begin_stream(first)
    assert backed_up.ship() > first
    assert notes_in(backed_up.restore("restored")) == ["while nobody received", "in the next segment"]


def test_a_receiver_that_ends_is_told(backed_up: BackedUp) -> None:
    """Nothing is archived from then on, so the turn fails, at once and each time."""
    backed_up.ship()
    os.kill(backed_up.stream.pid, signal.SIGKILL)
    with pytest.raises(BackupToolError, match="pg_receivewal"):
        wait_for(lambda: bool(backed_up.stream.turn(backed_up.connection)))


def test_a_full_segment_is_one_object(backed_up: BackedUp) -> None:
    """Its parts go when the whole is there; many parts become one before that."""
    for _ in range(3):
        backed_up.write("more")
        backed_up.ship()
    assert len(_pieces(backed_up)) >= 3
    backed_up.connection.execute("SELECT pg_switch_wal()")
    size = backed_up.facts.segment_bytes
    wait_for(lambda: backed_up.ship() > 0 and any(piece.end == size for piece in _pieces(backed_up)))
    by_segment: dict[str, list[WalPiece]] = {}
    for piece in _pieces(backed_up):
        by_segment.setdefault(piece.segment, []).append(piece)
    whole = [parts for parts in by_segment.values() if parts[-1].end == size]
    assert [len(parts) for parts in whole] == [1] * len(whole)


def test_the_server_forgets_only_what_is_in_the_target(backed_up: BackedUp) -> None:
    """The slot follows what was shipped; where nobody backs up, it is dropped."""
    backed_up.ship()
    kept, is_new = ensure_slot(backed_up.connection, backed_up.facts)
    assert not is_new
    assert kept <= backed_up.stream.shipped_lsn
    drop_slot(backed_up.connection, backed_up.facts)
    found = backed_up.connection.execute(
        "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [slot_of(backed_up.facts)]
    ).fetchone()
    assert found is None
    assert ensure_slot(backed_up.connection, backed_up.facts)[1]
