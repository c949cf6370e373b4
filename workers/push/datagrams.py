"""Subscriptions over UDP: addresses, checked and kept for a while, and one call of the sender for all that is due.

    unknown      its name is resolved and each of its addresses checked; what is due meanwhile is put off
    known        sent at once, all of a turn together (lane.py); a name is checked again after CHECK_NS, beside that
    refused      as a failed delivery over HTTPS: backed off alone

Rules: in the process's loop alone. Nobody confirms a datagram: one that the kernel took counts as arrived. The secret
that signs is the old one until its last moment (trinity/push/datagram.py), so a slot is made anew then.
"""

import datetime
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_MS, NS_PER_SECOND, Clock
from trinity.errors import DeliveryError
from trinity.push.addresses import AllowList
from trinity.push.datagram import signing_secret
from trinity.push.resolve import NameResolver, check_target
from trinity.vocabulary import DELIVERY_REASONS
from workers.push.entries import NEVER, Begun
from workers.push.lane import DatagramLane
from workers.push.schedule import Due, Reason
from workers.push.served import Served
from workers.push.shares.epochs import COUNTER_BITS
from workers.push.udp.sender import BATCH_MAX, UdpSender, UdpSubscription

# As long as the usual TTL of a name that may move.
CHECK_NS = 60 * NS_PER_SECOND

_COUNTER_MASK = (1 << COUNTER_BITS) - 1
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(slots=True)
class _Slot:
    """One subscription that the sender knows."""

    served: Served
    number: int
    row: int | None  # of the schedule; None while it is paused
    address: str
    checked_at_ns: int
    old_until_ns: int | None  # wall; while the old secret signs
    is_checking: bool = False


class Datagrams:
    """`on_refused(due, error)`: it has no address that may be sent to."""

    def __init__(
        self,
        sender: UdpSender,
        allow: AllowList,
        resolver: NameResolver,
        clock: Clock,
        is_current: Callable[[Served], bool],
        row_of: Callable[[int], int | None],
        spawn: Callable[..., object],
        on_refused: Callable[[Due, DeliveryError], None],
        on_put_off: Callable[[Due], None],
    ) -> None:
        self._sender, self._allow, self._resolver, self._clock = sender, allow, resolver, clock
        self._is_current, self._row_of = is_current, row_of
        self._spawn, self._on_refused, self._on_put_off = spawn, on_refused, on_put_off
        self._slots: dict[int, _Slot] = {}
        self._asking: set[int] = set()
        self._lane = DatagramLane()

    def forget(self, served: Served) -> None:
        """It is served no more, or in another form: its counter goes on there."""
        slot = self._slots.pop(served.subscription.id, None)
        if slot is not None:
            served.counter = self._sender.last_sequence(slot.number) & _COUNTER_MASK
            self._sender.remove(slot.number)
            if slot.row is not None:
                self._lane.leave(slot.row)

    def next_sequence(self, served: Served) -> int:
        """For a message that is not the sender's."""
        slot = self._slots.get(served.subscription.id)
        if slot is None:
            return served.next_sequence()
        sequence = self._sender.last_sequence(slot.number) + 1
        self._sender.set_sequence(slot.number, sequence)
        return sequence

    def last_sequence(self, number: int) -> int:
        slot = self._slots.get(number)
        return self._sender.last_sequence(slot.number) if slot is not None else 0

    def known(self, begun: Begun) -> NDArray[np.bool_]:
        """Which of these `send_known` may have."""
        return self._lane.known(begun, self._clock.monotonic_ns(), self._clock.wall_ns())

    def send_known(self, begun: Begun) -> NDArray[np.bool_]:
        """All at once; which of them the kernel took."""
        slots, reasons, due_ns = self._lane.slots(begun), begun["reason"].astype(np.uint8), begun["due_ns"].copy()
        is_sent = np.zeros(len(begun), dtype=np.bool_)
        for at in range(0, len(begun), BATCH_MAX):
            part = slice(at, at + BATCH_MAX)
            is_sent[part] = self._sender.send(slots[part], reasons[part], due_ns[part])
        self._lane.sent(begun[is_sent], self._clock.monotonic_ns(), self._clock.wall_ns())
        return is_sent

    def take_sent(self, now_ns: int, most: int) -> list[tuple[int, int, int]]:
        """Of `send_known`, what is to be told: subscription, wall time, last sequence."""
        return [
            (sent.id, sent.sent_at_ns, self._sender.last_sequence(sent.slot))
            for sent in self._lane.take_sent(now_ns, most)
        ]

    def send(self, begun: Sequence[tuple[Due, Served]]) -> list[tuple[Due, bool]]:
        """Those that are known, with whether the kernel took them; the others are put off and asked for."""
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        known: list[tuple[Due, int]] = []
        for due, served in begun:
            slot = self._slots.get(due.id)
            if slot is None:
                self._ask(due, served)
                continue
            if slot.old_until_ns is not None and wall_ns >= slot.old_until_ns:
                self._sender.change(slot.number, self._described(served, slot.address, wall_ns))
                slot.old_until_ns = None
                self._enter(slot)
            if now_ns - slot.checked_at_ns > CHECK_NS and not slot.is_checking:
                slot.is_checking = True
                self._spawn(self._check_again(slot))
            known.append((due, slot.number))
        sent: list[tuple[Due, bool]] = []
        for at in range(0, len(known), BATCH_MAX):
            part = known[at : at + BATCH_MAX]
            are_sent = self._sender.send(
                np.array([number for _, number in part], dtype=np.int64),
                np.array([DELIVERY_REASONS.index(due.reason) for due, _ in part], dtype=np.uint8),
                np.array([due.due_ns for due, _ in part], dtype=np.int64),
            )
            sent += [(due, bool(is_sent)) for (due, _), is_sent in zip(part, are_sent, strict=True)]
        return sent

    async def send_now(self, served: Served, reason: Reason) -> int | None:
        """A message that somebody asked for: its sequence, None where the kernel did not take it; DeliveryError."""
        number = served.subscription.id
        if number not in self._slots:
            self._know(served, (await check_target(served.target, self._allow, self._resolver))[0])
        due = Due(number, self._clock.monotonic_ns(), reason, False)
        sent = self.send([(due, served)]) if number in self._slots else []
        return self.last_sequence(number) if any(is_sent for _, is_sent in sent) else None

    def _ask(self, due: Due, served: Served) -> None:
        if due.id in self._asking:
            self._on_put_off(due)
            return
        self._asking.add(due.id)
        self._spawn(self._find(due, served))

    async def _find(self, due: Due, served: Served) -> None:
        """The first address; the message that asked for it is put off by a moment only."""
        try:
            address = (await check_target(served.target, self._allow, self._resolver))[0]
        except DeliveryError as error:
            self._on_refused(due, error)
            return
        finally:
            self._asking.discard(due.id)
        self._know(served, address)
        self._on_put_off(due)

    def _know(self, served: Served, address: str) -> None:
        """It is sent to this address from now on; meanwhile it may have been changed, or somebody else found one."""
        if served.subscription.id in self._slots or not self._is_current(served):
            return
        wall_ns = self._clock.wall_ns()
        number = self._sender.add(self._described(served, address, wall_ns))
        self._sender.set_sequence(number, served.epoch << COUNTER_BITS | served.counter)
        is_old = len(served.secrets(wall_ns)) > 1
        until_ns = served.old_secret_until_ns if is_old else None
        slot = self._slots[served.subscription.id] = _Slot(
            served, number, self._row_of(served.subscription.id), address, self._clock.monotonic_ns(), until_ns
        )
        self._enter(slot)

    def _enter(self, slot: _Slot) -> None:
        """What was checked just now is good for a while; an address that is no name, for good."""
        if slot.row is not None:
            is_name = not slot.served.target.is_address
            self._lane.enter(
                slot.row, slot.served.subscription.id, slot.number,
                slot.checked_at_ns + CHECK_NS if is_name else NEVER,
                NEVER if slot.old_until_ns is None else slot.old_until_ns,
            )  # fmt: skip

    async def _check_again(self, slot: _Slot) -> None:
        served = slot.served
        try:
            address = (await check_target(served.target, self._allow, self._resolver))[0]
        except DeliveryError as error:
            if self._slots.get(served.subscription.id) is slot and error.kind == "refused_address":
                self.forget(served)  # it may not be sent to any more: the next one is refused
            self._checked(slot)  # a resolver that is away takes no address from us
            return
        finally:
            slot.is_checking = False
        self._checked(slot)
        if self._slots.get(served.subscription.id) is slot and address != slot.address:
            slot.address = address
            self._sender.change(slot.number, self._described(served, address, self._clock.wall_ns()))

    def _checked(self, slot: _Slot) -> None:
        slot.checked_at_ns = self._clock.monotonic_ns()
        if self._slots.get(slot.served.subscription.id) is slot:
            self._enter(slot)

    def _described(self, served: Served, address: str, wall_ns: int) -> UdpSubscription:
        one = served.subscription
        until = _EPOCH + datetime.timedelta(microseconds=served.old_secret_until_ns // 1000)
        now = _EPOCH + datetime.timedelta(microseconds=wall_ns // 1000)
        return UdpSubscription(
            subscription_id=one.id,
            account_id=one.account_id,
            address=ipaddress.ip_address(address),
            port=served.target.port,
            assets=served.recipe.assets.tolist(),
            secret=signing_secret(served.secret, served.old_secret, until, now),
            lifetime_ms=served.cadence.period_ns // NS_PER_MS,
            max_age_ms=one.max_age_ms,
            min_sources=one.min_sources,
        )
