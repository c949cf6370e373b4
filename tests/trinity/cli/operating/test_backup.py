"""`trinity backup` and `trinity restore` on real backups."""

from pathlib import Path

import pytest

from tests.support.backups import IDENTITY, BackedUp, now
from tests.support.database import DatabaseServer
from tests.trinity.cli.conftest import Run
from trinity.backup.archive import Packed, packed
from trinity.backup.crypt import seal
from trinity.backup.layout import BundleName

NODE = "c7a1b2f0-0000-4000-8000-000000000001"


def test_what_is_backed_up_is_listed_verified_and_restored(
    trinity_json: Run,
    database_server: DatabaseServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the commands alone: into a new folder, never over one; a damaged object is found before."""
    identity = tmp_path / "identity"
    identity.write_text(f"{IDENTITY}\n")
    with BackedUp(tmp_path, database_server) as made:
        monkeypatch.setenv("BACKUP_TARGET", str(made.place))
        monkeypatch.setenv("BACKUP_RECIPIENTS", str(IDENTITY.to_public()))
        monkeypatch.setenv("DATABASE_URL", made.url)
        assert trinity_json("backup", "status")[0] == 1
        made.write("one")
        assert trinity_json("backup", "now")[0] == 0
        code, found, _ = trinity_json("backup", "status")
        assert (code, found["newest"]) == (1, None)
        moment = made.ship()
        bundle = BundleName(made.facts.system, NODE, now() - 60, 0)
        with packed([Packed("node-uuid", f"{NODE}\n".encode())]) as content:
            made.target.write(bundle.name, lambda sink: seal(bundle.name, content, sink, [IDENTITY.to_public()]))
        code, found, _ = trinity_json("backup", "status")
        assert (code, found["wrong"], len(found["bases"]), list(found["nodes"])) == (0, [], 1, [NODE])
        code, found, _ = trinity_json("backup", "verify", "--identity", str(identity), "--to", str(moment))
        assert code == 0
        new = tmp_path / "new"
        code, found, _ = trinity_json("restore", "--target", str(new), "--identity", str(identity))
        assert (code, found["node"], found["timeline"]) == (0, NODE, 2)
        assert (new / "node-uuid").read_text() == f"{NODE}\n"
        assert sorted(path.name for path in new.iterdir()) == ["database", "node-uuid"]
        for only in ("database", "node"):
            code, _, errors = trinity_json("restore", "--target", str(new), "--identity", str(identity), "--only", only)
            assert code == 1
        data = next(made.place.rglob("data.age"))
        content_of = bytearray(data.read_bytes())
        content_of[len(content_of) // 2] ^= 1
        data.write_bytes(bytes(content_of))
        other = tmp_path / "other"
        code, _, errors = trinity_json("restore", "--target", str(other), "--identity", str(identity))
        assert code == 1
        assert "data.age" in str(errors)
        assert list(other.iterdir()) == []
