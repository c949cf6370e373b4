"""What a signed datagram costs the sender: the compiled sender beside one of plain Python, over the same subscriptions.

Rules: one thread sends on one core, another receives on the other; both senders take turns over the same prices and
receivers, and each datagram gets its delivery record. The figure is the sending thread's processor time; what the
kernel spends on the way into the receiver's queue is part of it, as it is on a wire. Of each batch's first datagrams
the signature and the prices are checked before anything is counted. What the log costs behind the ring is not here.
"""

import ipaddress
import os
import select
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import PeerError
from benchmarks.progress import Progress
from benchmarks.servers.processes import cores
from trinity.clock import NS_PER_MS, NS_PER_SECOND, NS_PER_US, SystemClock
from trinity.compiled import compiled
from trinity.markets import load_catalog
from trinity.memory.answer_table import ANSWER_DTYPE, AnswerState, AnswerTable, served_state
from trinity.memory.atomics import Words
from trinity.memory.delivery_ring import DeliveryRing
from trinity.native.libc import EVENT_WORDS, IOV, IOV_COUNT, IOV_WORDS, MESSAGE_WORDS, Events, receive_many, wait_events
from trinity.native.octets import Integers
from trinity.push.datagram import FRESH, Datagram, PushedPrice, encode, verify
from trinity.vocabulary import DELIVERY_OUTCOMES
from workers.push.udp.sender import BATCH_MAX, UdpSender, UdpSubscription

OURS, PLAIN = "compiled", "plain Python"
# Prices of a subscription, by the name in the results.
SIZES = {"1 asset": 1, "25 assets": 25}
_CHECKED = 8
_RECEIVED_A_CALL = 64
_DATAGRAM_BYTES = 2048
_QUEUE_BYTES = 32 * 1024 * 1024
_RING_RECORDS = 1 << 16
_LIFETIME_MS = 10_000
_FRESH_NS = 3600 * NS_PER_SECOND


def measure_push_udp(turns: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """By size and sender: processor time of a push, pushes a second of it, what arrived; and how many times as many."""
    own_core, other_core = cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {own_core})
    try:
        return {"sizes": {size: _compare(size, turns, seconds, other_core, progress) for size in SIZES}}
    finally:
        os.sched_setaffinity(0, before)


def _compare(size: str, turns: int, seconds: float, other_core: int, progress: Progress) -> dict[str, Any]:
    rows: dict[str, list[dict[str, float]]] = {OURS: [], PLAIN: []}
    with _place(SIZES[size], other_core) as place:
        senders = {OURS: place.send, PLAIN: place.send_plainly}
        for send in senders.values():
            place.check(send)
        for turn in range(turns):
            progress.step(f"pushes of {size} over UDP, turn {turn + 1}/{turns}")
            for name, send in senders.items():
                rows[name].append(place.measure(send, seconds))
    pairs = zip(rows[OURS], rows[PLAIN], strict=True)
    return {
        "senders": {name: _medians(measured) for name, measured in rows.items()},
        "times": round(statistics.median(plain["cpu_us"] / ours["cpu_us"] for ours, plain in pairs), 1),
    }


def _medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(turn[name] for turn in turns), 2) for name in turns[0]}


class _Place:
    """1,024 subscriptions, their prices, and the receiver."""

    def __init__(self, assets: int, receiver: "DatagramReceiver", answers: AnswerTable, names: list[str]) -> None:
        self._receiver, self._answers, self._names = receiver, answers, names
        self._clock = SystemClock()
        self._ring = DeliveryRing(Path(), DeliveryRing.private_words(0, _RING_RECORDS))
        self._sender = UdpSender(answers, names, self._ring, self._clock, is_simulated=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _QUEUE_BYTES)
        host, port = receiver.address
        self._subscriptions = [
            UdpSubscription(
                number, 1, ipaddress.ip_address(host), port, [(number + i) % len(names) for i in range(assets)],
                number.to_bytes(24, "big"), _LIFETIME_MS,
            )
            for number in range(BATCH_MAX)
        ]  # fmt: skip
        self._slots = np.array([self._sender.add(subscription) for subscription in self._subscriptions])
        self._reasons = np.zeros(BATCH_MAX, dtype=np.uint8)
        self._sequence = 0

    def close(self) -> None:
        self._sender.close()
        self._socket.close()

    def send(self) -> None:
        """One push to each subscription, by the push server's own sender."""
        due_ns = np.full(BATCH_MAX, self._clock.monotonic_ns())
        is_sent = self._sender.send(self._slots, self._reasons, due_ns)
        if not is_sent.all():
            raise PeerError(OURS, f"{int((~is_sent).sum())} datagrams could not be sent")

    def send_plainly(self) -> None:
        """The same: prices read once a batch, a datagram and a record each."""
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        prices = [self._price(number, name, now_ns) for number, name in enumerate(self._names)]
        self._sequence += 1
        outcome = DELIVERY_OUTCOMES.index("sent")
        for one in self._subscriptions:
            said = Datagram(
                one.subscription_id, self._sequence, wall_ns, one.lifetime_ms, 0, True,
                tuple([prices[number] for number in one.assets]),
            )  # fmt: skip
            self._socket.sendto(encode(said, one.secret), self._receiver.address)
            self._ring.append(
                time_ns=wall_ns, subscription_id=one.subscription_id, sequence=self._sequence, account_id=1,
                latency_ns=0, late_us=(self._clock.monotonic_ns() - now_ns) // NS_PER_US, status=0,
                assets=len(one.assets), outcome=outcome, attempts=1, reason=0,
            )  # fmt: skip

    def _price(self, number: int, name: str, now_ns: int) -> PushedPrice:
        record = self._answers.read(self._answers.row_of(number))
        if record is None or served_state(record, now_ns) != AnswerState.GOOD:
            raise PeerError(PLAIN, f"{name} has no price")
        age_ms = (now_ns - int(record["received_at_ns"][0])) // NS_PER_MS
        scale = -int(record["scale"][0])
        numbers = (int(record["price"][0]), int(record["confidence"][0]), age_ms, scale, scale)
        return PushedPrice(name, FRESH, *numbers, int(record["sources"][0]))

    def check(self, send: Callable[[], None]) -> None:
        """The first datagrams of a batch are signed and have all of their prices."""
        self._receiver.drain()
        send()
        for subscription, datagram in zip(self._subscriptions, self._receiver.first(_CHECKED), strict=False):
            said = verify(datagram, [subscription.secret])
            names = [self._names[number] for number in subscription.assets]
            if said is None or [price.asset for price in said.prices if price.status == FRESH] != names:
                raise PeerError("sender", f"the datagram of subscription {subscription.subscription_id} is wrong")
        self._ring.release(self._ring.written)

    def measure(self, send: Callable[[], None], seconds: float) -> dict[str, float]:
        """Batches for so long: what a push cost this thread."""
        with self._receiver.counting() as received:
            batches, started_ns, cpu_ns = 0, time.monotonic_ns(), time.thread_time_ns()
            while time.monotonic_ns() - started_ns < seconds * NS_PER_SECOND:
                send()
                self._ring.release(self._ring.written)
                batches += 1
            cpu_ns, wall_ns = time.thread_time_ns() - cpu_ns, time.monotonic_ns() - started_ns
        pushes = batches * BATCH_MAX
        return {
            "pushes": pushes,
            "cpu_us": cpu_ns / pushes / NS_PER_US,
            "per_cpu_second": pushes / cpu_ns * NS_PER_SECOND,
            "per_second": pushes / wall_ns * NS_PER_SECOND,
            "received": received[0] / pushes,
        }


class DatagramReceiver:
    """A socket that a thread empties on another core, compiled."""

    def __init__(self, core: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self._core = core
        self._octets = np.zeros(_RECEIVED_A_CALL * _DATAGRAM_BYTES, dtype=np.uint8)
        self._messages = np.zeros(_RECEIVED_A_CALL * MESSAGE_WORDS, dtype=np.uint64)
        self._iov = np.zeros(_RECEIVED_A_CALL * IOV_WORDS, dtype=np.uint64)
        for i in range(_RECEIVED_A_CALL):
            self._messages[i * MESSAGE_WORDS + IOV] = self._iov.ctypes.data + i * IOV_WORDS * 8
            self._messages[i * MESSAGE_WORDS + IOV_COUNT] = 1
            self._iov[i * IOV_WORDS] = self._octets.ctypes.data + i * _DATAGRAM_BYTES
            self._iov[i * IOV_WORDS + 1] = _DATAGRAM_BYTES
        self._epoll = select.epoll(1)
        self._epoll.register(self._socket.fileno(), select.EPOLLIN)
        self._events = np.zeros(EVENT_WORDS, dtype=np.uint32)

    def close(self) -> None:
        self._epoll.close()
        self._socket.close()

    def drain(self) -> None:
        """Nothing waits any more."""
        self.first(1 << 20, timeout=0.0)

    def first(self, count: int, timeout: float = 5.0) -> list[bytes]:
        """The next datagrams, as many as come."""
        found: list[bytes] = []
        self._socket.settimeout(timeout)
        try:
            while len(found) < count:
                found.append(self._socket.recv(_DATAGRAM_BYTES))
        except (TimeoutError, BlockingIOError):
            pass
        self._socket.settimeout(None)
        return found

    @contextmanager
    def counting(self) -> Iterator[list[int]]:
        """Meanwhile a thread receives; behind it the list has how many came."""
        self.drain()
        total, stop = [0], np.zeros(1, dtype=np.int64)

        def receive() -> None:
            os.sched_setaffinity(0, {self._core})
            total[0] = _receive(self._socket.fileno(), self._epoll.fileno(), self._messages, self._events, stop)

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield total
        finally:
            stop[0] = 1
            thread.join()


@compiled
def _receive(fd: int, epoll_fd: int, messages: Words, events: Events, stop: Integers) -> int:
    """Receive until `stop` is set and nothing has come for a while; how many came."""
    total = 0
    while True:
        count = receive_many(fd, messages, _RECEIVED_A_CALL)
        if count > 0:
            total += count
        elif wait_events(epoll_fd, events, 1, 50) <= 0 and stop[0] != 0:
            return total


@contextmanager
def _place(assets: int, other_core: int) -> Iterator[_Place]:
    catalog, clock = load_catalog(), SystemClock()
    names = [asset.name for asset in catalog.assets]
    answers = AnswerTable.create(f"bench-push-{clock.monotonic_ns():x}", 1, len(names), len(names))
    receiver = DatagramReceiver(other_core)
    try:
        now_ns = clock.monotonic_ns()
        for number in range(len(names)):
            record = np.zeros(1, dtype=ANSWER_DTYPE)
            record["state"], record["price"], record["scale"] = AnswerState.GOOD, 7_100_050 + number, 2
            record["confidence"], record["sources"], record["has_last_good"] = 310, 6, 1
            record["received_at_ns"], record["valid_until_ns"] = now_ns, now_ns + _FRESH_NS
            answers.write(answers.row_of(number), record)
        place = _Place(assets, receiver, answers, names)
        try:
            yield place
        finally:
            place.close()
    finally:
        receiver.close()
        answers.segment.unlink()
