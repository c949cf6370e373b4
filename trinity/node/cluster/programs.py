"""The programs of a cluster on one machine: which must be installed, how each is called, how it says that it is ready.

Rules: a missing program is a MissingProgramError before anything was started. Questions whether one is ready take a
second at most, because the launcher has one thread.
"""

import http
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import valkey
from valkey.exceptions import ValkeyError

from trinity.balancer.watcher import read_standings
from trinity.config import Config, SimulatorSection
from trinity.errors import MissingProgramError
from trinity.markets import load_catalog
from trinity.node.cluster.files import read_secret
from trinity.node.cluster.layout import (
    ClusterLayout,
    NodePlace,
    environment_of_node,
    without_settings,
)
from trinity.node.cluster.monitoring import monitoring_parts
from trinity.node.cluster.parts import ASKING_SECONDS, ClusterPart, DatabasePart, Program, get_status
from trinity.store.embedded import Server
from trinity.store.settings import server_settings

_NGINX_PACKAGES, _VALKEY_PACKAGES = "nginx libnginx-mod-stream", "valkey-server, else redis-server"
_MODULES_FOLDER = re.compile(r"--modules-path=(\S+)")
# Where distributions keep what only administrators call.
_MORE_FOLDERS = "/usr/sbin:/usr/local/sbin"
# Four nodes with some 20 connections each, and a tool or two.
_DATABASE_SETTINGS = {"max_connections": "200"}
# Each quote goes to four nodes; with so many they take half of what they take with those of one node's demo.
QUOTES_PER_SECOND = 150
# As root nginx would give its workers another account, which may not enter the folder.
_AS_ROOT = "user root;" if os.geteuid() == 0 else ""
# Four nodes share the cores of one machine: none has a core of its own.
_SMALL_NODE = {"REQUEST_WORKERS": "1", "REQUEST_PIN": "off", "LEDGER_RING_RECORDS": str(1 << 16)}


@dataclass(frozen=True)
class InstalledPrograms:
    """Where they are, and the line by which nginx learns of streams."""

    nginx: str
    valkey: str
    nginx_modules: str


def find_programs(path: str | None = None) -> InstalledPrograms:
    """Look for them on the PATH; MissingProgramError."""
    nginx = _find("nginx", path)
    if nginx is None:
        raise MissingProgramError("nginx", _NGINX_PACKAGES)
    server = _find("valkey-server", path) or _find("redis-server", path)
    if server is None:
        raise MissingProgramError("valkey-server", _VALKEY_PACKAGES)
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=False).stderr
    modules = stream_module_line(built)
    if modules is None:
        raise MissingProgramError("nginx's stream module", _NGINX_PACKAGES)
    return InstalledPrograms(nginx, server, modules)


def stream_module_line(built: str) -> str | None:
    """The line that loads nginx's stream module, "" where it is built in, None where there is none."""
    if "--with-stream" in built.split():
        return ""
    folder = _MODULES_FOLDER.search(built)
    module = Path(folder[1]) / "ngx_stream_module.so" if folder else None
    return f"load_module {module};" if module is not None and module.exists() else None


def compiler(layout: ClusterLayout, config: Config) -> Program:
    """Makes, once for all nodes, the machine code that they load."""
    environment = without_settings(os.environ, {"TRINITY_DATA_DIR": str(config.node.data_dir)})
    command = (sys.executable, "-m", "trinity", "compile")
    return Program("compiler", command, _log_file(layout, "compiler"), lambda: True, environment)


def build_groups(
    layout: ClusterLayout, config: Config, programs: InstalledPrograms, log: logging.Logger, turn: Callable[[], None]
) -> list[list[ClusterPart]]:
    """All parts in the order of a start: stores and exchanges, nodes, what stands in front of them."""
    nodes: list[ClusterPart] = [_node(layout, config, node) for node in layout.nodes]
    settings = dict(server_settings(backed_up=bool(config.backup.target))) | _DATABASE_SETTINGS
    database = DatabasePart(lambda: Server(layout.folder, log, settings), turn)
    front: list[ClusterPart] = [_nginx(layout, programs), _balancer(layout, programs), *monitoring_parts(layout)]
    return [[database], [_valkey(layout, programs), _simulator(layout, config)], nodes, front]


def _valkey(layout: ClusterLayout, programs: InstalledPrograms) -> Program:
    def is_ready() -> bool:
        url = read_secret(layout, "cache_url")
        bounds = {"socket_timeout": ASKING_SECONDS, "socket_connect_timeout": ASKING_SECONDS}
        tls = {"ssl_ca_certs": str(layout.authority), "ssl_check_hostname": True}
        with valkey.Valkey.from_url(url, **bounds, **tls) as client:
            try:
                return bool(client.ping())
            except (ValkeyError, OSError):
                return False

    command = (programs.valkey, str(layout.data_dir("valkey") / "valkey.conf"))
    return Program("valkey", command, _log_file(layout, "valkey"), is_ready, os.environ)


def _simulator(layout: ClusterLayout, config: Config) -> Program:
    given = {"BIND_HOST": layout.simulator, "TRINITY_DATA_DIR": str(layout.data_dir("simulator"))}
    if config.simulator.quotes_per_second == SimulatorSection().quotes_per_second:
        given["SIMULATOR_QUOTES_PER_SECOND"] = str(QUOTES_PER_SECOND)
    return Program(
        "simulator",
        (sys.executable, "-m", "trinity", "simulate"),
        _log_file(layout, "simulator"),
        lambda: get_status(layout.simulator, config.simulator.port, "/") == http.HTTPStatus.OK,
        without_settings(os.environ, given),
    )


def _node(layout: ClusterLayout, config: Config, node: NodePlace) -> Program:
    exchanges = tuple(load_catalog(config.node.markets_file).exchanges)
    given = _SMALL_NODE | environment_of_node(layout, node, exchanges, config.simulator.port)
    ports = [config.ports.health_port_lpo]
    if node in layout.answering:
        ports.append(config.ports.health_port_lrs)
    return Program(
        node.name,
        (sys.executable, "-m", "trinity", "run", "--config", str(layout.folder / "node.toml")),
        _log_file(layout, node.name),
        lambda: all(get_status(node.host, port, "/ready") == http.HTTPStatus.OK for port in ports),
        without_settings(os.environ, given),
    )


def _nginx(layout: ClusterLayout, programs: InstalledPrograms) -> Program:
    return Program(
        "nginx",
        (*nginx_command(layout, programs), "-g", "daemon off;" + _AS_ROOT),
        _log_file(layout, "nginx"),
        lambda: get_status(layout.proxy, 8080, "/") not in (0, http.HTTPStatus.BAD_GATEWAY),
        os.environ,
    )


def nginx_command(layout: ClusterLayout, programs: InstalledPrograms) -> tuple[str, ...]:
    """As it is called for its folder and its file, whatever it is then told to do."""
    folder = layout.data_dir("nginx")
    return (programs.nginx, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf"))


def _balancer(layout: ClusterLayout, programs: InstalledPrograms) -> Program:
    """Tells nginx which nodes are well; it is ready when it has heard of all."""
    nodes = [word for node in layout.answering for word in ("--node", f"{node.name}={node.host}")]
    reload = shlex.join((*nginx_command(layout, programs), *(("-g", _AS_ROOT) if _AS_ROOT else ())))
    watch = ("--lists", str(layout.lists), "--nginx", reload, *nodes)
    return Program(
        "balancer",
        (sys.executable, "-m", "trinity", "balancer", "watch", *watch),
        _log_file(layout, "balancer"),
        lambda: bool(read_standings(layout.lists)),
        without_settings(os.environ, {"TRINITY_DATA_DIR": str(layout.data_dir("balancer"))}),
    )


def _find(program: str, path: str | None) -> str | None:
    if path is not None:
        return shutil.which(program, path=path)
    return shutil.which(program) or shutil.which(program, path=_MORE_FOLDERS)


def _log_file(layout: ClusterLayout, name: str) -> Path:
    return layout.folder / "logs" / f"{name}.log"
