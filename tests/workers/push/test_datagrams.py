"""workers/push/datagrams.py: subscriptions over UDP, with the real sender and real sockets."""

import asyncio
import datetime
import socket
from collections.abc import Iterator

import pytest

from tests.support.contexts import OpenContext, open_context
from tests.workers.push.conftest import CATALOG, write_price
from tests.workers.push.parts import NAMES, Parts, subscribed
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.errors import DeliveryError
from trinity.push.addresses import AllowList
from trinity.push.datagram import verify
from trinity.push.secret import read_secret
from workers.push.datagrams import CHECK_NS, Datagrams
from workers.push.entries import Begun
from workers.push.schedule import Due
from workers.push.served import Served
from workers.push.udp.sender import UdpSender


class FakeResolver:
    """A name's addresses, as the test says."""

    def __init__(self) -> None:
        self.addresses = ["127.0.0.1"]
        self.asked = 0

    async def addresses_of(self, host: str) -> list[str]:
        self.asked += 1
        if not self.addresses:
            raise DeliveryError("resolve", host)
        return self.addresses


class Later(SystemClock):
    """So much later."""

    def __init__(self, by_ns: int) -> None:
        self._by_ns = by_ns

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self._by_ns

    def wall_ns(self) -> int:
        return super().wall_ns() + self._by_ns


class Place:
    """Datagrams, and what was told of them."""

    def __init__(self, context: OpenContext) -> None:
        self.parts, self.resolver = Parts(context), FakeResolver()
        self.sender = UdpSender(context.answers, NAMES, self.parts.ring, self.parts.clock, is_simulated=False)
        self.refused: list[DeliveryError] = []
        self.put_off: list[Due] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.datagrams = Datagrams(
            self.sender, AllowList.parse(["127.0.0.0/8"]), self.resolver, self.parts.clock,
            self.parts.roster.is_current, self.parts.scheduler.row_of,
            lambda work: self.tasks.append(asyncio.ensure_future(work)),
            lambda _, error: self.refused.append(error), self.put_off.append,
        )  # fmt: skip
        self.parts.roster.on_dropped = self.datagrams.forget
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(30)

    def serve(self, host: str = "127.0.0.1", **changes: object) -> tuple[Due, Served]:
        port = self.socket.getsockname()[1]
        self.parts.serve(subscribed(1, target=f"udp://{host}:{port}", **changes))
        served = self.parts.roster.served[1]
        return Due(1, self.parts.clock.monotonic_ns(), "interval", False), served

    async def send(self, due: Due, served: Served) -> list[bool]:
        sent = [is_sent for _, is_sent in self.datagrams.send([(due, served)])]
        while self.tasks:
            await self.tasks.pop()
        return sent

    def close(self) -> None:
        self.socket.close()
        self.sender.close()


@pytest.fixture(scope="module")
def context() -> Iterator[OpenContext]:
    with open_context("pusher", "pusher", CATALOG) as made:
        for asset in range(5):
            write_price(made.answers, asset, 10_000)
        yield made


@pytest.fixture
def place(context: OpenContext) -> Iterator[Place]:
    made = Place(context)
    yield made
    made.close()


def test_the_first_message_asks_for_the_address_and_the_next_ones_go(place: Place) -> None:
    """Signed, with the sequences of the epoch."""
    due, served = place.serve()

    async def work() -> None:
        assert await place.send(due, served) == []
        assert place.put_off == [due]
        for sequence in (1, 2):
            assert await place.send(due, served) == [True]
            assert place.datagrams.last_sequence(1) == 1 << 32 | sequence

    asyncio.run(work())
    for sequence in (1, 2):
        datagram = verify(place.socket.recv(2048), [read_secret(served.subscription.secret)])
        assert datagram is not None
        assert (datagram.subscription_id, datagram.sequence) == (1, 1 << 32 | sequence)
        assert [price.asset for price in datagram.prices] == list(served.recipe.names)


def test_a_change_goes_on_with_the_sequence(place: Place) -> None:
    """As over HTTPS; a message that somebody asked for is counted as well."""

    async def work() -> None:
        due, served = place.serve()
        await place.send(due, served)
        await place.send(due, served)
        assert place.datagrams.next_sequence(served) == 1 << 32 | 2
        due, served = place.serve(revision=2, assets=("ETH",))
        assert place.datagrams.next_sequence(served) == 1 << 32 | 3
        await place.send(due, served)
        assert await place.send(due, served) == [True]
        assert place.datagrams.last_sequence(1) == 1 << 32 | 4

    asyncio.run(work())


def test_an_address_that_must_not_be_sent_to_is_refused(place: Place) -> None:
    """By number, by name, and when a name leads there later: then no more goes to the old one."""

    async def work() -> None:
        assert await place.send(*place.serve("10.0.0.1")) == []
        assert [error.kind for error in place.refused] == ["refused_address"]
        due, served = place.serve("prices.example", revision=2)
        await place.send(due, served)
        assert await place.send(due, served) == [True]
        place.resolver.addresses = ["10.0.0.1"]
        assert await place.send(due, served) == [True], "it is asked again after a while"
        slot = place.datagrams._slots[1]
        slot.checked_at_ns -= 2 * CHECK_NS
        await place.send(due, served)
        assert await place.send(due, served) == []
        assert [error.kind for error in place.refused] == ["refused_address"] * 2

    asyncio.run(work())


def test_a_resolver_that_is_away_takes_no_address_from_us(place: Place) -> None:
    """What was checked a minute ago is better than nothing; a first message waits for it."""

    async def work() -> None:
        due, served = place.serve("prices.example")
        await place.send(due, served)
        place.resolver.addresses = []
        place.datagrams._slots[1].checked_at_ns -= 2 * CHECK_NS
        assert await place.send(due, served) == [True]
        assert await place.send(due, served) == [True]
        assert place.refused == []

    asyncio.run(work())


def test_what_is_changed_while_its_address_is_looked_up_is_asked_for_anew(place: Place) -> None:
    """The old form is sent by nobody."""

    async def work() -> None:
        due, served = place.serve()
        place.datagrams.send([(due, served)])
        _, changed = place.serve(revision=2, assets=("ETH",))
        while place.tasks:
            await place.tasks.pop()
        assert await place.send(due, changed) == []
        assert await place.send(due, changed) == [True]

    asyncio.run(work())
    datagram = verify(place.socket.recv(2048), [read_secret(subscribed(1).secret)])
    assert datagram is not None
    assert [price.asset for price in datagram.prices] == ["ETH"]


def test_a_paused_subscription_can_be_tried(place: Place) -> None:
    """One message that somebody asked for; its next one goes on with the sequence."""

    async def work() -> None:
        place.serve()
        place.parts.roster.on_subscriptions(
            [subscribed(1, revision=5, state="paused", target=str(place.parts.roster.served[1].target))], False
        )
        while place.parts.roster.turn(place.parts.clock.monotonic_ns()):
            pass
        served = place.parts.roster.find(1)
        assert served is not None
        assert await place.datagrams.send_now(served, "test") == 1 << 32 | 1
        place.datagrams.forget(served)
        again = place.parts.roster.find(1)
        assert again is not None
        assert await place.datagrams.send_now(again, "test") == 1 << 32 | 2

    asyncio.run(work())


def _begun(place: Place) -> Begun:
    """The schedule's next message of subscription 1."""
    scheduler, at_ns = place.parts.scheduler, place.parts.clock.monotonic_ns()
    while not len(begun := scheduler.due(at_ns, 10)):
        at_ns += 500_000_000
    return begun


def test_what_is_known_goes_all_at_once(place: Place) -> None:
    """With the sequences of those that go one by one, and told after the first one."""

    async def work() -> None:
        due, served = place.serve()
        begun = _begun(place)
        assert place.datagrams.known(begun).tolist() == [False]
        await place.send(due, served)
        assert place.datagrams.known(begun).tolist() == [True]
        assert place.datagrams.send_known(begun).tolist() == [True]
        now_ns = place.parts.clock.monotonic_ns()
        ((number, _, sequence),) = place.datagrams.take_sent(now_ns, 10)
        assert (number, sequence) == (1, 1 << 32 | 1)
        assert await place.send(due, served) == [True]
        assert place.datagrams.last_sequence(1) == 1 << 32 | 2
        assert place.datagrams.take_sent(now_ns, 10) == []
        place.parts.roster.drop(1)
        assert place.datagrams.known(begun).tolist() == [False]

    asyncio.run(work())
    for sequence in (1, 2):
        datagram = verify(place.socket.recv(2048), [read_secret(subscribed(1).secret)])
        assert datagram is not None
        assert datagram.sequence == 1 << 32 | sequence


def test_a_name_is_asked_for_again_and_a_number_is_not(place: Place) -> None:
    """After CHECK_NS it leaves the lane until somebody has looked."""

    async def work() -> None:
        for host, revision, is_known in (("prices.example", 1, False), ("127.0.0.1", 2, True)):
            place.datagrams._clock = SystemClock()
            due, served = place.serve(host, revision=revision)
            begun = _begun(place)
            await place.send(due, served)
            assert place.datagrams.known(begun).tolist() == [True]
            place.datagrams._clock = Later(2 * CHECK_NS)
            assert place.datagrams.known(begun).tolist() == [is_known]
            await place.send(due, served)
            assert place.datagrams.known(begun).tolist() == [True]

    asyncio.run(work())


def test_a_secret_that_signs_no_more_leaves_the_lane(place: Place) -> None:
    """At the old one's last moment; the new one signs from the next message on."""

    async def work() -> None:
        now = datetime.datetime.now(datetime.UTC)
        old = "whsec_" + "A" * 32
        due, served = place.serve(old_secret=old, old_secret_until=now + datetime.timedelta(hours=1))
        begun = _begun(place)
        await place.send(due, served)
        assert place.datagrams.send_known(begun).all()
        assert verify(place.socket.recv(2048), [read_secret(old)]) is not None
        place.datagrams._clock = Later(3_601 * NS_PER_SECOND)
        assert not place.datagrams.known(begun).any()
        assert await place.send(due, served) == [True]
        assert verify(place.socket.recv(2048), [read_secret(served.subscription.secret)]) is not None
        assert place.datagrams.known(begun).all()

    asyncio.run(work())
