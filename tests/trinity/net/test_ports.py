"""Listeners and whether their ports are free, with real sockets."""

import socket

import pytest

from trinity.config import Config, PortsSection
from trinity.errors import ConfigError, PortTakenError
from trinity.net.ports import (
    Listener,
    bind_socket,
    check_host,
    check_port,
    host_in_url,
    is_any,
    listeners_of,
    local_host,
)


def _tcp(port: int) -> Listener:
    return Listener("TCP_PORT_LPO", port, "lookups over HTTP")


def test_every_listener_has_the_name_of_its_variable() -> None:
    """The simulator is among them only where it is started."""
    config = Config(ports=PortsSection(tcp_port_lpo=1234))
    listeners = listeners_of(config, with_simulator=False)
    assert [listener.name for listener in listeners] == [
        "TCP_PORT_LPO", "UDP_PORT_LPO", "TCP_PORT_LRS", "UDP_PORT_LRS", "HEALTH_PORT_LPO", "HEALTH_PORT_LRS",
    ]  # fmt: skip
    assert listeners[0].port == 1234
    assert [listener.udp for listener in listeners] == [False, True, False, True, False, False]
    assert [listener.name for listener in listeners_of(config, with_simulator=True)][-1] == "SIMULATOR_PORT"


def test_a_listening_program_is_found_also_when_it_shares_its_port() -> None:
    """SO_REUSEPORT on the other side does not hide it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"TCP_PORT_LPO={port} is taken on 127.0.0.1"):
            check_port(_tcp(port), "127.0.0.1")
    check_port(_tcp(port), "127.0.0.1")


def test_a_port_of_all_addresses_is_taken_for_one_of_them() -> None:
    """A program on 0.0.0.0 would get the connections of 127.0.0.1."""
    with socket.create_server(("0.0.0.0", 0)) as holder, pytest.raises(PortTakenError):
        check_port(_tcp(holder.getsockname()[1]), "127.0.0.1")


def test_tcp_and_udp_have_ports_of_their_own() -> None:
    """A UDP socket takes the UDP port and leaves the TCP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        check_port(_tcp(port), "127.0.0.1")
        with pytest.raises(PortTakenError, match="UDP_PORT_LPO"):
            check_port(Listener("UDP_PORT_LPO", port, "lookups over UDP", udp=True), "127.0.0.1")


def test_connections_of_a_node_that_just_ended_do_not_hinder_the_next() -> None:
    """TIME_WAIT is on the side that closed first: here the server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
    check_port(_tcp(port), "127.0.0.1")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "not an address", "a..b", "a" * 64])
def test_an_address_that_is_not_ours_is_a_configuration_error(host: str) -> None:
    """BIND_HOST is named, not the port; with a port and without one."""
    with pytest.raises(ConfigError, match="BIND_HOST"):
        check_port(_tcp(1), host)
    with pytest.raises(ConfigError, match="BIND_HOST"):
        check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::"])
def test_an_address_of_this_machine_can_be_bound(host: str) -> None:
    """Whatever is taken on it."""
    check_host(host)


@pytest.mark.parametrize(("bound", "found"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7")])
def test_a_listener_of_all_addresses_is_found_on_loopback(bound: str, found: str) -> None:
    """Programs on the machine itself use loopback."""
    assert local_host(bound) == found


@pytest.mark.parametrize(("host", "in_url"), [("::1", "[::1]"), ("10.0.0.7", "10.0.0.7"), ("node.local", "node.local")])
def test_an_ipv6_address_stands_in_brackets_in_a_url(host: str, in_url: str) -> None:
    """Otherwise its last part would be the port."""
    assert host_in_url(host) == in_url


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(
    ("bound", "found"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("0.0.0.0", ["127.0.0.1", "127.0.0.2"]),
        ("::1", ["::1"]),
        ("::", ["::1", "127.0.0.1", "127.0.0.2"]),
        ("localhost", []),
    ],
)
def test_a_socket_is_found_where_it_is_bound(kind: socket.SocketKind, bound: str, found: list[str]) -> None:
    """`::` has both families, whatever the machine's default for IPV6_V6ONLY is."""
    with bind_socket(bound, 0, kind, shared=True) as server:
        assert is_any(server) == (bound in ("0.0.0.0", "::"))
        if kind == socket.SOCK_STREAM:
            server.listen()
        port = server.getsockname()[1]
        with bind_socket(bound, port, kind, shared=True):
            pass
        for host in found:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as client:
                client.settimeout(5)
                client.connect((host, port))


@pytest.mark.parametrize("host", ["::", "::1"])
def test_a_taken_port_is_found_over_ipv6_too(host: str) -> None:
    """The program that has it may be of either family."""
    with bind_socket("::", 0, socket.SOCK_STREAM) as holder:
        holder.listen()
        with pytest.raises(PortTakenError):
            check_port(_tcp(holder.getsockname()[1]), host)
    with socket.create_server(("127.0.0.1", 0)) as holder, pytest.raises(PortTakenError):
        check_port(_tcp(holder.getsockname()[1]), "::")
