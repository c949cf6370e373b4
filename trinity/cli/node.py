"""`trinity run | demo | simulate | compile`: the commands that start processes.

With --json what people read goes to standard error, and one object about the end to standard output.
"""

import argparse
import sys

from trinity.config import Config
from trinity.terminal import print_result


def add_arguments(_command: str, _parser: argparse.ArgumentParser) -> None:
    """They have none of their own: what a node does is its configuration."""


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Start it, and stay until it has ended."""
    from trinity.node import composition

    people = sys.stderr if parsed.as_json else sys.stdout
    if parsed.command == "simulate":
        composition.simulate(config, people)
        print_result({"exit_code": 0, "message": ""}, [], parsed.as_json)
        return 0
    if parsed.command == "compile":
        composition.compile_before_fork()
        print_result({"exit_code": 0, "message": ""}, [], parsed.as_json)
        return 0
    stop = composition.run_node(config, parsed.command == "demo", people)
    content = {"exit_code": stop.exit_code, "message": stop.message}
    print_result(content, [] if stop.message else ["trinity: stopped"], parsed.as_json)
    if stop.message:
        print(f"trinity: stopped: {stop.message}", file=sys.stderr, flush=True)
    return stop.exit_code
