"""workers/backup/state.py"""

from pathlib import Path

from workers.backup.state import BackupState, keep_state, load_state


def test_a_target_is_remembered_by_its_address(tmp_path: Path) -> None:
    """Another address is begun anew; a damaged file is as good as none."""
    assert load_state(tmp_path, "/a") == BackupState("/a")
    state = BackupState("/a", "id", "7")
    keep_state(tmp_path, state)
    assert load_state(tmp_path, "/a") == state
    assert load_state(tmp_path, "/b") == BackupState("/b")
    (tmp_path / "state.json").write_text("{")
    assert load_state(tmp_path, "/a") == BackupState("/a")
