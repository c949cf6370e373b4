"""`trinity restore`: what it refuses; tests/trinity/cli/operating/test_backup.py has the whole way."""

from pathlib import Path

import pytest

from tests.support.backups import IDENTITY
from tests.trinity.cli.conftest import Run
from trinity.backup.layout import BundleName
from trinity.backup.target import DirectoryTarget, write_bytes

NODES = [f"c7a1b2f0-0000-4000-8000-00000000000{number}" for number in (1, 2)]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ((), 2, "BACKUP_TARGET"),
        (("--from", "relative"), 2, "BACKUP_TARGET"),
        (("--from", "{target}"), 1, "nothing can be restored"),
        (("--from", "{target}", "--system", "8"), 1, "nothing can be restored"),
        (("--from", "{target}", "--to", "yesterday"), 2, "--to"),
        (("--from", "{target}", "--only", "node"), 1, "say --node"),
        (("--from", "{target}", "--only", "node", "--node", "x"), 1, "no bundle of node x"),
        (("--from", "{target}/away"), 1, "mounted"),
    ],
)
def test_what_cannot_be_restored_is_refused(
    trinity_json: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    """Before anything is made."""
    (tmp_path / "identity").write_text(f"{IDENTITY}\n")
    place = tmp_path / "target"
    place.mkdir()
    for node in NODES:
        write_bytes(DirectoryTarget(place), BundleName("7", node, 100, 0).name, b"x")
    new = tmp_path / "new"
    words = [word.format(target=place) for word in arguments]
    found, _, errors = trinity_json("restore", "--target", str(new), "--identity", str(tmp_path / "identity"), *words)
    assert found == code
    assert reason in str(errors)
    assert not new.exists()
