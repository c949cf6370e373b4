"""`trinity mcp`: the node as a Model Context Protocol server, for language models' tools (mcp_tools.py has them).

Rules: it speaks over standard input and output, or with --http over streamable HTTP, on this machine alone. It asks a
running node over HTTP and knows nothing itself: the configured ports of this machine, or another node's reporting
service at TRINITY_URL. TRINITY_API_KEY is sent as X-API-Key and shown nowhere. The protocol's library is an extra.
"""

import argparse
import importlib
import os
from collections.abc import Mapping
from typing import NamedTuple

from trinity.config import Config
from trinity.errors import ConfigError
from trinity.net.ports import host_in_url, local_host

_EXTRA = "mcp"


class Node(NamedTuple):
    """Where the node answers; its lookups' port needs no reporting service."""

    lookups_url: str
    reports_url: str
    key: str | None

    def __repr__(self) -> str:
        return f"Node({self.lookups_url!r}, {self.reports_url!r})"


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """A client starts it without any."""
    parser.add_argument(
        "--http", type=int, metavar="PORT", help="serve http://127.0.0.1:PORT/mcp instead of standard input and output"
    )


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Serve until standard input ends, or over HTTP until a signal."""
    node = node_of(config, os.environ)
    try:
        tools = importlib.import_module("trinity.cli.mcp_tools")
    except ModuleNotFoundError as error:
        raise missing(error) from None
    server = tools.make_server(node)
    if parsed.http is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=parsed.http)
    return 0


def missing(error: ModuleNotFoundError) -> Exception:
    """What is to be installed when the protocol's library is not; any other module that is missing is a bug."""
    if (error.name or "").partition(".")[0] != _EXTRA:
        return error
    return ConfigError("mcp", f"the library is not installed: pip install 'trinity-oracle[{_EXTRA}]'")


def node_of(config: Config, environment: Mapping[str, str]) -> Node:
    """The node that is meant: one address serves everything."""
    key = environment.get("TRINITY_API_KEY") or None
    url = (environment.get("TRINITY_URL") or "").rstrip("/")
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError("TRINITY_URL", "is the address of a reporting service, such as http://host:9090")
    host = host_in_url(local_host(config.node.bind_host))
    return Node(
        url or f"http://{host}:{config.ports.tcp_port_lpo}", url or f"http://{host}:{config.ports.tcp_port_lrs}", key
    )
