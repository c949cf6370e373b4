"""`trinity cluster run`."""

import argparse

from trinity.cli.operating import cluster_run
from trinity.config import Config


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, as one word."""
    parser.add_argument("action", choices=("run",), help="run a whole cluster on this machine")
    cluster_run.add_arguments(parser)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it."""
    return cluster_run.run(config, parsed)
