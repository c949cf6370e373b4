"""workers/backup/base_run.py"""

from pathlib import Path

from tests.support.backups import CLOCK, IDENTITY
from trinity.backup.base import Origin, ServerFacts
from trinity.backup.target import DirectoryTarget
from trinity.errors import StoreUnavailableError
from workers.backup.base_run import BaseRun


def test_a_base_that_cannot_be_taken_keeps_its_reason(tmp_path: Path) -> None:
    """The thread ends in any case; nothing is in the target."""
    origin = Origin(f"postgresql:///x?host={tmp_path}", True, tmp_path, [IDENTITY.to_public()])
    facts = ServerFacts("7", 180004, 1, 2**24, True, True, 5)
    run = BaseRun(origin, DirectoryTarget(tmp_path / "target"), facts, 0, None, CLOCK)
    run.start()
    run.join()
    assert run.is_over
    assert isinstance(run.failure, StoreUnavailableError)
    assert (run.base, run.label) == (None, "19700101T000000Z-full")
