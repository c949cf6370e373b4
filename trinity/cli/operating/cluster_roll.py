"""`trinity cluster roll`: restart all nodes behind the load balancer, one after the other, under load.

Without --node it rolls the cluster that `trinity cluster run` started on this machine. For another, name its nodes, the
command that restarts one, and the folder of the load balancer's lists:

    trinity cluster roll --node node-1=10.0.0.11 --node node-2=10.0.0.12 --lists /var/lib/trinity/nodes \\
        --restart "ssh {node} systemctl restart trinity"
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from trinity.balancer.watcher import read_standings
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config, PortsSection
from trinity.errors import AbsentError, ClusterPartError, InputError
from trinity.node.cluster.layout import ClusterLayout, layout_of, parse_network
from trinity.node.cluster.roll import IsAsked, Restart, RolledPlace, roll
from trinity.terminal import print_result, say

# As long as a watcher may need at its slowest, where its lists are not seen: an interval, and a few quick questions.
_SETTLE_SECONDS = 35.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which nodes, and how one is restarted."""
    parser.add_argument(
        "--node", action="append", default=[], metavar="NAME=HOST", help="roll: a node, in this order; one for each"
    )
    parser.add_argument("--restart", metavar="COMMAND", help="roll: restarts one node; {node} is its name")
    parser.add_argument("--lists", type=Path, metavar="FOLDER", help="roll: the load balancer's lists of nodes")
    parser.add_argument(
        "--settle",
        type=float,
        default=_SETTLE_SECONDS,
        metavar="SECONDS",
        help="roll, without --lists: how long the load balancer may need to see that a node is back (35)",
    )


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it."""
    console, clock = sys.stderr if parsed.as_json else sys.stdout, SystemClock()
    if parsed.node:
        places, restart, is_asked = _named(config, parsed, clock)
    else:
        places, restart, is_asked = _of_this_machine(layout_of(config.node.data_dir, parse_network(parsed.network)))
    rolled = roll(places, restart, is_asked, clock, lambda line: say(line, console))
    nodes = [{"node": one.node, "seconds": one.seconds} for one in rolled]
    print_result({"nodes": nodes}, [f"{len(rolled)} nodes restarted"], parsed.as_json)
    return 0


def _of_this_machine(layout: ClusterLayout) -> tuple[list[RolledPlace], Restart, IsAsked]:
    """The parts of `trinity cluster run`: a node that ends is started again by the launcher."""
    parts, ports = layout.folder / "parts.json", PortsSection()

    def restart(node: str) -> None:
        try:
            os.kill(json.loads(parts.read_text())[node], signal.SIGTERM)
        except (OSError, ValueError, LookupError) as error:
            raise ClusterPartError(node, f"it cannot be told to restart: {error}") from None

    if not parts.exists():
        raise AbsentError("cluster", str(layout.folder), "start one with `trinity cluster run`, or name nodes: --node")
    health = ports.health_port_lpo, ports.health_port_lrs
    places = [RolledPlace(node.name, node.host, health) for node in layout.answering]
    return places, restart, lambda node: read_standings(layout.lists).get(node, False)


def _named(
    config: Config, parsed: argparse.Namespace, clock: SystemClock
) -> tuple[list[RolledPlace], Restart, IsAsked]:
    if not parsed.restart:
        raise InputError("--restart", "say how a node is restarted: --restart 'docker compose restart {node}'")
    places = []
    for text in parsed.node:
        name, equals, host = text.partition("=")
        if not (name and equals and host):
            raise InputError("--node", f"{text!r}: a node's name and its address, node-1=10.0.0.11")
        places.append(RolledPlace(name, host, (config.ports.health_port_lpo, config.ports.health_port_lrs)))
    restarted_at: dict[str, int] = {}

    def restart(node: str) -> None:
        command = [word.replace("{node}", node) for word in shlex.split(parsed.restart)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        except OSError as error:
            raise ClusterPartError(node, f"{command[0]}: {error.strerror}") from None
        if done.returncode:
            raise ClusterPartError(node, f"{shlex.join(command)} ended with exit code {done.returncode}")
        restarted_at[node] = clock.monotonic_ns()

    def is_asked(node: str) -> bool:
        if parsed.lists is not None:
            return read_standings(parsed.lists).get(node, False)
        since_ns = restarted_at.get(node)
        return since_ns is None or clock.monotonic_ns() - since_ns >= parsed.settle * NS_PER_SECOND

    return places, restart, is_asked
