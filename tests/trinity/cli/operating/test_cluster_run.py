"""trinity/cli/operating/cluster_run.py; a cluster that runs is tests/node/test_cluster.py."""

from pathlib import Path

import pytest

from tests.trinity.cli.conftest import Run
from trinity.node.data_dir import claim_data_dir


def test_a_network_that_is_not_loopback_starts_nothing(trinity_json: Run, tmp_path: Path) -> None:
    """Exit code 2, and no folder was made."""
    code, _, error = trinity_json("cluster", "run", "--network", "10.0.0.0")
    assert (code, error["error"]["kind"]) == (2, "InputError")
    assert not (tmp_path / "cluster").exists()


def test_a_missing_program_starts_nothing(trinity_json: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 2, with what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("trinity.node.cluster.programs._MORE_FOLDERS", str(tmp_path))
    code, _, error = trinity_json("cluster", "run")
    assert (code, error["error"]["kind"]) == (2, "MissingProgramError")
    assert "libnginx-mod-stream" in error["error"]["message"]
    assert not (tmp_path / "cluster").exists()


def test_two_launchers_do_not_share_a_folder(trinity_json: Run, tmp_path: Path) -> None:
    """The second one is refused by the first one's lock."""
    with claim_data_dir(tmp_path / "cluster-9-9"):
        code, _, error = trinity_json("cluster", "run", "--network", "127.9.9.0")
    assert (code, error["error"]["kind"]) == (3, "DataDirTakenError")
