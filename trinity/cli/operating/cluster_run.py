"""`trinity cluster run`: a whole cluster on this machine, from the files that are deployed; Ctrl-C ends all of it.

One PostgreSQL, one Valkey with TLS, simulated exchanges, three nodes that answer, a push server, nginx in front. It
works in `cluster/` of the data directory (`cluster-x-y/` for another network than 127.0.0.0).
"""

import argparse
import datetime
import sys
from collections.abc import Callable

from trinity.access import keys
from trinity.access.audit import Actor, acting
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.compiled import written_folder
from trinity.config import Config
from trinity.errors import ClusterPartError
from trinity.node.cluster.files import prepare_files, read_secret, write_parts, write_secret
from trinity.node.cluster.launcher import ClusterLauncher, StopAskedError
from trinity.node.cluster.layout import DEFAULT_NETWORK, ClusterLayout, layout_of, parse_network
from trinity.node.cluster.page import page_of
from trinity.node.cluster.programs import build_groups, compiler, find_programs
from trinity.node.data_dir import claim_data_dir
from trinity.observe.log import open_log
from trinity.store import migrate
from trinity.store.connect import connect
from trinity.store.embedded import embedded_url
from trinity.terminal import print_result, say

_ACTOR = Actor("cluster", "command")
_ACCOUNT, _PLAN = "demo", "free"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it is to listen."""
    parser.add_argument(
        "--network",
        metavar="ADDRESS",
        default=str(DEFAULT_NETWORK.network_address),
        help="run, roll: the loopback network of its addresses, 127.0.0.0; a second cluster needs another",
    )


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Start it, stay until a signal, end it."""
    console = sys.stderr if parsed.as_json else sys.stdout
    network = parse_network(parsed.network)
    clock = SystemClock()
    layout = layout_of(config.node.data_dir, network)
    programs = find_programs()
    started_ns = clock.monotonic_ns()

    def tell(line: str) -> None:
        say(f"{(clock.monotonic_ns() - started_ns) / NS_PER_SECOND:7.1f} s  {line}", console)

    with claim_data_dir(layout.folder):
        now = datetime.datetime.fromtimestamp(clock.wall_ns() / NS_PER_SECOND, datetime.UTC)
        machine_code = written_folder()
        assert machine_code is not None, "prepare_cache comes before any command"
        prepare_files(layout, machine_code.resolve(), now, programs.nginx_modules)
        log = open_log("cluster", layout.folder)
        groups = build_groups(layout, config, programs, log, lambda: launcher.turn())
        launcher = ClusterLauncher(groups, clock, tell, lambda pids: write_parts(layout, pids))
        launcher.catch_signals()
        try:
            _start(layout, config, launcher, tell)
            has_monitoring = any(part.name == "prometheus" for part in launcher.groups[-1])
            for line in page_of(layout, has_monitoring):
                say(line, console)
            launcher.run()
        except StopAskedError:
            pass
        finally:
            tell("stopping")
            launcher.stop()
            tell("stopped")
    print_result({"exit_code": 0, "message": ""}, [], parsed.as_json)
    return 0


def _start(layout: ClusterLayout, config: Config, launcher: ClusterLauncher, tell: Callable[[str], None]) -> None:
    """Group after group; the tables and a key are made when the database is there."""
    compiling = compiler(layout, config)
    compiling.start()
    try:
        tell("starting PostgreSQL; it is made at the first start")
        stores, exchanges, nodes, front = launcher.groups
        launcher.start_group(stores)
        migrate.ensure(embedded_url(layout.folder))
        _make_key(layout, config)
        tell("starting Valkey and the simulated exchanges")
        launcher.start_group(exchanges)
        if compiling.exit_code() is None:
            tell("waiting for machine code: half a minute and more, after an update only")
        while (code := compiling.exit_code()) is None:
            launcher.turn()
        if code != 0:
            raise ClusterPartError(compiling.name, compiling.last_words())
        tell("starting the nodes")
        launcher.start_group(nodes)
        launcher.start_group(front)
        tell("ready")
    finally:
        compiling.kill()


def _make_key(layout: ClusterLayout, config: Config) -> None:
    """A key to try things with; the one of an earlier start, while there is one."""
    if read_secret(layout, "api_key"):
        return
    with (
        connect(embedded_url(layout.folder), "cluster", autocommit=True) as connection,
        acting(connection, _ACTOR, "cluster run"),
    ):
        _, secret = keys.create(connection, keys.NewKey(_ACCOUNT, _PLAN), config.access.keys_max)
    write_secret(layout, "api_key", secret)
