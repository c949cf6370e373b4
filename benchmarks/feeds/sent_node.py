"""A whole node whose six exchanges are wire_sender.py: what is measured is then the node, not Python's simulators.

Rules: the default markets, and PROBE on one exchange alone, which may decide it. Whoever starts it sets the quotes a
second in the sender's control words.
"""

import contextlib
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.feeds.frame_templates import PROBE
from benchmarks.feeds.wire_sender import WANTED, open_control
from benchmarks.generators.checks import Ints
from benchmarks.servers.node import Node, start_run
from benchmarks.servers.processes import Server, free_port, start, wait_for_port
from trinity.markets import DEFAULT_PATH
from trinity.vocabulary import EXCHANGES

PROBE_EXCHANGE = "kraken"


def start_sent_node(
    folder: Path, stopping: contextlib.ExitStack, quotes_per_second: int, workers: int = 2
) -> tuple[Node, Server, Ints]:
    """The node once PROBE is answered, its sender, and the sender's control words; `stopping` ends both."""
    port = free_port()
    markets_file, config_file, control_file = folder / "markets.toml", folder / "wire.toml", folder / "control.i64"
    markets_file.write_text(_toml(_markets()))
    config_file.write_text(_toml({"feeds": _feeds(port)}))
    control = open_control(control_file, "w+")
    control[WANTED] = quotes_per_second
    command = [sys.executable, "-m", "benchmarks.feeds.wire_sender", str(port), str(control_file), str(markets_file)]
    sender = start("wire_sender", command, folder)
    stopping.callback(sender.stop)
    wait_for_port(sender, port)
    node = start_run(folder, config_file, markets_file, [PROBE], workers)
    stopping.callback(node.stop)
    return node, sender, control


def _markets() -> dict[str, Any]:
    """The default markets, and the probe on one exchange alone, which may decide it."""
    markets = tomllib.loads(DEFAULT_PATH.read_text())
    markets["exchanges"][PROBE_EXCHANGE]["assets"].append(PROBE)
    markets["assets"][PROBE] = {"min_sources": 1}
    return markets


def _feeds(port: int) -> dict[str, Any]:
    """All exchanges at the sender, which has no REST."""
    return {
        "simulated": True,
        "ws_base_urls": {name: f"ws://127.0.0.1:{port}/{name}" for name in EXCHANGES},
        "rest_base_urls": {name: f"http://127.0.0.1:{port}/{name}" for name in EXCHANGES},
    }


def _toml(tree: dict[str, Any], path: tuple[str, ...] = ()) -> str:
    """Nested tables of strings, numbers, booleans and lists as TOML."""
    plain = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    lines = [f"[{'.'.join(path)}]"] if path else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    parts = ["\n".join(lines)] if lines else []
    parts += [_toml(value, (*path, key)) for key, value in tree.items() if isinstance(value, dict)]
    return "\n\n".join(parts) + ("\n" if not path else "")
