"""`trinity drill --identity FILE`: restore the backup into a throw-away place and compare it with the live database.

Rules: as the weekly drill does it (trinity/backup/drill.py), and kept among the drills that were. Exit code 1 when the
backup is not good. It needs room for the whole database in BACKUP_SCRATCH, or where --scratch says.
"""

import argparse
import logging
import threading
from pathlib import Path
from random import Random

from trinity.clock import SystemClock
from trinity.config import Config
from trinity.errors import ConfigError
from trinity.terminal import print_result

EXIT_FOUND_WRONG = 1
_TURN_SECONDS = 0.05


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What opens the backups, and where there is room."""
    parser.add_argument("--identity", type=Path, metavar="FILE", help="what opens them; else BACKUP_DRILL_IDENTITY")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="a place with room; else BACKUP_SCRATCH")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; 1 when the backup is not good."""
    from trinity.backup.catalog import moment_text
    from trinity.backup.crypt import read_identities
    from trinity.backup.drill import DrillPlace, drill
    from trinity.backup.target import open_target
    from trinity.store.database import database_url

    backup = config.backup
    if not backup.target:
        raise ConfigError("BACKUP_TARGET", "it is not set: there are no backups")
    identity = parsed.identity or (Path(backup.drill_identity) if backup.drill_identity else None)
    if identity is None:
        raise ConfigError("--identity", "backups are opened with the identity's file: name it")
    scratch = parsed.scratch or (Path(backup.scratch) if backup.scratch else config.node.data_dir / "backup")
    target = open_target(backup.target, backup.s3_endpoint)
    place = DrillPlace(database_url(config), target, read_identities(identity), scratch)
    waiting = threading.Event()

    def turn() -> None:
        waiting.wait(_TURN_SECONDS)

    found = drill(place, Random(), SystemClock(), logging.getLogger("trinity.drill"), turn)
    lines = [f"drill: {found.outcome}" + (f": {found.detail}" if found.detail else "")]
    if found.restored_to is not None:
        lines.append(f"restored to {moment_text(found.restored_to)}")
    if found.rpo_seconds is not None:
        lines.append(f"RPO {found.rpo_seconds:.1f} s: from a commit until it could be restored")
    if found.rto_seconds is not None:
        lines.append(f"RTO {found.rto_seconds:.1f} s: from the first byte to the first answer")
    if found.requests is not None:
        lines.append(f"{found.requests:,} requests compared, {found.differences} differences")
    print_result(found._asdict(), lines, parsed.as_json)
    return 0 if found.outcome == "good" else EXIT_FOUND_WRONG
