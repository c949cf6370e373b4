"""UDP in batches: one system call receives up to 64 datagrams, one sends their replies. Compiled.

Rules: the kernel writes into fixed places of `inbox`, `names` and `controls`; replies are packed one behind the other
into `outbox`, so that a batch touches little memory. A reply leaves from the address that was asked: where the socket
has all of them (`any_address`), each datagram comes with a control message that names it, which goes back with the
reply. A reply that the socket does not take at once is dropped, as the network would: the client asks again, although
its usage record stands. An error in one datagram costs that datagram.
"""

import socket
from typing import NamedTuple

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.limits import DATAGRAMS_MAX, UDP_REPLY_BYTES_MAX, UDP_REQUEST_BYTES_MAX
from trinity.memory.atomics import Words
from trinity.native.addresses import SOCKADDR_BYTES, SOCKADDR_WORDS, read_sockaddr
from trinity.native.libc import (
    CONTROL,
    CONTROL_BYTES,
    CONTROL_LENGTH,
    CONTROL_WORDS,
    IOV,
    IOV_COUNT,
    IOV_WORDS,
    MESSAGE_WORDS,
    MONOTONIC,
    NAME,
    NAME_LENGTH,
    forget_interface,
    message_length,
    read_clock,
    receive_many,
    send_many,
)
from trinity.native.networks import Networks, is_inside
from trinity.native.octets import Integers, Octets
from trinity.net.datagram_filter import attach_filter
from trinity.observe import metrics
from trinity.vocabulary import UDP_RESULTS
from workers.request.beyond import ARRIVED_NS, DATAGRAM, IS_AGAIN, WAITS, begin_again, end_again, take_place
from workers.request.forwarded import ADDRESS, PEER, forget_forwarded
from workers.request.ledger import record
from workers.request.udp.context import PARKED, DatagramContext
from workers.request.udp.frame import REQUEST_MAGIC
from workers.request.udp.parked import ParkedDatagrams, give_again, keep_datagram, make_parked_datagrams
from workers.request.udp.text import answer_datagram

# One byte more than the longest request shows that a datagram was longer; 64 more keep the places from sharing
# one set of the first-level cache.
_RECEIVE_BYTES = UDP_REQUEST_BYTES_MAX + 1
_PLACE_BYTES = UDP_REQUEST_BYTES_MAX + 64
# A batch of the usual replies, and always room for a longest one.
_OUTBOX_BYTES = 64 * 1024 + UDP_REPLY_BYTES_MAX

# One datagram socket's queue: 4 MB hold some 8,000 requests, 10 ms of a flood. The kernel may grant less.
_QUEUE_BYTES = 4 * 1024 * 1024
_BATCHES_MAX = 8  # in one turn of the loop, so that a flood of datagrams cannot starve HTTP
TURN_DATAGRAMS = _BATCHES_MAX * DATAGRAMS_MAX
# The kernel counts a datagram of up to 160 bytes as so many of its queue's; one of 1,400 as 2,304.
DATAGRAM_QUEUE_BYTES = 832

_RESULT_WORD = metrics.REQUEST.index("udp_datagrams_total", UDP_RESULTS[0])
_DROPPED = UDP_RESULTS.index("dropped")
_LOOKUPS_WORD = metrics.REQUEST.index("lookups_total")
_UNRECORDED_WORD = metrics.REQUEST.index("usage_refused_total")
_ERRORS_WORD = metrics.REQUEST.index("internal_errors_total")


def prepare_queue(bound: socket.socket) -> None:
    """Give a worker's socket a long queue, and keep out of it what is never answered."""
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _QUEUE_BYTES)
    attach_filter(bound, UDP_REQUEST_BYTES_MAX, REQUEST_MAGIC)


def granted_queue_bytes(bound: socket.socket) -> int:
    """What the kernel granted: it counts its own bookkeeping as well, and shows twice what was asked for."""
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


class Mailbox(NamedTuple):
    """The memory of one batch; the kernel's structs hold addresses of the other arrays."""

    context: DatagramContext
    networks: Networks
    received: Words
    replies: Words
    received_iov: Words
    reply_iov: Words
    names: Words  # SOCKADDR_WORDS each
    controls: Words  # CONTROL_WORDS each
    any_address: bool
    timespec: Integers  # scratch for the clock
    scratch: Octets  # for what is written to an eventfd
    parked: ParkedDatagrams
    inbox: Octets
    outbox: Octets


def make_mailbox(context: DatagramContext, networks: Networks, any_address: bool = False) -> Mailbox:
    """Lay the kernel's structs out over arrays that live as long as the mailbox."""
    mailbox = Mailbox(
        context=context,
        networks=networks,
        received=np.zeros(DATAGRAMS_MAX * MESSAGE_WORDS, dtype=np.uint64),
        replies=np.zeros(DATAGRAMS_MAX * MESSAGE_WORDS, dtype=np.uint64),
        received_iov=np.zeros(DATAGRAMS_MAX * IOV_WORDS, dtype=np.uint64),
        reply_iov=np.zeros(DATAGRAMS_MAX * IOV_WORDS, dtype=np.uint64),
        names=np.zeros(DATAGRAMS_MAX * SOCKADDR_WORDS, dtype=np.uint64),
        controls=np.zeros(DATAGRAMS_MAX * CONTROL_WORDS, dtype=np.uint64),
        any_address=any_address,
        timespec=np.zeros(2, dtype=np.int64),
        scratch=np.zeros(8, dtype=np.uint8),
        parked=make_parked_datagrams(context.beyond.parked.shape[0]),
        inbox=np.zeros(DATAGRAMS_MAX * _PLACE_BYTES, dtype=np.uint8),
        outbox=np.zeros(_OUTBOX_BYTES, dtype=np.uint8),
    )
    for i in range(DATAGRAMS_MAX):
        name = mailbox.names.ctypes.data + i * SOCKADDR_BYTES
        for messages, iov in ((mailbox.received, mailbox.received_iov), (mailbox.replies, mailbox.reply_iov)):
            messages[i * MESSAGE_WORDS + NAME] = name
            messages[i * MESSAGE_WORDS + IOV] = iov.ctypes.data + i * IOV_WORDS * 8
            messages[i * MESSAGE_WORDS + IOV_COUNT] = 1
        if any_address:
            mailbox.received[i * MESSAGE_WORDS + CONTROL] = mailbox.controls.ctypes.data + i * CONTROL_BYTES
        mailbox.received_iov[i * IOV_WORDS] = mailbox.inbox.ctypes.data + i * _PLACE_BYTES
        mailbox.received_iov[i * IOV_WORDS + 1] = _RECEIVE_BYTES
    return mailbox


@compiled
def serve_datagrams(mailbox: Mailbox, counters: Words, udp_fd: int, now_ns: int) -> int:
    """Answer what is waiting, a bounded number of batches; how many datagrams it was, TURN_DATAGRAMS when more wait."""
    received, total = mailbox.received, 0
    for _ in range(_BATCHES_MAX):
        for i in range(DATAGRAMS_MAX):
            received[i * MESSAGE_WORDS + NAME_LENGTH] = SOCKADDR_BYTES
            if mailbox.any_address:
                received[i * MESSAGE_WORDS + CONTROL_LENGTH] = CONTROL_BYTES
        count = receive_many(udp_fd, received, DATAGRAMS_MAX)
        at = replies = 0
        for i in range(count):
            length = _answer_one(mailbox, counters, i, at, now_ns)
            if length > 0:
                _address_reply(mailbox, replies, i, at, length)
                at += length
                replies += 1
                if at > mailbox.outbox.size - UDP_REPLY_BYTES_MAX:
                    _send_replies(mailbox, counters, udp_fd, replies)
                    at = replies = 0
        _send_replies(mailbox, counters, udp_fd, replies)
        total += max(0, count)
        if count < DATAGRAMS_MAX:
            break
    return total


@compiled_inline
def _answer_one(mailbox: Mailbox, counters: Words, i: int, at: int, now_ns: int) -> int:
    """Write the reply to datagram i to `outbox[at:]`; its length, 0 for none."""
    return _answer_at(mailbox, counters, i, message_length(mailbox.received, i), at, now_ns, now_ns)


@compiled
def _answer_at(mailbox: Mailbox, counters: Words, i: int, size: int, at: int, arrived_ns: int, now_ns: int) -> int:
    """As `_answer_one`, of a datagram of so many bytes that came then."""
    start = i * _PLACE_BYTES
    end = start + size
    context = mailbox.context
    read_sockaddr(mailbox.names, i * SOCKADDR_WORDS, context.caller.words, PEER)
    forget_forwarded(context.caller)
    trusted = is_inside(mailbox.networks, context.caller.words, PEER)
    try:
        length, result, lookups = answer_datagram(
            context, mailbox.inbox, start, end, mailbox.outbox, at, trusted, now_ns
        )
    except Exception:  # noqa: BLE001 - an internal error costs this datagram and is counted
        counters[_ERRORS_WORD] += np.uint64(1)
        return 0
    if result == PARKED:
        _park(mailbox, i, size, now_ns)
        return 0
    counters[_RESULT_WORD + result] += np.uint64(1)
    counters[_LOOKUPS_WORD] += np.uint64(lookups)
    if length > 0 and not record(context.ledger, context.caller, arrived_ns, read_clock(MONOTONIC, mailbox.timespec)):
        counters[_UNRECORDED_WORD] += np.uint64(1)
    return length


@compiled
def _park(mailbox: Mailbox, i: int, size: int, now_ns: int) -> None:
    """Keep datagram i, which waits for an asset; one that waits already does so on."""
    context = mailbox.context
    beyond = context.beyond
    beyond.state[WAITS] = 1
    if beyond.state[IS_AGAIN] == 1:
        return
    place = take_place(beyond, context.gate, context.caller.words[ADDRESS : ADDRESS + 2], DATAGRAM, now_ns)
    keep_datagram(
        mailbox.parked, beyond, place, mailbox.inbox, i * _PLACE_BYTES, size, mailbox.received, i * MESSAGE_WORDS,
        mailbox.names, i * SOCKADDR_WORDS, mailbox.controls, i * CONTROL_WORDS,
    )  # fmt: skip


@compiled
def serve_parked_datagram(mailbox: Mailbox, counters: Words, udp_fd: int, place: int, now_ns: int) -> None:
    """Look again at the datagram of this place, and answer it if it is decided or late."""
    context = mailbox.context
    beyond = context.beyond
    if not begin_again(beyond, context.gate, place, now_ns):
        return
    arrived_ns = beyond.parked[place, ARRIVED_NS]
    size = give_again(
        mailbox.parked, beyond, place, mailbox.inbox, mailbox.received, mailbox.names, mailbox.controls
    )  # fmt: skip
    length = _answer_at(mailbox, counters, 0, size, 0, arrived_ns, now_ns)
    if length > 0:
        _address_reply(mailbox, 0, 0, 0, length)
        _send_replies(mailbox, counters, udp_fd, 1)
    end_again(beyond, place)


@compiled_inline
def _address_reply(mailbox: Mailbox, reply: int, i: int, at: int, length: int) -> None:
    """Point message `reply` at `outbox[at:at + length]` and at the sender of datagram i."""
    if at < 0 or length < 0 or at > mailbox.outbox.size - length:
        raise IndexError("reply out of range")
    word = reply * MESSAGE_WORDS
    mailbox.replies[word + NAME] = mailbox.received[i * MESSAGE_WORDS + NAME]
    mailbox.replies[word + NAME_LENGTH] = mailbox.received[i * MESSAGE_WORDS + NAME_LENGTH]
    if mailbox.any_address:
        forget_interface(mailbox.controls, i * CONTROL_WORDS)
        mailbox.replies[word + CONTROL] = mailbox.received[i * MESSAGE_WORDS + CONTROL]
        mailbox.replies[word + CONTROL_LENGTH] = mailbox.received[i * MESSAGE_WORDS + CONTROL_LENGTH]
    mailbox.reply_iov[reply * IOV_WORDS] = mailbox.outbox.ctypes.data + np.uint64(at)
    mailbox.reply_iov[reply * IOV_WORDS + 1] = length


@compiled
def _send_replies(mailbox: Mailbox, counters: Words, udp_fd: int, count: int) -> None:
    """Send the addressed replies; one that fails is dropped and the others go on."""
    sent = 0
    while sent < count:
        result = send_many(udp_fd, mailbox.replies, sent, count - sent)
        if result <= 0:
            counters[_RESULT_WORD + _DROPPED] += np.uint64(1)
            result = 1
        sent += result
