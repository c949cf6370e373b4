"""SERVER_TYPE: a real node of each type has the processes and listeners of its row, and does its work."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import psutil
import pytest

from tests.node.harness import START_SECONDS, Node, new_node
from tests.trinity.node.test_roles import ALL_HAVE, TYPES
from trinity.services import SERVICES, ServerType

pytestmark = pytest.mark.long

# The demo's own, beside what the type has: `trinity simulate` would be one more process to start for each.
DEMO_KINDS, DEMO_PORTS = {"simulator", "receiver"}, {"SIMULATOR_PORT", "PUSH_RECEIVER_PORT"}


@pytest.fixture(params=get_args(ServerType))
def typed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ServerType, Node]]:
    """A demo of each type, ready on its own health port."""
    server_type: ServerType = request.param
    with new_node(tmp_path / "node", SERVER_TYPE=server_type) as node:
        node.start()
        node.wait("readiness", lambda: node.get("/ready", _health_port(server_type))[0] == 200, START_SECONDS)
        yield server_type, node
        assert node.stop() == 0


def test_a_node_of_each_type_runs_its_row_and_nothing_else(typed: tuple[ServerType, Node]) -> None:
    """By what /health says of the processes, and by the sockets that the machine says they have."""
    server_type, node = typed
    kinds, names = TYPES[server_type]
    health = node.get("/health", _health_port(server_type))[1]
    assert (health["server_type"], health["services"]) == (server_type, list(SERVICES[server_type]))
    running = {process["kind"] for process in health["processes"].values()}
    assert running - DEMO_KINDS == ALL_HAVE | kinds
    node.wait("all listeners", lambda: _listening(node) - DEMO_PORTS >= names)
    assert _listening(node) - DEMO_PORTS == names
    answered = {"TCP_PORT_LPO": "/price?asset=BTC", "TCP_PORT_LRS": "/price?asset=BTC"}
    for name in names & set(answered):
        node.wait(f"a price on {name}", lambda name=name: node.get(answered[name], name)[0] == 200)
    whole = node.text("/metrics", _health_port(server_type))
    assert "trinity_price_fresh" in whole, "the first health port has the whole node's metrics"
    assert "ready after" in node.output()


def _health_port(server_type: ServerType) -> str:
    return "HEALTH_PORT_LRS" if SERVICES[server_type] == ("reports",) else "HEALTH_PORT_LPO"


def _listening(node: Node) -> set[str]:
    """The names of the ports that the node's processes have open; a port without a name fails."""
    assert node.process is not None
    family = [psutil.Process(node.process.pid), *psutil.Process(node.process.pid).children(recursive=True)]
    names = {(port, name.startswith("UDP")): name for name, port in node.ports.items()}
    names[node.ports["PUSH_RECEIVER_PORT"], True] = "PUSH_RECEIVER_PORT"  # over UDP as well
    found = set()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's come and go
            for connection in process.net_connections("inet"):
                is_udp = connection.type == socket.SOCK_DGRAM
                if connection.status == psutil.CONN_LISTEN or (is_udp and not connection.raddr):
                    found.add(names[connection.laddr.port, is_udp])
    return found
