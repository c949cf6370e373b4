"""workers/backup/process.py"""

import os
import signal
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.backups import IDENTITY, wait_for
from tests.support.contexts import open_context
from trinity.backup.retention import BASE_LATE_SECONDS, LAG_SECONDS_MAX
from trinity.clock import NS_PER_SECOND
from trinity.config import BackupSection, Config, NodeSection, StoresSection
from trinity.errors import ConfigError
from trinity.markets import load_catalog
from trinity.observe.metrics import BACKUP
from workers.backup.process import BackupView, check_settings, run

STARTED = 1_000_000


class _Watch:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.seconds = STARTED

    def monotonic_ns(self) -> int:
        return self.seconds * NS_PER_SECOND

    def wall_ns(self) -> int:
        return self.seconds * NS_PER_SECOND


@pytest.mark.parametrize(
    ("after", "changes", "failing"),
    [
        (LAG_SECONDS_MAX, {}, False),
        (LAG_SECONDS_MAX + 1, {}, True),
        (LAG_SECONDS_MAX + 1, {"log_moment": STARTED + LAG_SECONDS_MAX}, False),
        (LAG_SECONDS_MAX + 1, {"is_active": False}, False),
        (LAG_SECONDS_MAX + 1, {"is_active": False, "is_connected": False}, True),
        (10, {"base_failed": True}, True),
        (BASE_LATE_SECONDS + 1, {"log_moment": STARTED + BASE_LATE_SECONDS, "base_moment": 0}, True),
        (86_400, {"log_moment": STARTED + 86_400, "base_moment": STARTED - BASE_LATE_SECONDS}, False),
        (86_401, {"log_moment": STARTED + 86_400, "base_moment": STARTED - BASE_LATE_SECONDS}, True),
        (421, {"log_moment": STARTED + 420, "bundle_moment": 0}, True),
    ],
)
def test_what_would_be_lost_is_judged(after: int, changes: dict[str, Any], failing: bool) -> None:
    """The log on the active node or without a database, a base that is overdue, a bundle that does not come."""
    state = {
        "is_active": True, "is_connected": True, "base_failed": False,
        "log_moment": STARTED, "base_moment": STARTED, "bundle_moment": STARTED + after,
    }  # fmt: skip
    clock: Any = _Watch()
    with open_context("backup", "backup", load_catalog(), clock=clock) as context:
        view = BackupView(context, service := SimpleNamespace(**state), BackupSection())  # type: ignore[arg-type]
        view.show()
        clock.seconds += after
        for name, value in changes.items():
            setattr(service, name, value)
        view.show()
        assert context.block.read_gauge(BACKUP.index("backup_failing")) == float(failing)


def test_wrong_settings_are_found_before_anything_starts() -> None:
    """Each by its name."""
    good = str(IDENTITY.to_public())
    check_settings(BackupSection())
    check_settings(BackupSection(target="/x", recipients=(good,)))
    for section, name in (
        (BackupSection(target="/x", recipients=("age1x",)), "BACKUP_RECIPIENTS"),
        (BackupSection(target="x", recipients=(good,)), "BACKUP_TARGET"),
    ):
        with pytest.raises(ConfigError, match=name):
            check_settings(section)


def test_the_process_beats_without_database_and_target_and_ends_when_told(tmp_path: Path) -> None:
    """Nothing that is away ends it, and a drain does at once."""
    section = BackupSection(target=str(tmp_path / "away"), recipients=(str(IDENTITY.to_public()),))
    url = f"postgresql:///x?host={tmp_path}"
    config = Config(node=NodeSection(data_dir=tmp_path), backup=section, stores=StoresSection(database_url=url))
    with open_context("backup", "backup", load_catalog()) as context:
        pid = os.fork()
        if pid == 0:
            try:
                run(context, config, uuid.uuid4())
            except BaseException:  # noqa: BLE001 - the exit code tells
                os._exit(1)
            os._exit(0)
        failures = BACKUP.index("backup_failures_total", "database")
        wait_for(lambda: context.block.read_counter(failures) > 1)
        os.kill(pid, signal.SIGTERM)
        assert os.waitpid(pid, 0)[1] == 0
