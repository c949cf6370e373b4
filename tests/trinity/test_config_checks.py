"""trinity/config_checks.py"""

import pytest

from trinity.config import BackupSection, Config
from trinity.config_checks import check
from trinity.errors import ConfigError


def test_the_defaults_are_good() -> None:
    """With as many workers as have rings beside a reporter and the spares, and no more."""
    check(Config(), 125)
    with pytest.raises(ConfigError, match="REQUEST_WORKERS"):
        check(Config(), 126)


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (BackupSection(target="/mnt/backups"), "BACKUP_RECIPIENTS"),
        (BackupSection(scratch="somewhere"), "BACKUP_SCRATCH"),
    ],
)
def test_backups_that_nobody_can_open_are_refused(section: BackupSection, name: str) -> None:
    """And a scratch that depends on where the node was started."""
    with pytest.raises(ConfigError, match=name):
        check(Config(backup=section), 2)
