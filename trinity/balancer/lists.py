"""The lists of nodes that `deploy/nginx.conf` includes, one for each of its upstreams. Pure.

    lookups.conf, reports.conf           HTTP: a node that fails gets nothing for a second
    lookups_udp.conf, reports_udp.conf   UDP: the same for ten seconds; and each node once more as a backup, without
                                         counting, because a datagram that is left unanswered on purpose counts like a
                                         failure

Rules: a node that is out stays as a comment that says why; a list is never empty, for nginx takes none.
"""

from collections.abc import Sequence
from typing import NamedTuple

from trinity.config import PortsSection
from trinity.net.ports import host_in_url

# What is counted against a node, and for how long it gets nothing: then one request tells whether it is back. Over HTTP
# that one is asked again elsewhere. Over UDP it is lost, and is then as likely as any the second try of somebody whose
# first one went down with the node: so long that the watcher has taken the node out meanwhile. It also brings it back.
_COUNTED, _COUNTED_UDP = "max_fails=1 fail_timeout=1s", "max_fails=1 fail_timeout=10s"
_NOT_COUNTED = "backup max_fails=0"
LOOKUPS, REPORTS = "lookups", "reports"
SERVICES = (LOOKUPS, REPORTS)


class ServicePorts(NamedTuple):
    """Where a service listens on each node."""

    health: int
    tcp: int
    udp: int


def ports_of(section: PortsSection) -> dict[str, ServicePorts]:
    """Of each service."""
    return {
        LOOKUPS: ServicePorts(section.health_port_lpo, section.tcp_port_lpo, section.udp_port_lpo),
        REPORTS: ServicePorts(section.health_port_lrs, section.tcp_port_lrs, section.udp_port_lrs),
    }


class Place(NamedTuple):
    """A node and the address at which it was found."""

    node: str
    address: str


def write_lists(
    service: str, ports: ServicePorts, asked: Sequence[Place], left_out: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """The texts by their file names; `left_out` are names of nodes and the reasons."""
    said = [f"# {node}: {' '.join(reason.split())}" for node, reason in left_out]
    over_tcp, over_udp = said.copy(), said.copy()
    for place in asked:
        host = host_in_url(place.address)
        over_tcp.append(f"server {host}:{ports.tcp} {_COUNTED};  # {place.node}")
        over_udp.append(f"server {host}:{ports.udp} {_COUNTED_UDP};  # {place.node}")
        over_udp.append(f"server {host}:{ports.udp} {_NOT_COUNTED};")
    return {
        f"{service}.conf": "\n".join([*over_tcp, ""]),
        f"{service}_udp.conf": "\n".join([*over_udp, ""]),
    }
