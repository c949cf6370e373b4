"""A batch of datagrams to the kernel: written into fixed places, 64 a system call, a record for each. Compiled alone.

Rules: what was to be sent has a record, sent or not, and its sequence is used up. A socket without room is waited for,
some milliseconds a batch; whatever it still does not take is given up.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_US
from trinity.compiled import compiled, compiled_inline
from trinity.limits import DATAGRAMS_MAX
from trinity.memory.atomics import Words, signed
from trinity.memory.delivery_ring import append_delivery
from trinity.native.addresses import SOCKADDR_BYTES, SOCKADDR_WORDS
from trinity.native.libc import (
    EAGAIN,
    EVENT_WORDS,
    IOV,
    IOV_COUNT,
    IOV_WORDS,
    MESSAGE_WORDS,
    MONOTONIC,
    NAME,
    NAME_LENGTH,
    Events,
    read_clock,
    send_many,
    wait_events,
)
from trinity.native.octets import Integers, Octets
from trinity.native.sha256 import SCHEDULE_WORDS
from trinity.vocabulary import DELIVERY_OUTCOMES
from workers.push.udp.board import PushedPrices, take_prices
from workers.push.udp.frames import PLACE_BYTES, write_datagram

# A batch waits so often for a socket's room, so long each time: 20 ms in all.
_WAITS_MAX, _WAIT_MS = 4, 5
_SENT, _SEND_FAILED = DELIVERY_OUTCOMES.index("sent"), DELIVERY_OUTCOMES.index("send_failed")


class Outbox(NamedTuple):
    """The memory of one system call; the kernel's structs hold addresses of the other arrays."""

    octets: Octets  # DATAGRAMS_MAX places
    words: NDArray[np.uint32]  # the same bytes
    messages: Words
    iov: Words
    names: Words  # SOCKADDR_WORDS each
    places: Integers  # of each message: number in the batch, sequence, prices, whether it was sent
    schedule: Integers  # scratch of the signature
    timespec: Integers  # scratch of the clock
    events: Events  # scratch of waiting
    waits: Integers  # how often this batch may still wait


_BATCH, _SEQUENCE, _ASSETS, _IS_SENT, _PLACE_WORDS = range(5)


def make_outbox() -> Outbox:
    """Lay the kernel's structs out over arrays that live as long as the outbox."""
    octets = np.zeros(DATAGRAMS_MAX * PLACE_BYTES, dtype=np.uint8)
    outbox = Outbox(
        octets=octets,
        words=octets.view(np.uint32),
        messages=np.zeros(DATAGRAMS_MAX * MESSAGE_WORDS, dtype=np.uint64),
        iov=np.zeros(DATAGRAMS_MAX * IOV_WORDS, dtype=np.uint64),
        names=np.zeros(DATAGRAMS_MAX * SOCKADDR_WORDS, dtype=np.uint64),
        places=np.zeros(DATAGRAMS_MAX * _PLACE_WORDS, dtype=np.int64),
        schedule=np.zeros(SCHEDULE_WORDS, dtype=np.int64),
        timespec=np.zeros(2, dtype=np.int64),
        events=np.zeros(EVENT_WORDS, dtype=np.uint32),
        waits=np.zeros(1, dtype=np.int64),
    )
    for i in range(DATAGRAMS_MAX):
        message = i * MESSAGE_WORDS
        outbox.messages[message + NAME] = outbox.names.ctypes.data + i * SOCKADDR_BYTES
        outbox.messages[message + IOV] = outbox.iov.ctypes.data + i * IOV_WORDS * 8
        outbox.messages[message + IOV_COUNT] = 1
        outbox.iov[i * IOV_WORDS] = octets.ctypes.data + i * PLACE_BYTES
    return outbox


@compiled
def push(
    outbox: Outbox,
    board: PushedPrices,
    table_words: Words,
    slots: NDArray[np.void],
    which: Integers,
    reasons: Octets,
    due_ns: Integers,
    is_sent: NDArray[np.bool_],
    ring: Words,
    udp_fd: int,
    epoll_fd: int,
    flags: int,
    wall_ns: int,
    now_ns: int,
) -> None:
    """Send the newest prices to the slots in `which`; `is_sent` says of each whether all of it went."""
    take_prices(board, table_words, now_ns)
    outbox.waits[0] = _WAITS_MAX
    count = 0
    for batch in range(which.size):
        slot, first = slots[which[batch]], 0
        is_sent[batch] = True
        while first < slot["count"]:
            slot["sequence"] += 1
            start = count * PLACE_BYTES
            end, following = write_datagram(
                board, slot, first, flags, signed(reasons[batch]), wall_ns, outbox.octets, outbox.words, start,
                outbox.schedule,
            )  # fmt: skip
            _address(outbox, slot, count, end - start)
            place = count * _PLACE_WORDS
            outbox.places[place + _BATCH], outbox.places[place + _SEQUENCE] = batch, slot["sequence"]
            outbox.places[place + _ASSETS] = following - first
            first = following
            count += 1
            if count == DATAGRAMS_MAX:
                _flush(outbox, slots, which, reasons, due_ns, is_sent, ring, count, udp_fd, epoll_fd, wall_ns, now_ns)
                count = 0
    _flush(outbox, slots, which, reasons, due_ns, is_sent, ring, count, udp_fd, epoll_fd, wall_ns, now_ns)


@compiled_inline
def _address(outbox: Outbox, slot: np.void, message: int, length: int) -> None:
    """Point a message at its slot's address, and say its length."""
    if length < 0 or length > PLACE_BYTES:
        raise IndexError("datagram out of range")
    for i in range(SOCKADDR_WORDS):
        outbox.names[message * SOCKADDR_WORDS + i] = slot["sockaddr"][i]
    outbox.messages[message * MESSAGE_WORDS + NAME_LENGTH] = slot["sockaddr_length"]
    outbox.iov[message * IOV_WORDS + 1] = length


@compiled
def _flush(
    outbox: Outbox,
    slots: NDArray[np.void],
    which: Integers,
    reasons: Octets,
    due_ns: Integers,
    is_sent: NDArray[np.bool_],
    ring: Words,
    count: int,
    udp_fd: int,
    epoll_fd: int,
    wall_ns: int,
    now_ns: int,
) -> None:
    """Send the first `count` messages, and write their records."""
    _send(outbox, count, udp_fd, epoll_fd)
    passed_ns = max(0, read_clock(MONOTONIC, outbox.timespec) - now_ns)
    for message in range(count):
        place = message * _PLACE_WORDS
        batch = outbox.places[place + _BATCH]
        went = outbox.places[place + _IS_SENT]
        is_sent[batch] = is_sent[batch] and went != 0
        slot = slots[which[batch]]
        append_delivery(
            ring, wall_ns + passed_ns, slot["subscription_id"], outbox.places[place + _SEQUENCE], slot["account_id"],
            passed_ns, max(0, now_ns + passed_ns - due_ns[batch]) // NS_PER_US, 0, outbox.places[place + _ASSETS],
            _SENT if went != 0 else _SEND_FAILED, 1, signed(reasons[batch]),
        )  # fmt: skip


@compiled
def _send(outbox: Outbox, count: int, udp_fd: int, epoll_fd: int) -> None:
    """Give the messages to the kernel; one that fails is left behind, and the others go on."""
    sent = 0
    while sent < count:
        result = send_many(udp_fd, outbox.messages, sent, count - sent)
        if result == -EAGAIN and outbox.waits[0] > 0:
            outbox.waits[0] -= 1
            wait_events(epoll_fd, outbox.events, 1, _WAIT_MS)
            continue
        went = max(result, 0)
        for message in range(sent, sent + max(went, 1)):
            outbox.places[message * _PLACE_WORDS + _IS_SENT] = 1 if went > 0 else 0
        sent += max(went, 1)
