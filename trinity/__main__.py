"""The command line: `trinity COMMAND`; the table below has the commands.

Rules: nothing heavy is imported before the configuration is checked and the cache of compiled code is set, so a
command's module is imported when it is asked for (see `trinity/cli/__init__.py`). Standard output has lines for
people, or with --json one object; standard error has errors, as an object too with --json, and JSON logs.

    exit code 0  ended as asked (a drained node, a finished tool)
              1  a tool found something wrong (doctor), or what it looks for is not there (node, database, key)
              2  the configuration or an argument is wrong, or an extra is missing; nothing was started or changed
              3  the node could not start: a port is taken, a process failed at its start
              4  a process died again and again before the node was ever ready; later that is an alarm, and no end
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from trinity.access.values import without_keys
from trinity.compiled import prepare_cache
from trinity.config import Config, load_config
from trinity.environment import CONFIG_VARIABLE
from trinity.errors import (
    AbsentError,
    BackupError,
    CacheUnavailableError,
    ConfigError,
    InputError,
    MissingExtraError,
    MissingProgramError,
    NodeAbsentError,
    RefusedError,
    ReloadFailedError,
    SchemaError,
    StoreUnavailableError,
    SyncRunningError,
    TrinityError,
)
from trinity.version import version

EXIT_FOUND_WRONG = 1
EXIT_CONFIGURATION = 2
EXIT_BOOT_FAILURE = 3


class Subcommand(NamedTuple):
    """A command, and the module of `trinity.cli` that has it."""

    name: str
    text: str
    module: str


COMMANDS = (
    Subcommand("run", "run a node with the live exchanges", "operating.node"),
    Subcommand("demo", "run a node with simulated exchanges and no network; its prices are NOT real", "operating.node"),
    Subcommand("reload", "the running node reads its configuration anew; say what changed", "operating.reload"),
    Subcommand("simulate", "run the six simulated exchanges alone", "operating.node"),
    Subcommand(
        "cluster",
        "all nodes of the cluster, their loads and lags; run: a whole one on this machine; roll: restart all in turn",
        "operating.cluster",
    ),
    Subcommand(
        "balancer",
        "nginx's lists of nodes: watch the nodes' health and keep them, show who is in",
        "operating.balancer",
    ),
    Subcommand(
        "config", "the configuration: check it, show each value and its source, print an example", "operating.config"
    ),
    Subcommand(
        "doctor", "check clock, exchanges, limits, ports and stores of this machine; say what to do", "operating.doctor"
    ),
    Subcommand("health", "whether the node on this machine lives, for a container's HEALTHCHECK", "operating.health"),
    Subcommand("top", "watch assets, sources and ages of the running node", "operating.top"),
    Subcommand("explain", "show each step of an asset's consensus, with its numbers", "operating.explain"),
    Subcommand("record", "record what feeds and consensus see: on, off or status", "operating.record"),
    Subcommand("replay", "recompute the consensus from a recording, and compare it bit for bit", "operating.record"),
    Subcommand(
        "db", "the database: its address, the state of its tables, bring them to this version's", "operating.db"
    ),
    Subcommand("backup", "backups: what can be restored, take a base now, verify them", "operating.backup"),
    Subcommand(
        "drill", "restore the backup into a throw-away place and compare it with the live database", "operating.drill"
    ),
    Subcommand("restore", "a node from its backups, as it was at a moment, into an empty folder", "operating.restore"),
    Subcommand("sync", "bring to Valkey what it misses of the ledger, keys and parameters", "operating.sync"),
    Subcommand("keys", "API keys: create, list, show, rotate, limit, suspend, resume, revoke", "customers.keys"),
    Subcommand("plans", "plans of limits and what they cost: list, set, price", "customers.plans"),
    Subcommand("accounts", "customers: list, show, set, rename, delete", "customers.accounts"),
    Subcommand("logins", "people who sign in on the dashboard: create, list, revoke", "customers.logins"),
    Subcommand("bill", "a month of every customer, as a table or a file: CSV, XLSX, Parquet, JSON", "customers.bill"),
    Subcommand("block", "refuse an address or a network on all nodes", "customers.blocks"),
    Subcommand("unblock", "answer an address or a network again", "customers.blocks"),
    Subcommand("blocks", "list what is blocked", "customers.blocks"),
    Subcommand(
        "push", "subscriptions to prices: create, list, show, set, pause, test, deliveries, replay", "customers.push"
    ),
    Subcommand("events", "list what happened to accounts and nodes", "customers.events"),
    Subcommand(
        "endpoints", "where events go: create, list, show, set, pause, resume, rotate, test, ...", "customers.endpoints"
    ),
    Subcommand("audit", "list who changed keys, plans, accounts and blocks, and what", "customers.audit"),
    Subcommand("mcp", "serve prices, history, explanations to language models (Model Context Protocol, stdio)", "mcp"),
    Subcommand("completion", "print the completion of these commands for bash, zsh or tcsh", "completion"),
    Subcommand("bench", "measure this machine", "bench"),
    Subcommand(
        "compile",
        "compile the request loop now, so that the first start does not have to wait for it",
        "operating.node",
    ),
)

# What is asked before there is a data directory, or every few seconds: nothing is made for it.
_ONLY_LOOK = frozenset({"config", "health", "completion"})

# What a kind of error means for the exit code; the first that fits counts.
_EXIT_CODES: tuple[tuple[type[TrinityError], int], ...] = (
    (ConfigError, EXIT_CONFIGURATION),
    (InputError, EXIT_CONFIGURATION),
    (MissingExtraError, EXIT_CONFIGURATION),
    (MissingProgramError, EXIT_CONFIGURATION),
    (CacheUnavailableError, EXIT_FOUND_WRONG),
    (NodeAbsentError, EXIT_FOUND_WRONG),
    (AbsentError, EXIT_FOUND_WRONG),
    (BackupError, EXIT_FOUND_WRONG),
    (RefusedError, EXIT_FOUND_WRONG),
    (StoreUnavailableError, EXIT_FOUND_WRONG),
    (ReloadFailedError, EXIT_FOUND_WRONG),
    (SyncRunningError, EXIT_FOUND_WRONG),
    (SchemaError, EXIT_FOUND_WRONG),
    (TrinityError, EXIT_BOOT_FAILURE),
)


class _Parser(argparse.ArgumentParser):
    """argparse repeats what it does not understand; an API key in the wrong place is not printed."""

    def error(self, message: str) -> NoReturn:
        super().error(without_keys(message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = parser_of(arguments[:1])
    parsed, parsed_not = parser.parse_known_args(arguments)
    if parsed_not and parsed.command != "bench":
        parser.error(f"unknown arguments: {' '.join(word.partition('=')[0] for word in parsed_not)}")
    parsed.passed_on = parsed_not
    try:
        config = load_config(os.environ, parsed.config, demo=parsed.command == "demo")
        if parsed.command not in _ONLY_LOOK:
            _prepare(config)
        module = next(command.module for command in COMMANDS if command.name == parsed.command)
        return int(importlib.import_module(f"trinity.cli.{module}").run(config, parsed))
    except TrinityError as error:
        code = next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
        message = without_keys(str(error))
        content = {"error": {"kind": type(error).__name__, "message": message}, "exit_code": code}
        print(json.dumps(content) if parsed.as_json else message, file=sys.stderr, flush=True)
        return code
    except (BrokenPipeError, KeyboardInterrupt):
        return 0  # the reader of our output left, or the user did


def parser_of(asked: Collection[str]) -> argparse.ArgumentParser:
    """All commands, with the arguments of those that are asked for."""
    common = _Parser(add_help=False)
    config = os.environ.get(CONFIG_VARIABLE) or None
    what = f"TOML file; the environment wins over it (default: {CONFIG_VARIABLE})"
    common.add_argument("--config", type=Path, metavar="FILE", default=config, help=what)
    common.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object, for programs")
    parser = _Parser(prog="trinity", description="A self-hosted crypto price oracle.")
    parser.add_argument("--version", action="version", version=f"trinity {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text, module in COMMANDS:
        # What follows `bench`, also --help, is for the benchmarks' own command line.
        command = commands.add_parser(name, help=text, description=text, parents=[common], add_help=name != "bench")
        if name in asked:
            importlib.import_module(f"trinity.cli.{module}").add_arguments(name, command)
    return parser


def _prepare(config: Config) -> None:
    try:
        prepare_cache(config.node.data_dir)
    except OSError as error:
        raise ConfigError("TRINITY_DATA_DIR", f"{config.node.data_dir}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
