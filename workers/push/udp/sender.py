"""Datagrams to many subscriptions at once. Compiled: 50,000 a second and core.

How the push server uses it:

    slot = sender.add(UdpSubscription(...))          once; `change` when anything of it changes, `remove` at its end
    sender.set_sequence(slot, epoch << 32)           the last sequence that is used: at each new epoch
    is_sent = sender.send(slots, reasons, due_ns)    at most BATCH_MAX of them; it reads the prices itself
    sender.last_sequence(slot)                       for the subscription's state

Rules: the newest prices go into every batch. One subscription of many assets takes several datagrams, each with a
sequence and a record of its own. A datagram that the kernel does not take is not repeated: the next one is newer.
"""

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.clock import Clock
from trinity.memory.answer_table import AnswerTable
from trinity.memory.delivery_ring import DeliveryRing

# Subscriptions of one call: it takes some 10 ms, during which the process does nothing else.
BATCH_MAX = 1024

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
    """The subscriptions over UDP of this process."""

    def __init__(
        self, answers: AnswerTable, names: Sequence[str], ring: DeliveryRing, clock: Clock, *, is_simulated: bool
    ) -> None:
        raise NotImplementedError

    def add(self, subscription: UdpSubscription) -> int:
        """Know it from now on; the slot that it is called by."""
        raise NotImplementedError

    def change(self, slot: int, subscription: UdpSubscription) -> None:
        """Everything of it but its sequence."""
        raise NotImplementedError

    def remove(self, slot: int) -> None:
        """Forget it; the slot may become another one's."""
        raise NotImplementedError

    def set_sequence(self, slot: int, last_sequence: int) -> None:
        """The next datagram has a sequence one higher."""
        raise NotImplementedError

    def last_sequence(self, slot: int) -> int:
        raise NotImplementedError

    def send(
        self, slots: NDArray[np.int64], reasons: NDArray[np.uint8], due_ns: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Send the newest prices; `reasons` are indexes of DELIVERY_REASONS, `due_ns` is monotonic. False: not sent."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
