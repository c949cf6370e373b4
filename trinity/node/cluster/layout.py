"""Who is where in a cluster on one machine: addresses, names, folders, and what each node is told. Pure.

    127.x.y.1    what clients ask: nginx            .11 .12 .13  nodes that answer (APP_REPORT_SERVER)
    127.x.y.10   nginx, as the nodes see it         .14          the push server (WEBHOOK_SERVER)
    127.x.y.15   Valkey                             .16          the simulated exchanges of all of them
    127.x.y.17   Prometheus, where it is installed  .18          Alertmanager, the same

Rules: all ports are those of the specification, because each program has an address of its own; two clusters on one
machine are two networks. Secrets are in files that their owner alone may read, and nodes are told the files' names.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from trinity.environment import prefixed
from trinity.errors import InputError
from trinity.services import ServerType

LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")
DEFAULT_NETWORK = ipaddress.IPv4Network("127.0.0.0/24")
CACHE_PORT, CACHE_USER = 6379, "trinity"
# Of nginx here, where 443 is the administrator's alone.
TLS_PORT = 8443
ANSWERING: ServerType = "APP_REPORT_SERVER"
PUSHING: ServerType = "WEBHOOK_SERVER"
_PROXY, _PROXY_SOURCE, _FIRST_NODE, _CACHE, _SIMULATOR, _PROMETHEUS, _ALERTMANAGER = 1, 10, 11, 15, 16, 17, 18
_SERVER_TYPES = (ANSWERING, ANSWERING, ANSWERING, PUSHING)


class NodePlace(NamedTuple):
    """One node of the cluster."""

    name: str
    host: str
    server_type: ServerType


@dataclass(frozen=True)
class ClusterLayout:
    """Everything that follows from the network and the folder."""

    folder: Path
    network: ipaddress.IPv4Network = DEFAULT_NETWORK

    @property
    def proxy(self) -> str:
        return self._host(_PROXY)

    @property
    def proxy_source(self) -> str:
        return self._host(_PROXY_SOURCE)

    @property
    def cache(self) -> str:
        return self._host(_CACHE)

    @property
    def simulator(self) -> str:
        return self._host(_SIMULATOR)

    @property
    def prometheus(self) -> str:
        return self._host(_PROMETHEUS)

    @property
    def alertmanager(self) -> str:
        return self._host(_ALERTMANAGER)

    @property
    def nodes(self) -> tuple[NodePlace, ...]:
        """Their names are part of the names of shared memory: of another network they are others."""
        _, x, y, _ = self.network.network_address.packed
        stem = "node" if self.network == DEFAULT_NETWORK else f"node-{x}-{y}"
        return tuple(
            NodePlace(f"{stem}-{number + 1}", self._host(_FIRST_NODE + number), server_type)
            for number, server_type in enumerate(_SERVER_TYPES)
        )

    @property
    def answering(self) -> tuple[NodePlace, ...]:
        return tuple(node for node in self.nodes if node.server_type == ANSWERING)

    @property
    def certificates(self) -> Path:
        return self.folder / "certificates"

    @property
    def authority(self) -> Path:
        """The certificate of who signed Valkey's."""
        return self.certificates / "authority.pem"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def lists(self) -> Path:
        """The nodes that nginx asks, as the watcher writes them."""
        return self.folder / "nodes"

    def data_dir(self, name: str) -> Path:
        """The folder of a node or another program."""
        return self.folder / name

    def cache_url(self, password: str) -> str:
        return f"valkeys://{CACHE_USER}:{password}@{self.cache}:{CACHE_PORT}"

    def _host(self, number: int) -> str:
        return str(self.network.network_address + number)


def layout_of(data_dir: Path, network: ipaddress.IPv4Network) -> ClusterLayout:
    """The cluster of this network in this data directory; each has a folder of its own."""
    _, x, y, _ = network.network_address.packed
    name = "cluster" if network == DEFAULT_NETWORK else f"cluster-{x}-{y}"
    return ClusterLayout((data_dir / name).resolve(), network)


def parse_network(text: str) -> ipaddress.IPv4Network:
    """The 256 loopback addresses around one of them; InputError for what is not loopback."""
    try:
        network = ipaddress.IPv4Network(f"{ipaddress.IPv4Address(text)}/24", strict=False)
    except ValueError:
        raise InputError("--network", f"{text!r} is no IPv4 address: 127.0.0.0, or another of 127.*") from None
    if not network.subnet_of(LOOPBACK):
        raise InputError("--network", f"{text} is not loopback: 127.0.0.0, or another of 127.*")
    return network


def fill(template: str, layout: ClusterLayout, words: Mapping[str, str]) -> str:
    """A file of `deploy/` with its names filled in; a line with NODE once for each node that answers."""
    known = {
        "PROXY": layout.proxy,
        "PROXY_BIND": layout.proxy_source,
        "PROXY_SOURCE": layout.proxy_source,
        "UDP_BIND": "$remote_addr",
        "TLS_PORT": str(TLS_PORT),
        "CACHE": layout.cache,
        "PUSH": next(node.host for node in layout.nodes if node.server_type == PUSHING),
        "PROMETHEUS": layout.prometheus,
        "ALERTMANAGER": layout.alertmanager,
        "CERTIFICATES": str(layout.certificates),
    } | dict(words)
    return "".join(_filled_lines(template, layout, known))


def _filled_lines(template: str, layout: ClusterLayout, known: Mapping[str, str]) -> Iterator[str]:
    for line in template.splitlines(keepends=True):
        if line.lstrip().startswith("#"):
            continue  # it says what is filled in
        copies = [line.replace("@NODE@", node.host) for node in layout.answering] if "@NODE@" in line else [line]
        for copy in copies:
            for word, text in known.items():
                copy = copy.replace(f"@{word}@", text)
            yield copy


def environment_of_node(
    layout: ClusterLayout, node: NodePlace, exchanges: tuple[str, ...], port: int
) -> dict[str, str]:
    """What this node is told beside the file of all: who it is, and that its exchanges are simulated."""
    exchanges_at = f"{layout.simulator}:{port}"
    return {
        "CLUSTER_NODE": node.name,
        "SERVER_TYPE": node.server_type,
        "BIND_HOST": node.host,
        "TRINITY_DATA_DIR": str(layout.data_dir(node.name)),
        "FEEDS_SIMULATED": "on",
        "WS_BASE_URLS": ",".join(f"{name}=ws://{exchanges_at}/{name}" for name in exchanges),
        "REST_BASE_URLS": ",".join(f"{name}=http://{exchanges_at}/{name}" for name in exchanges),
        "DATABASE_URL_FILE": str(layout.secrets / "database_url"),
        "CACHE_URL_FILE": str(layout.secrets / "cache_url"),
        "CACHE_CA_FILE": str(layout.authority),
        "ADMIN_KEY_FILE": str(layout.secrets / "admin_key"),
    }


def without_settings(environment: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The environment with `given` in it, and nothing left that says another value for one of these settings."""
    names = {name.removesuffix("_FILE") for name in given}
    spelled = {form for name in names for form in (name, prefixed(name))}
    dropped = spelled | {f"{name}_FILE" for name in spelled}
    return {name: text for name, text in environment.items() if name not in dropped} | dict(given)
