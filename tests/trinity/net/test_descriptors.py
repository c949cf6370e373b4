"""Connections found among this process's own descriptors, over real sockets."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from trinity.net.descriptors import Peer, duplicates, peer_at, sockets


@pytest.fixture
def held() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def _listener(held: contextlib.ExitStack, host: str = "127.0.0.1") -> tuple[socket.socket, int]:
    listener = held.enter_context(socket.create_server((host, 0)))
    return listener, listener.getsockname()[1]


def _connect(held: contextlib.ExitStack, listener: socket.socket) -> tuple[socket.socket, socket.socket, Peer]:
    """(the client's end, ours, how ours names the client)."""
    client = held.enter_context(socket.create_connection(listener.getsockname()))
    ours = held.enter_context(listener.accept()[0])
    return client, ours, ours.getpeername()[:2]


def test_a_duplicate_is_the_same_connection_and_outlives_the_first(held: contextlib.ExitStack) -> None:
    """Of many, each peer gets its own; what is written to it arrives."""
    listener, port = _listener(held)
    made = [_connect(held, listener) for _ in range(5)]
    found = duplicates([peer for _, _, peer in made], {port})
    assert set(found) == {peer for _, _, peer in made}
    for number, (client, ours, peer) in enumerate(made):
        ours.close()
        os.write(found[peer], b"%d" % number)
        os.close(found[peer])
        assert client.recv(10) == b"%d" % number


def test_only_connections_to_our_own_ports_are_found(held: contextlib.ExitStack) -> None:
    """A client may come from the very address that we are connected to elsewhere: what we asked for is no caller."""
    elsewhere, _ = _listener(held)
    held.enter_context(socket.create_connection(elsewhere.getsockname()))
    _, port = _listener(held)
    assert duplicates([elsewhere.getsockname()], {port}) == {}


def test_one_peer_at_two_of_our_addresses_is_left_out(held: contextlib.ExitStack) -> None:
    """They cannot be told apart by their peer, so neither is taken."""
    first, port = _listener(held, "127.0.0.1")
    second = held.enter_context(socket.create_server(("127.0.0.2", port)))
    clients = []
    for listener in (first, second):
        client = held.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.0.1", clients[0].getsockname()[1] if clients else 0))
        client.connect(listener.getsockname())
        held.enter_context(listener.accept()[0])
        clients.append(client)
    peer = clients[0].getsockname()[:2]
    assert clients[1].getsockname()[:2] == peer
    assert duplicates([peer], {port}) == {}


def test_a_duplicate_more_is_no_second_connection(held: contextlib.ExitStack) -> None:
    """What was duplicated before is found again, and listed once."""
    listener, port = _listener(held)
    _, ours, peer = _connect(held, listener)
    held.enter_context(ours.dup())
    inode = os.fstat(ours.fileno()).st_ino
    assert [found for _, found in sockets()].count(inode) == 1
    found = duplicates([peer], {port})
    assert os.fstat(found[peer]).st_ino == inode
    os.close(found[peer])


def test_what_is_no_connection_has_no_peer(held: contextlib.ExitStack) -> None:
    """A listener, a pair, a file and a descriptor that is closed."""
    listener, port = _listener(held)
    one, other = socket.socketpair()
    held.enter_context(one)
    held.enter_context(other)
    with open(os.devnull) as file:
        assert [peer_at(fd, {port}) for fd in (listener.fileno(), one.fileno(), file.fileno())] == [None] * 3
        closed = file.fileno()
    assert peer_at(closed, {port}) is None
