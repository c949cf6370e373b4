"""The miss queues: names that a process asks the resolver for; one queue a process, one writer, one reader.

    words 0..   a queue of QUEUE_WORDS words for each process that asks, the request workers first
                  0     written    position behind the newest entry; the asking process alone writes it
                  1     refused    names that found the queue full; the asking process alone writes it
                  8     released   position behind the newest entry that was taken; the resolver alone writes it
                  16..  MISS_QUEUE_ENTRIES entries of four words: asked_at_ns (monotonic), name (2), key id

Rules: whoever asks writes the entry, publishes `written`, and then the resolver's eventfd. There is no queue of
answers: the resolver writes the asset table, and then the eventfds of those that asked for the name, who look again at
what they have parked. So an entry that is lost with its resolver costs one request its deadline, and one that is read
twice costs nothing. A full queue never blocks: the name is not asked for, which the request says.
"""

import os
from typing import NamedTuple

import numpy as np

from trinity.compiled import compiled
from trinity.limits import MISS_QUEUE_ENTRIES
from trinity.memory.asset_table import NAME_WORDS, text_of
from trinity.memory.atomics import Words, load_acquire, signed, store_release
from trinity.memory.segment import Segment

LAYOUT_VERSION = 1

_WRITTEN, _REFUSED, _RELEASED, _ENTRIES_AT = 0, 1, 8, 16
_ENTRY_WORDS = 4
_ASKED_AT_NS, _NAME, _KEY_ID = 0, 1, 3
QUEUE_WORDS = _ENTRIES_AT + MISS_QUEUE_ENTRIES * _ENTRY_WORDS
_MASK = MISS_QUEUE_ENTRIES - 1
assert MISS_QUEUE_ENTRIES & _MASK == 0, "a power of two"


class Miss(NamedTuple):
    """One name that a process asks for."""

    asked_at_ns: int
    name: str
    key_id: int


class MissQueues:
    """All queues of a node; `queue` has the words of one for its compiled writer."""

    def __init__(self, words: Words, segment: Segment | None = None) -> None:
        self.words = words
        self.segment = segment
        self.count = words.size // QUEUE_WORDS

    @classmethod
    def create(cls, name: str, askers: int) -> "MissQueues":
        """Make empty queues (see Segment.create for the errors)."""
        segment = Segment.create(name, LAYOUT_VERSION, askers, askers * QUEUE_WORDS)
        return cls(segment.body, segment)

    @classmethod
    def attach(cls, name: str, askers: int) -> "MissQueues":
        """Open the queues of a running node (see Segment.attach for the errors)."""
        segment = Segment.attach(name, LAYOUT_VERSION, askers)
        return cls(segment.body, segment)

    @classmethod
    def private(cls, askers: int = 1) -> "MissQueues":
        """Empty queues that no other process sees."""
        return cls(np.zeros(askers * QUEUE_WORDS, dtype=np.uint64))

    def queue(self, asker: int) -> Words:
        """The words of one process's queue."""
        if not 0 <= asker < self.count:
            raise IndexError(f"no miss queue {asker} of {self.count}")
        return self.words[asker * QUEUE_WORDS : (asker + 1) * QUEUE_WORDS]

    def take(self, asker: int) -> list[Miss]:
        """What a process has asked for since the last call; the resolver alone may call it."""
        queue = self.queue(asker)
        released, written = int(queue[_RELEASED]), int(load_acquire(queue, _WRITTEN))
        entries = queue[_ENTRIES_AT:].reshape(MISS_QUEUE_ENTRIES, _ENTRY_WORDS)
        taken = entries[np.arange(released, written) & _MASK]
        store_release(queue, _RELEASED, written)
        return [
            Miss(int(entry[_ASKED_AT_NS]), text_of(entry[_NAME : _NAME + NAME_WORDS]), int(entry[_KEY_ID]))
            for entry in taken
        ]


class MissWakes(NamedTuple):
    """The eventfds of the miss path, made before the fork: they outlive every process that uses them."""

    resolver_fd: int  # written by who asks, read by the resolver
    asker_fds: tuple[int, ...]  # by the number of the queue: written by the resolver, read by who asked

    @classmethod
    def create(cls, askers: int) -> "MissWakes":
        fds = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(1 + askers)]
        return cls(fds[0], tuple(fds[1:]))


@compiled
def ask_for(queue: Words, name: Words, key_id: int, now_ns: int) -> bool:
    """Put a name (two words, as asset_table.py has them) into this process's queue; False when it is full."""
    position = signed(queue[_WRITTEN])
    if position - signed(load_acquire(queue, _RELEASED)) >= MISS_QUEUE_ENTRIES:
        queue[_REFUSED] += np.uint64(1)
        return False
    at = _ENTRIES_AT + (position & _MASK) * _ENTRY_WORDS
    queue[at + _ASKED_AT_NS], queue[at + _KEY_ID] = np.uint64(now_ns), np.uint64(key_id)
    queue[at + _NAME], queue[at + _NAME + 1] = name[0], name[1]
    store_release(queue, _WRITTEN, position + 1)
    return True
