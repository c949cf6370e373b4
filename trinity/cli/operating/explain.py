"""`trinity explain ASSET [--at TIME]`: each step of an asset's consensus with its numbers, now or when recorded."""

import argparse
import sys
from typing import TYPE_CHECKING

from trinity.cli.moments import parse_moment
from trinity.clock import SystemClock
from trinity.config import Config
from trinity.terminal import print_result

if TYPE_CHECKING:
    from feeds.audit.account import DecisionAccount

EXIT_UNKNOWN_ASSET = 1


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """The asset and the moment."""
    parser.add_argument("asset", metavar="ASSET", help="for example BTC")
    parser.add_argument("--at", metavar="TIME", help="a recorded moment: 2026-01-31T12:00:00Z, or seconds since 1970")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Explain what stands in the node's memory, or what was recorded."""
    from feeds.audit.explain import explain_moment, text_of

    name = parsed.asset.upper()
    if parsed.at is not None:
        account = explain_moment(config.node.data_dir, name, parse_moment("--at", parsed.at))
    else:
        found = _explain_now(config, name)
        if found is None:
            return EXIT_UNKNOWN_ASSET
        account = found
    print_result(account, [text_of(account)], parsed.as_json)
    return 0


def _explain_now(config: Config, name: str) -> "DecisionAccount | None":
    from feeds.audit.explain import explain_now
    from trinity.memory.node import NodeMemory

    memory = NodeMemory.attach(config.node.name)
    catalog = memory.card.catalog
    asset = catalog.find_asset(name)
    if asset is None:
        known = " ".join(known.name for known in catalog.assets)
        print(f"{name} is not among the assets of node {config.node.name}: {known}", file=sys.stderr, flush=True)
        return None
    return explain_now(memory.prices, memory.answers, catalog, asset, SystemClock())
