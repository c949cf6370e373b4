"""`trinity drill` on a real backup; what a drill does: tests/trinity/backup/test_drill.py."""

from pathlib import Path

import pytest

from tests.support.backups import IDENTITY, BackedUp
from tests.support.database import DatabaseServer
from tests.support.shipping import Shipping
from tests.trinity.cli.conftest import Run
from trinity.store import migrate


def test_a_drill_by_hand_needs_a_backup_and_its_identity_and_says_what_it_found(
    trinity_json: Run, database_server: DatabaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and the name of what is missing; 0 and the figures of a backup that is good."""
    code, _, errors = trinity_json("drill")
    assert code == 2
    assert "BACKUP_TARGET" in str(errors)
    identity = tmp_path / "identity"
    identity.write_text(f"{IDENTITY}\n")
    with BackedUp(tmp_path, database_server) as made:
        monkeypatch.setenv("BACKUP_TARGET", str(made.place))
        monkeypatch.setenv("BACKUP_RECIPIENTS", str(IDENTITY.to_public()))
        monkeypatch.setenv("DATABASE_URL", made.url)
        code, _, errors = trinity_json("drill")
        assert code == 2
        assert "--identity" in str(errors)
        migrate.ensure(made.url)
        made.base()
        shipping = Shipping(made)
        shipping.start()
        try:
            code, found, _ = trinity_json("drill", "--identity", str(identity), "--scratch", str(tmp_path / "scratch"))
        finally:
            shipping.stop()
        assert (code, found["outcome"], found["differences"]) == (0, "good", 0)
        assert found["rpo_seconds"] >= 0
        assert found["rto_seconds"] > 0
