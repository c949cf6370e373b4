"""The record of a delivery, and how the push server's process writes its ring of them (record_ring.py).

Rules: one record a message, when its fate is known: a message that was tried three times has one, of its last attempt.
A record is written whole before `written` is published. Two verbs write: `append` of Python, for messages over HTTPS,
and `append_delivery` of compiled code, for datagrams; both in the one process, and never at the same time.
"""

import numpy as np

from trinity.compiled import compiled
from trinity.memory.atomics import Words, load_acquire, store_release
from trinity.memory.record_ring import (
    CAPACITY,
    HEADER_WORDS,
    POSITION_BITS,
    REFUSED,
    RELEASED,
    RING,
    WORD_BYTES,
    WRITTEN,
    RecordRing,
)

RECORD_DTYPE = np.dtype(
    [
        ("time_ns", np.int64),  # wall clock, of its end
        ("delivery_id", np.uint64),  # ring << 56 | position
        ("subscription_id", np.int64),
        ("sequence", np.int64),
        ("latency_ns", np.int64),  # of the last attempt
        ("late_us", np.uint32),  # from when it was due until it was sent; 2**32 - 1 for longer
        ("account_id", np.uint32),
        ("status", np.uint16),  # of HTTP; 0: there was no answer
        ("assets", np.uint16),  # prices in the message, given or refused
        ("outcome", np.uint8),  # index of vocabulary.DELIVERY_OUTCOMES
        ("attempts", np.uint8),
        ("reason", np.uint8),  # index of vocabulary.DELIVERY_REASONS
        ("reserved", np.uint8),
    ],
    align=True,
)
RECORD_WORDS = RECORD_DTYPE.itemsize // WORD_BYTES
assert RECORD_DTYPE.itemsize == RECORD_WORDS * WORD_BYTES == 56, "whole words"

_UINT32_MAX = 2**32 - 1


class DeliveryRing(RecordRing):
    """The ring of the push server's deliveries."""

    magic = int.from_bytes(b"TRINITYD", "little")
    folder = "deliveries"
    record_dtype = RECORD_DTYPE

    def append(
        self,
        *,
        time_ns: int,
        subscription_id: int,
        sequence: int,
        account_id: int,
        latency_ns: int,
        late_us: int,
        status: int,
        assets: int,
        outcome: int,
        attempts: int,
        reason: int,
    ) -> int | None:
        """Publish one record; its id, None (and counted as refused) when the ring is full."""
        delivery_id = self.number << POSITION_BITS | self.written
        numbers = (time_ns, subscription_id, sequence, account_id, latency_ns, max(late_us, 0), status, assets)
        is_taken = append_delivery(self.words, *numbers, outcome, attempts, reason)
        return delivery_id if is_taken else None


def warm_up() -> None:
    """Compile what the pusher calls from Python, or load its machine code, before the fork."""
    append_delivery(DeliveryRing.private_words(0, 1), *(0, 0, 0, 0, 0, 0, 0, 0), 0, 0, 0)


@compiled
def append_delivery(
    ring: Words,
    time_ns: int,
    subscription_id: int,
    sequence: int,
    account_id: int,
    latency_ns: int,
    late_us: int,
    status: int,
    assets: int,
    outcome: int,
    attempts: int,
    reason: int,
) -> bool:
    """Publish one record, no number of it negative; False when the ring is full."""
    position = ring[WRITTEN]
    capacity = ring[CAPACITY]
    if position - load_acquire(ring, RELEASED) >= capacity:
        ring[REFUSED] += np.uint64(1)
        return False
    at = HEADER_WORDS + np.int64(position & (capacity - np.uint64(1))) * RECORD_WORDS
    ring[at] = np.uint64(time_ns)
    ring[at + 1] = ring[RING] << np.uint64(POSITION_BITS) | position
    ring[at + 2] = np.uint64(subscription_id)
    ring[at + 3] = np.uint64(sequence)
    ring[at + 4] = np.uint64(latency_ns)
    ring[at + 5] = np.uint64(min(late_us, _UINT32_MAX)) | np.uint64(account_id) << np.uint64(32)
    ring[at + 6] = np.uint64(status | assets << 16 | outcome << 32 | attempts << 40 | reason << 48)
    store_release(ring, WRITTEN, position + np.uint64(1))
    return True
