"""The command line in this process, with a data directory and a node name of the test's own."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine_code import share_machine_code
from trinity.__main__ import main

Run = Callable[..., tuple[int, Any, Any]]


@pytest.fixture
def trinity_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json: exit code, the object on standard output, the object on standard error."""
    share_machine_code(tmp_path)
    monkeypatch.setenv("TRINITY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CLUSTER_NODE", f"t-{uuid.uuid4().hex[:12]}")

    def run(*arguments: str) -> tuple[int, Any, Any]:
        code = main([*arguments, "--json"])
        printed = capsys.readouterr()
        return code, *(json.loads(text) if text else None for text in printed)

    return run


@pytest.fixture
def typed(trinity_json: Run, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same with a migrated database, room for 100 keys and one trusted proxy."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("KEYS_MAX", "100")
    monkeypatch.setenv("TRUSTED_PROXIES", "198.51.100.7")
    return trinity_json
