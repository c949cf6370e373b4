"""`trinity reload`: have the running node read its configuration anew, wait, and say what became of it."""

import argparse
import os
import secrets
import signal
import threading

import msgspec

from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config
from trinity.errors import ConfigError, NodeAbsentError, ReloadFailedError
from trinity.files import Durability, write_whole
from trinity.memory.control import NODE_SUPERVISOR_PID
from trinity.memory.node import NodeMemory
from trinity.node.reload import OUTCOME, POOLS, WANTED, Outcome, Wanted
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
    memory = NodeMemory.attach(config.node.name)
    wanted = Wanted(secrets.token_hex(8), POOLS if parsed.workers else ())
    folder = config.node.data_dir
    try:
        write_whole(folder / WANTED, [msgspec.json.encode(wanted)], Durability.RENAMED)
        os.kill(memory.control.read_node_word(NODE_SUPERVISOR_PID), signal.SIGHUP)
    except ProcessLookupError:
        raise NodeAbsentError(config.node.name) from None
    except OSError as error:
        raise ConfigError("TRINITY_DATA_DIR", f"{folder}: {error.strerror}: run it as the node's user") from None
    outcome = _wait(config, memory, wanted.token, parsed.timeout)
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


def _wait(config: Config, memory: NodeMemory, token: str, seconds: float) -> Outcome:
    clock, pause = SystemClock(), threading.Event()
    until_ns = clock.monotonic_ns() + round(seconds * NS_PER_SECOND)
    while clock.monotonic_ns() < until_ns:
        try:
            outcome = msgspec.json.decode((config.node.data_dir / OUTCOME).read_bytes(), type=Outcome)
            if outcome.token == token and outcome.state != "running":
                return outcome
        except (OSError, msgspec.DecodeError):
            pass
        if not memory.is_alive():
            raise NodeAbsentError(config.node.name)
        pause.wait(_LOOK_SECONDS)
    raise ReloadFailedError(f"no end of it after {seconds:g} s; see {config.node.data_dir / OUTCOME}")
