"""The node's listeners by name: how each is bound, and the question whether their ports are free.

Rules: asked before anything is started, so that a taken port stops the start with the name of the variable to change.
A port is tried by binding it once and letting it go, as the listener itself will bind it. `::` takes IPv4 as well, as
addresses within ::ffff:0:0/96, whatever the machine's default is. A UDP socket of all addresses is told with each
datagram which of them was asked: a reply from another one would not reach a connected socket or a caller behind NAT.
"""

import errno
import socket
from typing import NamedTuple

from trinity.config import Config, services_of
from trinity.errors import ConfigError, PortTakenError
from trinity.linux import IP_PKTINFO
from trinity.services import Service

# Every address of the machine, and where its own programs find what is bound to it.
_ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_HEALTH = "health and metrics"


class Listener(NamedTuple):
    """A port that the node opens; `name` is the variable that sets it."""

    name: str
    port: int
    purpose: str
    udp: bool = False


# The variable of each port, what it is for, and the services that open it.
LISTENERS: tuple[tuple[str, str, tuple[Service, ...]], ...] = (
    ("TCP_PORT_LPO", "lookups over HTTP", ("lookups",)),
    ("UDP_PORT_LPO", "lookups over UDP", ("lookups",)),
    ("TCP_PORT_LRS", "reports over HTTP", ("reports",)),
    ("UDP_PORT_LRS", "reports over UDP", ("reports",)),
    ("HEALTH_PORT_LPO", _HEALTH, ("lookups", "push")),
    ("HEALTH_PORT_LRS", _HEALTH, ("reports",)),
)


def listeners_of(config: Config, with_simulator: bool, with_receiver: bool = False) -> list[Listener]:
    """All ports that the node opens."""
    services = services_of(config)
    opened = [
        Listener(name, getattr(config.ports, name.lower()), purpose, udp=name.startswith("UDP"))
        for name, purpose, opening in LISTENERS
        if not set(opening).isdisjoint(services)
    ]
    if with_simulator:
        opened.append(Listener("SIMULATOR_PORT", config.simulator.port, "simulated exchanges"))
    if with_receiver:
        port = config.push.receiver_port
        opened.append(Listener("PUSH_RECEIVER_PORT", port, "what is pushed, HTTPS"))
        opened.append(Listener("PUSH_RECEIVER_PORT", port, "what is pushed, UDP", udp=True))
    return opened


def health_listeners_of(config: Config) -> list[Listener]:
    """Those of them that say how the node does; the first one says it of the whole node."""
    return [listener for listener in listeners_of(config, with_simulator=False) if listener.purpose == _HEALTH]


def local_host(bind_host: str) -> str:
    """Where a program on this machine finds a listener that is bound to `bind_host`."""
    return _ANY_HOSTS.get(bind_host, bind_host)


def host_in_url(host: str) -> str:
    """The host as a URL has it: an IPv6 address stands in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def bind_socket(host: str, port: int, kind: socket.SocketKind, *, shared: bool = False) -> socket.socket:
    """A bound socket of the host's family that does not block; `shared` with other processes of the node.

    Raises OSError as bind(2), and socket.gaierror, which is one, for what is no address.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind == socket.SOCK_STREAM:
            # Connections of a node that just ended (TIME_WAIT) are no reason to refuse; a listening program still is.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
        if kind == socket.SOCK_DGRAM and is_any(bound):
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                bound.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    except OSError:
        bound.close()
        raise
    return bound


def is_any(bound: socket.socket) -> bool:
    """Whether the socket is bound to every address of the machine."""
    return bound.getsockname()[0] in _ANY_HOSTS


def check_host(host: str) -> None:
    """ConfigError where the host has no address of this machine: on some free port it can be bound."""
    check_port(Listener("BIND_HOST", 0, "", udp=True), host)


def check_port(listener: Listener, host: str) -> None:
    """Bind the port once; raises PortTakenError, or ConfigError where the host or the port can never be bound."""
    try:
        with bind_socket(host, listener.port, socket.SOCK_DGRAM if listener.udp else socket.SOCK_STREAM) as probe:
            if not listener.udp:
                probe.listen()
    except UnicodeError:  # a label of it is empty or longer than 63
        raise ConfigError("BIND_HOST", f"{host!r} is no host's name") from None
    except PermissionError:
        raise ConfigError(listener.name, f"{listener.port} needs privileges: use a port above 1023") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(listener.name, host, listener.port) from None
        raise ConfigError("BIND_HOST", f"{host!r}: {error.strerror}") from None
