"""`trinity balancer [show | watch]`: which nodes nginx asks; `watch` keeps its lists by the nodes' health.

`watch --node NAME=HOST ...` asks /ready of each node's two health ports, writes the lists that deploy/nginx.conf
includes, and has nginx read them. Without --nginx it only writes, for an nginx in another container, which reads them
by deploy/nginx-reload.sh.
"""

import argparse
import logging
import shlex
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from trinity.balancer.lists import ports_of
from trinity.balancer.verdicts import INTERVAL_SECONDS, MISSES_MAX, QUICK_SECONDS, AskingPace
from trinity.balancer.watcher import STATE_FILE, Apply, Watcher, read_state
from trinity.cli.text import table
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config
from trinity.errors import AbsentError, BalancerRefusedError, InputError
from trinity.observe.log import open_log
from trinity.terminal import print_result

# nginx reads its file and resolves no name: the lists have addresses.
_NGINX_SECONDS = 20


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Who is asked, how often, and where the lists are."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("show", "watch"),
        default="show",
        help="watch: keep the lists; stays until stopped",
    )
    parser.add_argument(
        "--node", action="append", default=[], metavar="NAME=HOST", help="watch: a node that answers; one for each"
    )
    parser.add_argument("--lists", type=Path, required=True, metavar="FOLDER", help="where the lists of nodes are")
    parser.add_argument(
        "--nginx",
        metavar="COMMAND",
        help="how nginx is called for its file (nginx -c FILE): it is checked and reloaded",
    )
    parser.add_argument(
        "--interval", type=float, default=INTERVAL_SECONDS, metavar="SECONDS", help="of a well node (30)"
    )
    parser.add_argument("--quick", type=float, default=QUICK_SECONDS, metavar="SECONDS", help="of any other")
    parser.add_argument("--misses", type=int, default=MISSES_MAX, help="silences in a row until a node is out (3)")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it."""
    if parsed.action == "show":
        return _show(parsed)
    pace = AskingPace(int(parsed.interval * NS_PER_SECOND), int(parsed.quick * NS_PER_SECOND), parsed.misses)
    nodes = dict(_node_of(text) for text in parsed.node)
    if not nodes:
        raise InputError("--node", "name the nodes: --node node-1=10.0.0.11 --node node-2=10.0.0.12")
    if not parsed.lists.is_dir():
        raise InputError("--lists", f"{parsed.lists} is no folder")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    log = open_log("balancer", config.node.data_dir, terminal_level=logging.INFO)
    apply = _applying(parsed.nginx)
    Watcher(nodes, ports_of(config.ports), parsed.lists, apply, pace, SystemClock(), log).run(stopped.is_set)
    return 0


def _show(parsed: argparse.Namespace) -> int:
    state = read_state(parsed.lists)
    if state is None:
        raise AbsentError("state of a balancer", str(parsed.lists / STATE_FILE), "start `trinity balancer watch`")
    rows = [
        (node, service, said["standing"], said["reason"])
        for node, services in state["nodes"].items()
        for service, said in services.items()
    ]
    applied = "nginx has these lists" if state["applied"] else "nginx did NOT take these lists, see the watcher's log"
    print_result(state, [*table(("node", "service", "standing", "reason"), rows), applied], parsed.as_json)
    return 0


def _node_of(text: str) -> tuple[str, str]:
    name, equals, host = text.partition("=")
    if not (name and equals and host):
        raise InputError("--node", f"{text!r}: a node's name and its address, node-1=10.0.0.11")
    return name, host


def _applying(nginx: str | None) -> Apply:
    """What has nginx read the lists; nothing without its command."""
    if nginx is None:
        return lambda: None
    command = shlex.split(nginx)

    def apply() -> None:
        _call([*command, "-t", "-q"])
        _call([*command, "-s", "reload"])

    return apply


def _call(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NGINX_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BalancerRefusedError(str(error)) from None
    if done.returncode:
        raise BalancerRefusedError(" / ".join(done.stderr.split("\n")[:2]).strip() or f"exit code {done.returncode}")
