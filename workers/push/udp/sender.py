"""Datagrams to many subscriptions at once. Compiled: 50,000 a second and core.

How the push server uses it:

    slot = sender.add(UdpSubscription(...))          once; `change` when anything of it changes, `remove` at its end
    sender.set_sequence(slot, epoch << 32)           the last sequence that is used: at each new epoch
    is_sent = sender.send(slots, reasons, due_ns)    at most BATCH_MAX of them; it reads the prices itself
    sender.last_sequence(slot)                       for the subscription's state

Rules: the newest prices go into every batch. One subscription of many assets takes several datagrams, each with a
sequence and a record of its own. A datagram that the kernel does not take within some milliseconds is not repeated:
the next one is newer.
"""

import ipaddress
import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.clock import Clock
from trinity.compiled import compile_for
from trinity.memory.answer_table import ROW_WORDS, AnswerTable
from trinity.memory.delivery_ring import DeliveryRing
from trinity.native.hmac import key_states
from trinity.push.datagram import FLAG_SIMULATED, key_id_of
from workers.push.udp.board import make_board
from workers.push.udp.frames import ASSETS_A_SUBSCRIPTION_MAX, SLOT_DTYPE
from workers.push.udp.outbox import make_outbox, push

# Subscriptions of one call: it takes some 10 ms, during which the process does nothing else.
BATCH_MAX = 1024
_SLOTS_AT_FIRST = 256
# 4 MB hold some 2,000 datagrams: what a batch may be ahead of the network. The kernel may grant less.
_QUEUE_BYTES = 4 * 1024 * 1024
_FAMILIES = (socket.AF_INET, socket.AF_INET6)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UdpSubscription(NamedTuple):
    """What is sent where. `address` has been checked (trinity/push/resolve.py); `assets` are indexes of the catalog;
    `secret` is the one that signs now (trinity/push/datagram.py, signing_secret)."""

    subscription_id: int
    account_id: int
    address: Address
    port: int
    assets: Sequence[int]
    secret: bytes
    lifetime_ms: int
    max_age_ms: int = 0
    min_sources: int = 0


class UdpSender:
    """The subscriptions over UDP of this process. Raises OSError where there are no sockets at all."""

    def __init__(
        self, answers: AnswerTable, names: Sequence[str], ring: DeliveryRing, clock: Clock, *, is_simulated: bool
    ) -> None:
        self._answers, self._ring, self._clock = answers, ring, clock
        self._flags = FLAG_SIMULATED if is_simulated else 0
        self._board = make_board(names, answers.exchanges)
        self._slots = np.zeros(_SLOTS_AT_FIRST, dtype=SLOT_DTYPE)
        self._free = list(range(_SLOTS_AT_FIRST - 1, -1, -1))
        self._outbox = make_outbox()
        self._sockets = {family: made for family in _FAMILIES if (made := _open(family)) is not None}
        if not self._sockets:
            raise OSError("this machine has neither IPv4 nor IPv6")

    def add(self, subscription: UdpSubscription) -> int:
        """Know it from now on; the slot that it is called by."""
        if not self._free:
            count = len(self._slots)
            self._slots = np.concatenate([self._slots, np.zeros(count, dtype=SLOT_DTYPE)])
            self._free = list(range(2 * count - 1, count - 1, -1))
        slot = self._free.pop()
        self._slots[slot] = np.zeros(1, dtype=SLOT_DTYPE)[0]
        self.change(slot, subscription)
        return slot

    def change(self, slot: int, subscription: UdpSubscription) -> None:
        """Everything of it but its sequence."""
        assert 1 <= len(subscription.assets) <= ASSETS_A_SUBSCRIPTION_MAX
        assert 0 <= min(subscription.assets) <= max(subscription.assets) < len(self._board.assets)
        family, sockaddr, length = _sockaddr_of(subscription.address, subscription.port)
        row = self._slots[slot]
        for name in ("subscription_id", "account_id", "lifetime_ms", "max_age_ms", "min_sources"):
            row[name] = getattr(subscription, name)
        row["family"], row["sockaddr_length"] = family, length
        row["sockaddr"] = np.frombuffer(sockaddr, dtype=np.uint64)
        row["key_states"] = key_states(subscription.secret)
        row["key_id"] = np.frombuffer(key_id_of(subscription.secret), dtype=np.uint8)
        row["count"] = len(subscription.assets)
        row["assets"][: len(subscription.assets)] = subscription.assets

    def remove(self, slot: int) -> None:
        """Forget it; the slot may become another one's."""
        self._slots[slot] = np.zeros(1, dtype=SLOT_DTYPE)[0]  # its key as well
        self._free.append(slot)

    def set_sequence(self, slot: int, last_sequence: int) -> None:
        """The next datagram has a sequence one higher."""
        self._slots[slot]["sequence"] = last_sequence

    def last_sequence(self, slot: int) -> int:
        return int(self._slots[slot]["sequence"])

    def send(
        self, slots: NDArray[np.int64], reasons: NDArray[np.uint8], due_ns: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Send the newest prices; `reasons` are indexes of DELIVERY_REASONS, `due_ns` is monotonic. False: not sent."""
        assert len(slots) == len(reasons) == len(due_ns) <= BATCH_MAX
        is_sent = np.zeros(len(slots), dtype=np.bool_)
        families = self._slots["family"][slots]
        for family in _FAMILIES:
            which = np.flatnonzero(families == family)
            if not len(which):
                continue
            opened = self._sockets.get(family)
            taken = np.zeros(len(which), dtype=np.bool_)
            push(
                self._outbox,
                self._board,
                self._answers.words,
                self._slots,
                np.ascontiguousarray(slots[which], dtype=np.int64),
                np.ascontiguousarray(reasons[which], dtype=np.uint8),
                np.ascontiguousarray(due_ns[which], dtype=np.int64),
                taken,
                self._ring.words,
                -1 if opened is None else opened[0].fileno(),
                -1 if opened is None else opened[1].fileno(),
                self._flags,
                self._clock.wall_ns(),
                self._clock.monotonic_ns(),
            )
            is_sent[which] = taken
        return is_sent

    def close(self) -> None:
        for udp, epoll in self._sockets.values():
            udp.close()
            epoll.close()


def warm_up() -> None:
    """Compile `push`, or load its machine code, before the fork."""
    words, outbox = np.zeros(ROW_WORDS, dtype=np.uint64), make_outbox()
    integers = np.zeros(1, dtype=np.int64)
    compile_for(
        push,
        outbox,
        make_board(["BTC"], 1),
        words,
        np.zeros(1, dtype=SLOT_DTYPE),
        integers,
        np.zeros(1, dtype=np.uint8),
        integers,
        np.zeros(1, dtype=np.bool_),
        DeliveryRing.private_words(0, 1),
        *(0, 0, 0, 0, 0),
    )


def _open(family: socket.AddressFamily) -> tuple[socket.socket, select.epoll] | None:
    """A socket that sends from any address, and what waits for its room; None where the machine has no such family."""
    with suppress(OSError):
        udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _QUEUE_BYTES)
        epoll = select.epoll(1)
        epoll.register(udp.fileno(), select.EPOLLOUT)
        return udp, epoll
    return None


def _sockaddr_of(address: Address, port: int) -> tuple[int, bytes, int]:
    """The family, and the kernel's sockaddr (trinity/native/addresses.py) with its length."""
    start = port.to_bytes(2, "big")
    if address.version == 4:
        return socket.AF_INET, (_half(socket.AF_INET) + start + address.packed).ljust(32, b"\0"), 16
    scope = int(address.scope_id) if address.scope_id else 0
    body = _half(socket.AF_INET6) + start + bytes(4) + address.packed + scope.to_bytes(4, "little")
    return socket.AF_INET6, body.ljust(32, b"\0"), 28


def _half(family: int) -> bytes:
    return family.to_bytes(2, "little")
