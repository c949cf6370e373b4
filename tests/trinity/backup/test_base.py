"""trinity/backup/base.py"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.backups import IDENTITY, BackedUp
from tests.support.database import DatabaseServer
from trinity.backup.base import Origin, forget_manifests, has_manifest, take_base
from trinity.backup.catalog import read_catalog
from trinity.backup.target import DirectoryTarget, Fill
from trinity.errors import BackupTargetError, BackupToolError


class _Full(DirectoryTarget):
    """A target whose disk is full after some bytes."""

    def write(self, name: str, fill: Fill) -> int:
        target = self

        class Sink:
            left = 100_000

            def write(self, data: bytes) -> int:
                self.left -= len(data)
                if self.left < 0:
                    raise target.refused(OSError(28, "No space left on device"))
                return len(data)

        def into_little(_sink: object) -> None:
            fill(Sink())

        return super().write(name, into_little)


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory, database_server: DatabaseServer) -> Iterator[BackedUp]:
    """One database for all."""
    with BackedUp(tmp_path_factory.mktemp("backup"), database_server) as made:
        yield made


def test_a_base_that_breaks_off_leaves_nothing(backed_up: BackedUp) -> None:
    """A full target is told as such; the next base is as good as any."""
    with pytest.raises(BackupTargetError, match="make room"):
        backed_up.base(target=_Full(backed_up.place))
    found = read_catalog(backed_up.target, backed_up.facts.system)
    assert (found.bases, found.unfinished) == ((), ())
    base = backed_up.base()
    assert read_catalog(backed_up.target, backed_up.facts.system).bases == (base,)
    assert base.data_bytes > base.stored_bytes > 0


def test_a_server_that_cannot_be_reached_is_the_programs_error(backed_up: BackedUp, tmp_path: Path) -> None:
    """What pg_basebackup says last is the reason, and nothing is in the target."""
    origin = Origin(f"postgresql:///x?host={tmp_path}", True, backed_up.scratch, [IDENTITY.to_public()])
    target = DirectoryTarget(tmp_path)
    with pytest.raises(BackupToolError, match=r"pg_basebackup: it ended with 1: .*No such file"):
        take_base(origin, target, backed_up.connection, backed_up.facts, 0, None)
    assert list(target.stored("")) == [] or list(target.stored("7")) == []


def test_manifests_are_kept_as_long_as_their_bases(backed_up: BackedUp) -> None:
    """An incremental base builds on one whose manifest is here."""
    base = backed_up.base()
    assert has_manifest(backed_up.scratch, base)
    forget_manifests(backed_up.scratch, [])
    assert not has_manifest(backed_up.scratch, base)
    with pytest.raises((BackupToolError, psycopg.Error)):
        backed_up.base(base)
