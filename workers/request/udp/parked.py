"""Datagrams that wait for an asset beyond the catalog: each is kept whole, with its sender, and given again. Compiled.

Rules: a place belongs to one datagram of `beyond.parked`, and is as large as the longest one. Given again, a datagram
lies where the first of a batch does: there is no batch then.
"""

from typing import NamedTuple

import numpy as np

from trinity.compiled import compiled
from trinity.limits import UDP_REQUEST_BYTES_MAX
from trinity.memory.atomics import Words
from trinity.native.addresses import SOCKADDR_WORDS
from trinity.native.libc import CONTROL_LENGTH, CONTROL_WORDS, NAME_LENGTH
from trinity.native.octets import Octets, append_slice
from workers.request.beyond import SKIN, Beyond

SIZE = SKIN  # of the datagram, in its place of `beyond.parked`
_NAME_LENGTH, _CONTROL_LENGTH, _NAME = 0, 1, 2
_CONTROL = _NAME + SOCKADDR_WORDS
_SENDER_WORDS = _CONTROL + CONTROL_WORDS


class ParkedDatagrams(NamedTuple):
    """The bytes and the senders, by place."""

    octets: Octets  # UDP_REQUEST_BYTES_MAX each
    senders: Words  # _SENDER_WORDS each: length of the name and of the control message, and both


def make_parked_datagrams(places: int) -> ParkedDatagrams:
    """The kernel hands out the pages when they are first used."""
    return ParkedDatagrams(
        octets=np.zeros(places * UDP_REQUEST_BYTES_MAX, dtype=np.uint8),
        senders=np.zeros(places * _SENDER_WORDS, dtype=np.uint64),
    )


@compiled
def keep_datagram(
    parked: ParkedDatagrams,
    beyond: Beyond,
    place: int,
    inbox: Octets,
    start: int,
    size: int,
    received: Words,
    message: int,
    names: Words,
    name: int,
    controls: Words,
    control: int,
) -> None:
    """Keep `inbox[start:start + size]` and its sender; the words of both begin at `name` and `control`."""
    beyond.parked[place, SIZE] = size
    append_slice(inbox, start, size, parked.octets, place * UDP_REQUEST_BYTES_MAX)
    at = place * _SENDER_WORDS
    parked.senders[at + _NAME_LENGTH] = received[message + NAME_LENGTH]
    parked.senders[at + _CONTROL_LENGTH] = received[message + CONTROL_LENGTH]
    for i in range(SOCKADDR_WORDS):
        parked.senders[at + _NAME + i] = names[name + i]
    for i in range(CONTROL_WORDS):
        parked.senders[at + _CONTROL + i] = controls[control + i]


@compiled
def give_again(
    parked: ParkedDatagrams,
    beyond: Beyond,
    place: int,
    inbox: Octets,
    received: Words,
    names: Words,
    controls: Words,
) -> int:
    """Put a kept datagram where the first of a batch lies; its size."""
    size: int = beyond.parked[place, SIZE]
    append_slice(parked.octets, place * UDP_REQUEST_BYTES_MAX, size, inbox, 0)
    at = place * _SENDER_WORDS
    received[NAME_LENGTH] = parked.senders[at + _NAME_LENGTH]
    received[CONTROL_LENGTH] = parked.senders[at + _CONTROL_LENGTH]
    for i in range(SOCKADDR_WORDS):
        names[i] = parked.senders[at + _NAME + i]
    for i in range(CONTROL_WORDS):
        controls[i] = parked.senders[at + _CONTROL + i]
    return size
