"""The command line: `trinity run | demo | simulate | doctor | top | explain ASSET | bench | compile`.

Rules: nothing heavy is imported before the configuration is checked and the cache of compiled code is set, so each
command imports what it needs. Standard output has lines for people, standard error has errors and JSON logs.

    exit code 0  ended as asked (a drained node, a finished tool)
              1  a tool found something wrong (doctor), or there is no node to look at (top, explain)
              2  the configuration is wrong; nothing was started
              3  the node could not start: a port is taken, a process failed at its start
              4  a process died again and again
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trinity.clock import SystemClock
from trinity.compiled import prepare_cache
from trinity.config import Config, load_config
from trinity.errors import ConfigError, NodeAbsentError, TrinityError

EXIT_FOUND_WRONG = 1
EXIT_CONFIGURATION = 2
EXIT_BOOT_FAILURE = 3

# What a kind of error means for the exit code; the first that fits counts.
_EXIT_CODES: tuple[tuple[type[TrinityError], int], ...] = (
    (ConfigError, EXIT_CONFIGURATION),
    (NodeAbsentError, EXIT_FOUND_WRONG),
    (TrinityError, EXIT_BOOT_FAILURE),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = _parser()
    parsed, parsed_not = parser.parse_known_args(arguments)
    if parsed_not and parsed.command != "bench":
        parser.error(f"unknown arguments: {' '.join(parsed_not)}")
    parsed.passed_on = parsed_not
    try:
        config = load_config(os.environ, parsed.config)
        _prepare(config)
        return _COMMANDS[parsed.command](config, parsed)
    except TrinityError as error:
        print(error, file=sys.stderr, flush=True)
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
    except (BrokenPipeError, KeyboardInterrupt):
        return 0  # the reader of our output left, or the user did


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="TOML file; the environment wins over it")
    parser = argparse.ArgumentParser(prog="trinity", description="A self-hosted crypto price oracle.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _HELP.items():
        # What follows `bench`, also --help, is for the benchmarks' own command line.
        command = commands.add_parser(name, help=text, description=text, parents=[common], add_help=name != "bench")
        if name == "explain":
            command.add_argument("asset", metavar="ASSET", help="for example BTC")
        if name == "top":
            command.add_argument("--once", action="store_true", help="print one frame and leave")
    return parser


def _prepare(config: Config) -> None:
    try:
        prepare_cache(config.node.data_dir)
    except OSError as error:
        raise ConfigError("TRINITY_DATA_DIR", f"{config.node.data_dir}: {error.strerror}") from None


def _run(config: Config, _parsed: argparse.Namespace) -> int:
    return _run_node(config, with_simulator=False)


def _demo(config: Config, _parsed: argparse.Namespace) -> int:
    return _run_node(config, with_simulator=True)


def _run_node(config: Config, with_simulator: bool) -> int:
    from trinity.composition import run_node

    stop = run_node(config, with_simulator)
    if stop.message:
        print(f"trinity: stopped: {stop.message}", file=sys.stderr, flush=True)
    else:
        print("trinity: stopped", flush=True)
    return stop.exit_code


def _simulate(config: Config, _parsed: argparse.Namespace) -> int:
    from trinity.composition import simulate

    simulate(config)
    return 0


def _doctor(config: Config, _parsed: argparse.Namespace) -> int:
    from trinity.composition import examine

    return EXIT_FOUND_WRONG if examine(config) else 0


def _top(config: Config, parsed: argparse.Namespace) -> int:
    from trinity.memory.node import NodeMemory
    from trinity.top import show

    show(NodeMemory.attach(config.node.name), SystemClock(), once=parsed.once)
    return 0


def _explain(config: Config, parsed: argparse.Namespace) -> int:
    from feeds.explain import explain
    from trinity.memory.node import NodeMemory

    memory, clock = NodeMemory.attach(config.node.name), SystemClock()
    catalog = memory.card.catalog
    names = [asset.name for asset in catalog.assets]
    name = parsed.asset.upper()
    if name not in names:
        known = " ".join(names)
        print(f"{name} is not among the assets of node {config.node.name}: {known}", file=sys.stderr, flush=True)
        return EXIT_FOUND_WRONG
    asset = names.index(name)
    print(explain(memory.prices, memory.answers, catalog, asset, clock.monotonic_ns(), clock.wall_ns()))
    return 0


def _bench(_config: Config, parsed: argparse.Namespace) -> int:
    from benchmarks.__main__ import main as bench

    return bench(parsed.passed_on)


def _compile(_config: Config, _parsed: argparse.Namespace) -> int:
    from trinity.composition import compile_before_fork

    compile_before_fork()
    return 0


_HELP: Mapping[str, str] = {
    "run": "run a node with the live exchanges",
    "demo": "run a node with simulated exchanges and no network; its prices are NOT real",
    "simulate": "run the six simulated exchanges alone",
    "doctor": "check clock, exchanges, limits, ports and stores of this machine, and say what to do",
    "top": "watch assets, sources and ages of the running node",
    "explain": "show each step of an asset's consensus, with its numbers",
    "bench": "measure this machine",
    "compile": "compile the request loop now, so that the first start does not have to wait for it",
}
_COMMANDS: Mapping[str, Callable[[Config, argparse.Namespace], int]] = {
    "run": _run,
    "demo": _demo,
    "simulate": _simulate,
    "doctor": _doctor,
    "top": _top,
    "explain": _explain,
    "bench": _bench,
    "compile": _compile,
}

if __name__ == "__main__":
    sys.exit(main())
