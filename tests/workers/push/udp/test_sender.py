"""workers/push/udp/sender.py: real sockets on loopback, IPv4 and IPv6."""

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.workers.push.udp.pushed import Answer
from trinity.clock import SystemClock
from trinity.compiled import jit_enabled
from trinity.memory.answer_table import ANSWER_DTYPE, AnswerTable
from trinity.memory.delivery_ring import DeliveryRing
from trinity.push.datagram import FRESH, PRICE_TOO_OLD, Datagram, shared_out, verify
from trinity.vocabulary import DELIVERY_OUTCOMES
from workers.push.udp.sender import BATCH_MAX, UdpSender, UdpSubscription, warm_up

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")

NAMES = [f"ASSET{number:03}" for number in range(150)]
SECRET = b"s" * 24


class Place:
    """A sender over an answer table of 150 fresh prices, and a receiver of each family."""

    def __init__(self, folder: Path) -> None:
        self.answers = AnswerTable.create(f"t-push-{id(self)}", 2, len(NAMES), len(NAMES))
        self.ring = DeliveryRing.open(folder / "ring-0", 0, 1 << 14, 1000)
        self.clock = SystemClock()
        self.write(Answer())
        self.sender = UdpSender(self.answers, NAMES, self.ring, self.clock, is_simulated=True)
        self.receivers = [_receiver(socket.AF_INET, "127.0.0.1"), _receiver(socket.AF_INET6, "::1")]

    def write(self, answer: Answer) -> None:
        now_ns = self.clock.monotonic_ns()
        for number in range(len(NAMES)):
            record = np.zeros(1, dtype=ANSWER_DTYPE)
            for name in ("state", "price", "scale", "confidence", "sources", "has_last_good"):
                record[name] = getattr(answer, name)
            record["received_at_ns"], record["valid_until_ns"] = now_ns - answer.age_ns, now_ns + 3600 * 10**9
            self.answers.write(self.answers.row_of(number), record)

    def subscription(self, number: int, receiver: int = 0, assets: int = 3, **more: int) -> UdpSubscription:
        host, port = self.receivers[receiver].getsockname()[:2]
        address = ipaddress.ip_address(host)
        return UdpSubscription(number, 7, address, port, range(assets), SECRET, 10_000, **more)

    def send(self, slots: list[int], reason: int = 0) -> list[bool]:
        count = len(slots)
        due_ns = np.full(count, self.clock.monotonic_ns() - 5_000_000)
        batch = np.array(slots, dtype=np.int64), np.full(count, reason, dtype=np.uint8), due_ns
        return self.sender.send(*batch).tolist()

    def received(self, receiver: int = 0, count: int = 1) -> list[Datagram]:
        found = [verify(self.receivers[receiver].recv(2048), [SECRET]) for _ in range(count)]
        assert None not in found
        return [datagram for datagram in found if datagram is not None]

    def close(self) -> None:
        self.sender.close()
        for receiver in self.receivers:
            receiver.close()
        self.answers.segment.unlink()


def _receiver(family: int, host: str) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    made.bind((host, 0))
    made.settimeout(30)
    return made


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def test_a_batch_reaches_receivers_of_both_families(place: Place) -> None:
    """Each gets its own subscription, signed; the log has a record for each, sent and with its lateness."""
    slots = [place.sender.add(place.subscription(number, number % 2)) for number in range(1, 41)]
    for slot in slots:
        place.sender.set_sequence(slot, 5 << 32)
    assert place.send(slots, reason=1) == [True] * 40
    for receiver in (0, 1):
        found = place.received(receiver, 20)
        assert [datagram.subscription_id for datagram in found] == list(range(2 - receiver, 41, 2))
        for datagram in found:
            assert (datagram.sequence, datagram.reason, datagram.is_simulated) == (5 << 32 | 1, 1, True)
            assert [price.asset for price in datagram.prices] == NAMES[:3]
            assert {(price.status, price.price, price.exponent) for price in datagram.prices} == {(FRESH, 710_005, -1)}
            assert abs(place.clock.wall_ns() - datagram.time_ns) < 3600 * 10**9
    records = place.ring.read(place.ring.released, 100)
    assert sorted(records["subscription_id"].tolist()) == list(range(1, 41))
    assert set(records["outcome"].tolist()) == {DELIVERY_OUTCOMES.index("sent")}
    assert set(records["sequence"].tolist()) == {5 << 32 | 1}
    assert (records["late_us"] >= 5_000).all()
    assert set(zip(records["account_id"].tolist(), records["assets"].tolist(), strict=True)) == {(7, 3)}


def test_many_assets_take_several_datagrams_and_sequences(place: Place) -> None:
    """One subscription of 150 assets: all of them, in their order, with sequences one after the other."""
    slot = place.sender.add(place.subscription(9, assets=150))
    parts = len(shared_out(NAMES))
    assert parts > 1
    for turn in (0, 1):
        assert place.send([slot]) == [True]
        found = place.received(0, parts)
        assert [datagram.sequence for datagram in found] == [turn * parts + i for i in range(1, parts + 1)]
        assert [price.asset for datagram in found for price in datagram.prices] == NAMES
    assert place.sender.last_sequence(slot) == 2 * parts


def test_the_newest_prices_are_sent_and_a_subscriptions_limits_are_its_own(place: Place) -> None:
    """Two subscriptions in one batch: one gets the price, the other one's limit refuses it."""
    place.write(Answer(price=1, age_ns=10 * 10**9))
    slots = [place.sender.add(place.subscription(1)), place.sender.add(place.subscription(2, max_age_ms=2_000))]
    assert place.send(slots) == [True, True]
    first, second = place.received(0, 2)
    assert {(price.status, price.price) for price in first.prices} == {(FRESH, 1)}
    assert {(price.status, price.price) for price in second.prices} == {(PRICE_TOO_OLD, 0)}


def test_a_datagram_that_cannot_be_sent_is_said_and_the_others_go(place: Place) -> None:
    """The kernel refuses a port that does not exist; its sequence is used up all the same."""
    slots = [place.sender.add(place.subscription(number)) for number in (1, 2, 3)]
    place.sender.change(slots[1], place.subscription(2)._replace(port=0))
    assert place.send(slots) == [True, False, True]
    assert [datagram.subscription_id for datagram in place.received(0, 2)] == [1, 3]
    outcomes = place.ring.read(place.ring.released, 3)["outcome"].tolist()
    assert [DELIVERY_OUTCOMES[outcome] for outcome in outcomes] == ["sent", "send_failed", "sent"]
    assert [place.sender.last_sequence(slot) for slot in slots] == [1, 1, 1]


def test_a_change_keeps_the_sequence_and_a_new_one_in_the_slot_begins_its_own(place: Place) -> None:
    """Also over more subscriptions than there was room for at first."""
    slots = [place.sender.add(place.subscription(number)) for number in range(BATCH_MAX)]
    assert len(set(slots)) == BATCH_MAX
    place.sender.set_sequence(slots[700], 41)
    place.sender.change(slots[700], place.subscription(700, assets=1))
    assert place.send([slots[700]]) == [True]
    (datagram,) = place.received()
    assert (datagram.sequence, datagram.subscription_id, len(datagram.prices)) == (42, 700, 1)
    place.sender.remove(slots[700])
    slot = place.sender.add(place.subscription(5_000))
    assert slot == slots[700]
    assert place.send([slot]) == [True]
    assert (place.received()[0].sequence, place.send([])) == (1, [])


def test_everything_is_compiled_before_the_fork() -> None:
    """The first batch meets the code that `warm_up` brought."""
    warm_up()
    from workers.push.udp.outbox import push

    compiled = len(push.signatures)  # type: ignore[attr-defined]
    assert compiled >= 1
