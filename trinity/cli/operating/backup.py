"""`trinity backup status | list | now | verify`: what can be restored, and whether it really can.

    status    which moments can be restored, how old the newest is; exit code 1 when more would be lost than may be
    list      every base, and the newest bundle of every node
    now       a full base backup, beside the daily ones; the log behind it is the node's to bring
    verify    open and check all that restoring a moment takes; needs the identity

Rules: nothing here needs a running node but `now`, which needs the database. An old backup is never called good.
"""

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any

from trinity.cli.moments import parse_moment
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config
from trinity.errors import ConfigError
from trinity.terminal import print_result

EXIT_FOUND_WRONG = 1
_MB = 2**20


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, and of what."""
    parser.add_argument("action", choices=("status", "list", "now", "verify"), help="what to do")
    parser.add_argument("--system", metavar="NUMBER", help="the database, where a target has several")
    parser.add_argument("--to", metavar="TIME", help="verify: the moment that would be restored; else the newest")
    parser.add_argument("--identity", type=Path, metavar="FILE", help="verify: what opens the backups (age-keygen)")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; 1 when what is there is not as it should be."""
    from trinity.backup.target import open_target

    if not config.backup.target:
        raise ConfigError("BACKUP_TARGET", "it is not set: there are no backups")
    target = open_target(config.backup.target, config.backup.s3_endpoint)
    if parsed.action == "now":
        return _now(config, target, parsed.as_json)
    from trinity.backup.catalog import read_catalog

    catalog = read_catalog(target, parsed.system)
    if parsed.action == "verify":
        return _verify(target, catalog, parsed)
    content = _described(catalog, config)
    lines = _status_lines(content) if parsed.action == "status" else _list_lines(content)
    print_result(content, lines, parsed.as_json)
    return EXIT_FOUND_WRONG if parsed.action == "status" and content["wrong"] else 0


def _described(catalog: Any, config: Config) -> dict[str, Any]:
    """What is there, and what is wrong with it."""
    from trinity.backup.catalog import moment_text
    from trinity.backup.retention import BASE_LATE_SECONDS, LAG_SECONDS_MAX

    now, window = SystemClock().wall_ns() // NS_PER_SECOND, catalog.window()
    newest_base = max((base.ended_at for base in catalog.bases), default=None)
    wrong = []
    if window is None:
        wrong.append("nothing can be restored: there is no base with the log that it needs")
    elif now - window.newest > LAG_SECONDS_MAX:
        wrong.append(f"the newest moment is {now - window.newest} s old: the log does not arrive")
    overdue = config.backup.base_hours * 3600 + BASE_LATE_SECONDS
    if newest_base is not None and now - newest_base > overdue:
        wrong.append(f"the newest base is {(now - newest_base) // 3600} h old")
    bundles = {node: catalog.bundle_of(node, None) for node in sorted({bundle.node for bundle in catalog.bundles})}
    return {
        "system": catalog.system,
        "timeline": catalog.timeline,
        "earliest": window and moment_text(window.earliest),
        # A clock that once went ahead must not promise what has not happened.
        "newest": window and moment_text(min(window.newest, now)),
        "lag_seconds": window and max(now - window.newest, 0),
        "stored_bytes": sum(base.stored_bytes for base in catalog.bases) + catalog.wal_bytes,
        "wal_bytes": catalog.wal_bytes,
        "bases": [
            {"label": base.label, "ended_at": moment_text(base.ended_at), "parent": base.parent,
             "timeline": base.timeline, "stored_bytes": base.stored_bytes, "data_bytes": base.data_bytes,
             "restorable": catalog.window_of(base) is not None}
            for base in catalog.bases
        ],
        "nodes": {node: moment_text(bundle.moment) for node, bundle in bundles.items() if bundle is not None},
        "wrong": wrong,
    }  # fmt: skip


def _status_lines(content: dict[str, Any]) -> list[str]:
    if content["newest"] is None:
        return list(content["wrong"])
    return [
        f"any second from {content['earliest']} to {content['newest']} can be restored",
        f"{len(content['bases'])} bases, {content['stored_bytes'] // _MB} MB; log {content['wal_bytes'] // _MB} MB",
        *(f"node {node}: its own files of {moment}" for node, moment in content["nodes"].items()),
        *(f"WRONG: {text}" for text in content["wrong"]),
    ]


def _list_lines(content: dict[str, Any]) -> list[str]:
    lines = [
        f"{base['label']:<30} {base['ended_at']}  {base['stored_bytes'] // _MB:>7} MB of {base['data_bytes'] // _MB} MB"
        f"  timeline {base['timeline']}{'' if base['restorable'] else '  NOT RESTORABLE'}"
        for base in content["bases"]
    ]
    return [*lines, *(f"{node:<40} {moment}" for node, moment in content["nodes"].items())]


def _now(config: Config, target: Any, as_json: bool) -> int:
    from trinity.backup.base import Origin, read_facts, take_base
    from trinity.backup.crypt import read_recipients
    from trinity.backup.target import recognise
    from trinity.store.connect import connect
    from trinity.store.database import database_url, is_embedded

    recognise(target, None)
    url = database_url(config)
    with tempfile.TemporaryDirectory(prefix="trinity-backup-") as scratch:
        origin = Origin(url, is_embedded(config), Path(scratch), read_recipients(config.backup.recipients))
        with connect(url, "backup now", statement_seconds=0, autocommit=True) as connection:
            facts, now = read_facts(connection), SystemClock().wall_ns() // NS_PER_SECOND
            base = take_base(origin, target, connection, facts, now, None)
    content = {"label": base.label, "stored_bytes": base.stored_bytes, "data_bytes": base.data_bytes}
    print_result(content, [f"{base.label}: {base.stored_bytes // _MB} MB of {base.data_bytes // _MB} MB"], as_json)
    return 0


def _verify(target: Any, catalog: Any, parsed: argparse.Namespace) -> int:
    from trinity.backup.crypt import read_identities
    from trinity.backup.restore import verify_plan

    if parsed.identity is None:
        raise ConfigError("--identity", "backups are opened with the identity's file: name it")
    identities = read_identities(parsed.identity)
    plan = catalog.plan(None if parsed.to is None else parse_moment("--to", parsed.to) // NS_PER_SECOND)
    with tempfile.TemporaryDirectory(prefix="trinity-verify-") as folder:
        seconds = verify_plan(
            Path(folder), target, catalog, plan, identities, SystemClock(), logging.getLogger("trinity.verify")
        )
    labels = [base.label for base in plan.chain]
    content = {"bases": labels, "pieces": len(plan.pieces), "seconds": seconds}
    text = f"{', '.join(labels)} and {len(plan.pieces)} pieces of the log are whole; a drill shows that they start"
    print_result(content, [text], parsed.as_json)
    return 0
