"""workers/push/udp/outbox.py: a socket without room."""

import ipaddress
import socket
from pathlib import Path

import numpy as np
import pytest

from tests.workers.push.udp.test_sender import NAMES, SECRET, Place
from trinity.compiled import jit_enabled
from trinity.vocabulary import DELIVERY_OUTCOMES
from workers.push.udp.sender import BATCH_MAX, UdpSubscription

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")


def test_what_a_full_socket_does_not_take_is_given_up_and_said(tmp_path: Path) -> None:
    """A pair of sockets in the place of a network that stands still: the batch ends, and each has its record."""
    place = Place(tmp_path)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        udp, epoll = place.sender._sockets[socket.AF_INET]
        udp.close()
        place.sender._sockets[socket.AF_INET] = ours, epoll
        address = ipaddress.ip_address("127.0.0.1")
        slots = [
            place.sender.add(UdpSubscription(number, 7, address, 9, range(len(NAMES)), SECRET, 1))
            for number in range(BATCH_MAX)
        ]
        for slot in slots:  # a pair is connected: no address
            place.sender._slots[slot]["sockaddr_length"] = 0
        count = np.zeros(BATCH_MAX, dtype=np.int64)
        is_sent = place.sender.send(np.array(slots), count.astype(np.uint8), count)
        assert not is_sent.all()
        records = place.ring.read(place.ring.released, 1 << 14)
        outcomes = {DELIVERY_OUTCOMES[outcome] for outcome in set(records["outcome"].tolist())}
        assert outcomes == {"sent", "send_failed"}
        assert len(set(records["subscription_id"].tolist())) == BATCH_MAX
    finally:
        ours.close()
        theirs.close()
        place.close()
