"""Sockets that outlive who serves them, with real processes."""

import contextlib
import os
import socket

import pytest

from trinity.net.seat import Seat, Sockets, sockets_of


def _bind() -> Sockets:
    tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp.bind(("127.0.0.1", 0))
    tcp.listen()
    udp.bind(("127.0.0.1", 0))
    return tcp, udp


def _refuse() -> Sockets:
    raise AssertionError("the sockets are there")


def _serve_once(seat: Seat) -> tuple[int, int]:
    """A process takes the seat, binds, and is gone; the ports."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            tcp, udp = seat.take(_bind)
            os.write(write_fd, f"{tcp.getsockname()[1]} {udp.getsockname()[1]}".encode())
        os._exit(0)
    os.close(write_fd)
    first, second = os.read(read_fd, 100).split()
    os.close(read_fd)
    os.waitpid(pid, 0)
    return int(first), int(second)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_what_waits_when_its_process_is_gone_is_the_successors() -> None:
    """A connection in the accept queue and a datagram in the socket's queue: neither is reset, neither is lost."""
    seat = Seat(0)
    tcp_port, udp_port = _serve_once(seat)
    seat.collect()
    with socket.create_connection(("127.0.0.1", tcp_port)) as client:
        client.sendall(b"asked")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.sendto(b"datagram", ("127.0.0.1", udp_port))
            tcp, udp = seat.take(_refuse)
            connection, _ = tcp.accept()
            with connection:
                assert connection.recv(100) == b"asked"
            assert udp.recv(100) == b"datagram"
    seat.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_closed_seat_refuses_at_once_and_the_next_one_binds_anew() -> None:
    """Nobody will sit there for a while: a caller is told so, instead of waiting."""
    seat = Seat(0)
    tcp_port, _ = _serve_once(seat)
    seat.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", tcp_port), timeout=5)
    assert _serve_once(seat) != (0, 0)
    seat.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_another_child_holds_nothing_of_a_seat() -> None:
    """Else its sockets would stay open for as long as that child lives."""
    seat = Seat(0)
    tcp_port, _ = _serve_once(seat)
    seat.collect()
    told, wait = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        seat.forget()
        os.write(told[1], b"x")
        os.read(wait[0], 1)
        os._exit(0)
    os.read(told[0], 1)
    seat.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", tcp_port), timeout=5)
    os.write(wait[1], b"x")
    os.waitpid(pid, 0)
    for fd in (*told, *wait):
        os.close(fd)


def test_a_process_without_a_seat_has_sockets_of_its_own() -> None:
    """As tests and tools start it."""
    tcp, udp = sockets_of(None, _bind)
    tcp.close()
    udp.close()
