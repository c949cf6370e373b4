"""`trinity reload`: have the running node read its configuration anew, wait, and say what became of it."""

import argparse
import secrets
import threading

import msgspec

from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config
from trinity.errors import ConfigError, NodeAbsentError, ReloadFailedError
from trinity.node.asking import OUTCOME, POOLS, ReloadOutcome, ReloadRequest, ask, read_outcome, supervisor_pid
from trinity.terminal import print_result

_LOOK_SECONDS = 0.05
_NOTHING = "nothing"


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What is changed is in the configuration; that of this command only has to name the node."""
    parser.add_argument(
        "--workers", action="store_true", help="replace all request workers and reporters, also where nothing changed"
    )
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="how long to wait: %(default)g")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Ask, wait, tell; ConfigError as the node found it, ReloadFailedError when it had to be taken back."""
    wanted = ReloadRequest(secrets.token_hex(8), POOLS if parsed.workers else ())
    ask(config.node.data_dir, config.node.name, wanted)
    outcome = _wait(config, wanted.token, parsed.timeout)
    if outcome.state == "refused":
        raise ConfigError(outcome.key, f"{outcome.reason}; the node goes on as it was")
    if outcome.state == "failed":
        raise ReloadFailedError(outcome.reason)
    lines = [
        f"applied      {', '.join((*outcome.applied, *outcome.replacing)) or _NOTHING}",
        f"replaced     {', '.join(outcome.replaced) or _NOTHING}",
        f"restart for  {', '.join(outcome.waiting) or _NOTHING}",
    ]
    print_result(msgspec.to_builtins(outcome), lines, parsed.as_json)
    return 0


def _wait(config: Config, token: str, seconds: float) -> ReloadOutcome:
    clock, pause = SystemClock(), threading.Event()
    until_ns = clock.monotonic_ns() + round(seconds * NS_PER_SECOND)
    while clock.monotonic_ns() < until_ns:
        outcome = read_outcome(config.node.data_dir)
        if outcome is not None and outcome.token == token and outcome.state != "running":
            return outcome
        if supervisor_pid(config.node.data_dir) is None:
            raise NodeAbsentError(config.node.name)
        pause.wait(_LOOK_SECONDS)
    raise ReloadFailedError(f"no end of it after {seconds:g} s; see {config.node.data_dir / OUTCOME}")
