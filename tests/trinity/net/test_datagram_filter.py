"""The kernel's own verdict, over real sockets of both families."""

import socket

import pytest

from trinity.net.datagram_filter import attach_filter
from trinity.net.ports import bind_socket

MAGIC = b"\xd7TRQ"
END = b"end"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
@pytest.mark.parametrize(
    ("datagram", "is_kept"),
    [
        (b"", False),
        (b"B", True),
        (b"BTC", True),
        (b"x" * 2_048, True),
        (b"x" * 2_049, False),
        (b"x" * 60_000, False),
        (b"\x00", True),
        (b"\xff" * 40, True),
        (b'{"asset":"BTC"}', True),
        (MAGIC, True),
        (MAGIC + bytes(40), True),
        (b"\xd7TRA" + bytes(40), False),
        (b"\xd7", False),
        (b"\xd7TR", False),
    ],
)
def test_only_what_is_never_answered_is_dropped(host: str, datagram: bytes, is_kept: bool) -> None:
    """Empty, too long, and what begins as a frame but is no request; the next datagram comes in either case."""
    with bind_socket(host, 0, socket.SOCK_DGRAM) as server, socket.socket(server.family, socket.SOCK_DGRAM) as client:
        attach_filter(server, 2_048, MAGIC)
        server.setblocking(True)
        server.settimeout(5)
        client.connect(("::1" if ":" in host else "127.0.0.1", server.getsockname()[1]))
        client.send(datagram)
        client.send(END)
        assert server.recv(65_536) == (datagram if is_kept else END)
