"""The node's listeners by name, and the question whether their ports are free.

Rules: asked before anything is started, so that a taken port stops the start with the name of the variable to change.
A port is tried by binding it once and letting it go.
"""

import errno
import socket
from typing import NamedTuple

from trinity.config import Config
from trinity.errors import ConfigError, PortTakenError

_ANY_HOST = "0.0.0.0"


class Listener(NamedTuple):
    """A port that the node opens; `name` is the variable that sets it."""

    name: str
    port: int
    purpose: str
    udp: bool = False


def listeners_of(config: Config, with_simulator: bool) -> list[Listener]:
    """All ports that the node opens."""
    ports = config.ports
    opened = [
        Listener("TCP_PORT_LPO", ports.tcp_port_lpo, "lookups over HTTP"),
        Listener("UDP_PORT_LPO", ports.udp_port_lpo, "lookups over UDP", udp=True),
        Listener("TCP_PORT_LRS", ports.tcp_port_lrs, "reports over HTTP"),
        Listener("UDP_PORT_LRS", ports.udp_port_lrs, "reports over UDP", udp=True),
        Listener("HEALTH_PORT_LPO", ports.health_port_lpo, "health and metrics"),
        Listener("HEALTH_PORT_LRS", ports.health_port_lrs, "health and metrics"),
    ]
    if with_simulator:
        opened.append(Listener("SIMULATOR_PORT", config.simulator.port, "simulated exchanges"))
    return opened


def local_host(bind_host: str) -> str:
    """Where a program on this machine finds a listener that is bound to `bind_host`."""
    return "127.0.0.1" if bind_host == _ANY_HOST else bind_host


def check_port(listener: Listener, host: str) -> None:
    """Bind the port once; raises PortTakenError, or ConfigError where the host or the port can never be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if listener.udp else socket.SOCK_STREAM) as probe:
        if not listener.udp:
            # Connections of a node that just ended (TIME_WAIT) are no reason to refuse; a listening program still is.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, listener.port))
            if not listener.udp:
                probe.listen()
        except PermissionError:
            raise ConfigError(listener.name, f"{listener.port} needs privileges: use a port above 1023") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(listener.name, host, listener.port) from None
            raise ConfigError("BIND_HOST", f"{host!r}: {error.strerror}") from None
