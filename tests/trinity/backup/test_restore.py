"""trinity/backup/restore.py: a database comes back as it was at a moment, or not at all."""

from collections.abc import Iterator

import pytest

from tests.support.backups import BackedUp, notes_in, running
from tests.support.database import DatabaseServer


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory, database_server: DatabaseServer) -> Iterator[BackedUp]:
    """One database for the tests that only read its backups or add to them."""
    with BackedUp(tmp_path_factory.mktemp("backup"), database_server) as made:
        yield made


def test_what_was_committed_is_restored_to_the_second(backed_up: BackedUp) -> None:
    """All of what was there at that second, and nothing of after it."""
    backed_up.write("before the base")
    backed_up.base()
    backed_up.write("behind the base")
    moment = backed_up.pass_a_second()
    backed_up.pass_a_second()
    backed_up.write("too late")
    backed_up.ship()
    restored = backed_up.restore("to a second", moment)
    assert notes_in(restored) == ["before the base", "behind the base"]
    assert restored.timeline == 2
    newest = backed_up.restore("newest")
    assert notes_in(newest) == ["before the base", "behind the base", "too late"]


def test_an_incremental_base_restores_as_a_full_one_does(backed_up: BackedUp) -> None:
    """It has what changed alone, and needs those that it builds on."""
    full = backed_up.base()
    backed_up.write("between the bases")
    first = backed_up.base(full)
    backed_up.write("behind the first")
    second = backed_up.base(first)
    backed_up.write("behind the second")
    backed_up.ship()
    restored = backed_up.restore("from incremental ones")
    assert restored.base == second
    assert second.data_bytes < full.data_bytes
    assert notes_in(restored)[-3:] == ["between the bases", "behind the first", "behind the second"]
    with running(restored) as connection:
        assert connection.execute("SELECT count(*) FROM pg_class").fetchone() is not None
