"""workers/request/sockets.py, in a process of its own where it changes the process."""

import os
import select
import signal
import socket

import pytest

from tests.support.patience import PATIENCE
from trinity.errors import PortTakenError
from workers.request.sockets import BACKLOG, bind, open_signal_fd, pin_to_cpu

HOST = "127.0.0.1"
# signalfd(2): a record begins with the signal's number.
_RECORD_BYTES = 128


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_workers_share_a_port(kind: socket.SocketKind) -> None:
    """Each has a socket of its own on it."""
    with bind("PORT", HOST, 0, kind) as first, bind("PORT", HOST, first.getsockname()[1], kind) as second:
        assert first.getsockname() == second.getsockname()


@pytest.mark.parametrize(("kind", "name"), [(socket.SOCK_STREAM, "TCP_PORT_LPO"), (socket.SOCK_DGRAM, "UDP_PORT_LPO")])
def test_a_port_of_somebody_who_does_not_share_is_named(kind: socket.SocketKind, name: str) -> None:
    """With the setting that would change it."""
    with socket.socket(socket.AF_INET, kind) as stranger:
        stranger.bind((HOST, 0))
        port = stranger.getsockname()[1]
        with pytest.raises(PortTakenError) as caught:
            bind(name, HOST, port, kind)
    assert (caught.value.name, caught.value.port) == (name, port)


def test_an_address_that_is_not_the_machine_s_is_no_taken_port() -> None:
    """192.0.2.1 is nobody's (RFC 5737): the system's own error."""
    with pytest.raises(OSError, match="assign requested address"):
        bind("TCP_PORT_LPO", "192.0.2.1", 0, socket.SOCK_STREAM)


def test_what_is_accepted_sends_each_answer_at_once() -> None:
    """TCP_NODELAY is inherited from the listening socket."""
    with bind("PORT", HOST, 0, socket.SOCK_STREAM) as listener:
        listener.listen(BACKLOG)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_a_datagram_socket_has_a_longer_queue_than_the_system_gives() -> None:
    """And what is never answered, as an empty datagram, takes no place in it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        usual = client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        with bind("PORT", HOST, 0, socket.SOCK_DGRAM) as bound:
            assert bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > usual
            bound.settimeout(5)
            for sent in (b"", b"BTC"):
                client.sendto(sent, bound.getsockname())
            assert bound.recv(100) == b"BTC"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_read_and_ends_nobody(number: signal.Signals) -> None:
    """The process goes on after it; nothing is there before it."""
    reading, writing = os.pipe()
    child = os.fork()  # the signals that are blocked are the process's
    if child == 0:
        try:
            fd = open_signal_fd()
            was_idle = not select.select([fd], [], [], 0)[0]
            os.kill(os.getpid(), number)
            is_told = bool(select.select([fd], [], [], 10 * PATIENCE)[0])
            os.write(writing, bytes([was_idle, os.read(fd, _RECORD_BYTES)[0] if is_told else 0]))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        assert said.read() == bytes([True, number])
    assert os.waitpid(child, 0)[1] == 0


def test_worker_i_runs_on_the_ith_cpu_that_the_node_may_use() -> None:
    """Round and round where there are more workers than CPUs."""
    before = sorted(os.sched_getaffinity(0))
    try:
        for worker in range(2 * len(before) + 1):
            os.sched_setaffinity(0, before)
            pin_to_cpu(worker)
            assert os.sched_getaffinity(0) == {before[worker % len(before)]}
    finally:
        os.sched_setaffinity(0, before)
