"""`trinity top`: watch assets, sources and ages of the running node; with --json one frame as an object."""

import argparse

from trinity.clock import SystemClock
from trinity.config import Config
from trinity.terminal import print_result


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """`--once`."""
    parser.add_argument("--once", action="store_true", help="print one frame and leave")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Attach to the node's memory and show it."""
    from trinity.cli.table import describe_frame, show
    from trinity.memory.node import NodeMemory

    memory, clock = NodeMemory.attach(config.node.name), SystemClock()
    if parsed.as_json:
        print_result(describe_frame(memory, clock.monotonic_ns()), [], as_json=True)
    else:
        show(memory, clock, once=parsed.once)
    return 0
