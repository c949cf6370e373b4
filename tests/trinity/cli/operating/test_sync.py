"""`trinity sync` against a real PostgreSQL and a real Valkey."""

import pytest

from tests.support.valkey_server import ValkeyServer
from tests.trinity.cli.conftest import Run
from tests.trinity.sync.ledger_copy import LedgerCopy, assert_same
from trinity.__main__ import main
from trinity.store.connect import connect
from trinity.sync.source import SyncSource


def test_it_brings_the_ledger_and_says_what_it_did(
    trinity_json: Run,
    database_url: str,
    valkey_server: ValkeyServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As an object and as lines; a second run finds nothing missing, --full brings all of it again."""
    copy = LedgerCopy(database_url)
    rows = len(copy.load(500))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CACHE_URL", valkey_server.url)
    code, found, _ = trinity_json("sync")
    assert (code, found["usage_entries"], found["is_whole"], found["left_out"]) == (0, rows, True, [])
    assert trinity_json("sync")[1]["usage_entries"] == 0
    assert main(["sync", "--full"]) == 0
    assert f"the whole history: {rows} usage entries" in capsys.readouterr().out
    with valkey_server.admin() as client:
        assert assert_same(copy, client) == rows
    with connect(database_url, "tests", autocommit=True) as holder:
        SyncSource(holder)
        code, _, error = trinity_json("sync")
        assert code == 1
        assert "another one of this database is running" in str(error)
    valkey_server.kill()
    code, _, error = trinity_json("sync")
    assert code == 1
    assert "cache" in str(error)
    copy.close()


def test_without_a_valkey_it_says_what_to_set(trinity_json: Run) -> None:
    """Exit code 1, and the setting's name."""
    code, _, error = trinity_json("sync")
    assert code == 1
    assert "CACHE_URL" in str(error)
