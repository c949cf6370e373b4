"""`trinity restore --target DIR [--to TIME] --identity FILE`: a node's data directory out of its backups.

    the database      as it was at the moment, verified, recovered, stopped: `trinity run` starts it
    the node's own    rings, spools, identity, snapshots of the newest bundle that goes with that database; what it was
                      configured with is in DIR/configuration/

Rules: DIR must not hold a database or a node; whatever is there stays untouched. Nothing is started and nothing is
written to the target. Of a database that is not the node's own only the node's files come into DIR unless
--database says otherwise.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

from trinity.cli.moments import parse_moment
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config
from trinity.errors import ConfigError, RestoreError
from trinity.terminal import print_result


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What, as of when, and where to."""
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="the new data directory")
    parser.add_argument("--to", metavar="TIME", help="the moment, to the second; else the newest that there is")
    parser.add_argument("--identity", type=Path, required=True, metavar="FILE", help="what opens the backups")
    parser.add_argument("--from", dest="source", metavar="PLACE", help="where the backups are; else BACKUP_TARGET")
    parser.add_argument("--system", metavar="NUMBER", help="the database, where the place has several")
    parser.add_argument("--node", metavar="UUID", help="the node, where there are several; none: no node's")
    parser.add_argument("--only", choices=("database", "node"), help="one of both")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; the exit code is 1 when it cannot be done."""
    from trinity.backup.catalog import read_catalog
    from trinity.backup.crypt import read_identities
    from trinity.backup.restore import restore_into
    from trinity.backup.target import open_target

    place = parsed.source or config.backup.target
    if not place:
        raise ConfigError("BACKUP_TARGET", "it is not set: say --from where the backups are")
    identities = read_identities(parsed.identity)
    target = open_target(place, config.backup.s3_endpoint)
    catalog = read_catalog(target, parsed.system)
    to_time = None if parsed.to is None else parse_moment("--to", parsed.to) // NS_PER_SECOND
    folder: Path = parsed.target.expanduser()
    if (folder / "node-uuid").exists() and parsed.only != "database":
        raise RestoreError(f"{folder} is a node's: restore into another folder, or --only database")
    plan = catalog.plan(to_time) if parsed.only != "node" else None
    node = _node_of(catalog, parsed.node) if parsed.only != "database" else None
    bundle = catalog.bundle_of(node, plan) if node is not None else None
    content: dict[str, Any] = {"data_dir": str(folder)}
    lines = []
    if plan is not None:
        log = logging.getLogger("trinity.restore")
        restored = restore_into(folder, target, catalog, to_time, identities, SystemClock(), log)
        newest = restored.recovered_to
        content |= {
            "base": restored.base.label,
            "recovered_to": newest and newest.isoformat(),
            "timeline": restored.timeline,
            "bytes": restored.bytes,
            "seconds": {name: round(value, 3) for name, value in restored.seconds.items()},
        }
        seconds = sum(restored.seconds.values())
        lines.append(f"database: {restored.bytes // 2**20} MB from {restored.base.label} in {seconds:.1f} s")
        lines.append(f"its newest commit is of {newest and newest.isoformat()}")
    if bundle is not None:
        from trinity.backup.bundle import unpack_bundle

        with target.read(bundle.name) as source:
            unpack_bundle(bundle.name, source, identities, folder)
        content |= {"node": bundle.node, "bundle_of": bundle.moment}
        lines.append(f"node {bundle.node}: its own files; its settings are in {folder / 'configuration'}")
    elif node is not None:
        lines.append(f"node {node}: no bundle goes with that moment; it starts as a new node")
    lines.append(f"start it: TRINITY_DATA_DIR={folder} trinity run")
    print_result(content, lines, parsed.as_json)
    return 0


def _node_of(catalog: Any, asked: str | None) -> str | None:
    """Which node's files come back."""
    nodes = sorted({bundle.node for bundle in catalog.bundles})
    if asked == "none" or (asked is None and not nodes):
        return None
    if asked is None and len(nodes) > 1:
        raise RestoreError(f"there are bundles of several nodes ({', '.join(nodes)}): say --node")
    if asked is not None and asked not in nodes:
        raise RestoreError(f"there is no bundle of node {asked} (there are: {', '.join(nodes) or 'none'})")
    return asked or nodes[0]
