"""`trinity cluster files`"""

from pathlib import Path

import pytest

from tests.trinity.cli.conftest import Run


def test_it_says_what_is_new(trinity_json: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where alarms go is told as to a node; a second time nothing is new."""
    monkeypatch.setenv("OPERATOR_EMAIL", "me@example.com")
    code, content, _ = trinity_json("cluster", "files", "--out", str(tmp_path / "made"))
    assert code == 0
    assert {"admin_key", "front.pem"} <= set(content["made"])
    assert "me@example.com" in (tmp_path / "made" / "alertmanager" / "alertmanager.yml").read_text()
    assert trinity_json("cluster", "files", "--out", str(tmp_path / "made"))[1]["made"] == []


def test_a_wrong_folder_is_an_error_of_the_argument(trinity_json: Run, tmp_path: Path) -> None:
    """Exit code 2, and the argument by its name."""
    code, _, error = trinity_json("cluster", "files", "--templates", str(tmp_path), "--out", str(tmp_path / "made"))
    assert code == 2
    assert "--templates" in error["error"]["message"]
