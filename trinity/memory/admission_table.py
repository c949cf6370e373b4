"""The admission table: what each request worker lets in, and how many connections the node may have.

    words 0-7    of the node
                   0  workers            lines that follow
                   1  connections limit  of this node, out of the cluster's; the `cluster` process writes it
                   2  told at            monotonic nanoseconds of that word
    words 8..    16 words a worker, two cache lines, written by that worker alone
                   0  limit              connections with a request that it takes at once
                   1  in flight          the most of them at one time in the last window
                   2-3 queue delay       p50 and p90 of the last window, nanoseconds
                   4  datagram limit     datagrams that may wait
                   5  open connections
                   6  admitted           requests, since the worker began
                   7-10 refused          by admission class
                   11 wanted             connections that found no room under the node's limit
                   12-15 reserved

Rules: the node's words have one writer, the `cluster` process, and each line has one. Every word stands for itself, so
no reader needs two of them at one moment. A worker that begins clears its line: what a killed one held is nobody's.
"""

from dataclasses import dataclass

import numpy as np

from trinity.memory.atomics import Words, load_acquire, store_release
from trinity.memory.segment import Segment

LAYOUT_VERSION = 1
LAYOUT_HASH = 0  # all of it is fixed by the version

HEADER_WORDS = 8
LINE_WORDS = 16
WORKERS, CONNECTIONS_LIMIT, TOLD_AT_NS = range(3)

CLASSES = 4
(LIMIT, IN_FLIGHT, DELAY_P50_NS, DELAY_P90_NS, DATAGRAM_LIMIT, OPEN, ADMITTED, REFUSED) = range(8)
WANTED = REFUSED + CLASSES


WORKERS_MAX = 127  # seven bits of a request id
_NO_LIMIT = 1 << 40


@dataclass(frozen=True)
class WorkerAdmission:
    """One worker's line, as it was read."""

    limit: int
    in_flight: int
    delay_p50_ns: int
    delay_p90_ns: int
    datagram_limit: int
    open: int
    admitted: int
    refused: tuple[int, ...]
    wanted: int


class AdmissionTable:
    """What the workers of a node admit; `words` is for compiled users."""

    def __init__(self, words: Words, segment: Segment | None = None) -> None:
        self.words = words
        self.segment = segment

    @classmethod
    def create(cls, name: str, workers: int) -> "AdmissionTable":
        """A table for so many workers, whose node has no limit yet (see Segment.create for the errors)."""
        segment = Segment.create(name, LAYOUT_VERSION, LAYOUT_HASH, _words_needed(workers))
        return cls(_laid_out(segment.body, workers), segment)

    @classmethod
    def attach(cls, name: str) -> "AdmissionTable":
        """Open the table of a running node (see Segment.attach for the errors)."""
        segment = Segment.attach(name, LAYOUT_VERSION, LAYOUT_HASH)
        return cls(segment.body, segment)

    @classmethod
    def private(cls, workers: int = WORKERS_MAX) -> "AdmissionTable":
        """A table that no other process sees."""
        return cls(_laid_out(np.zeros(_words_needed(workers), dtype=np.uint64), workers))

    @property
    def workers(self) -> int:
        return int(self.words[WORKERS])

    @property
    def connections_limit(self) -> int:
        """Connections that this node may have."""
        return int(load_acquire(self.words, CONNECTIONS_LIMIT))

    def tell_limit(self, connections: int, now_ns: int) -> None:
        """The node may have so many connections from now on; the supervisor says the first limit, then one process."""
        store_release(self.words, CONNECTIONS_LIMIT, max(1, connections))
        store_release(self.words, TOLD_AT_NS, now_ns)

    def read(self, worker: int) -> WorkerAdmission:
        """One worker's line."""
        at = line_at(worker)
        words = [int(load_acquire(self.words, at + word)) for word in range(LINE_WORDS)]
        return WorkerAdmission(
            limit=words[LIMIT],
            in_flight=words[IN_FLIGHT],
            delay_p50_ns=words[DELAY_P50_NS],
            delay_p90_ns=words[DELAY_P90_NS],
            datagram_limit=words[DATAGRAM_LIMIT],
            open=words[OPEN],
            admitted=words[ADMITTED],
            refused=tuple(words[REFUSED:WANTED]),
            wanted=words[WANTED],
        )

    def read_all(self) -> list[WorkerAdmission]:
        """Every worker's line."""
        return [self.read(worker) for worker in range(self.workers)]

    def clear(self, worker: int) -> None:
        """Only that worker may call it, when it begins."""
        self.words[line_at(worker) : line_at(worker + 1)] = 0


def line_at(worker: int) -> int:
    """Where a worker's line begins."""
    return HEADER_WORDS + worker * LINE_WORDS


def _words_needed(workers: int) -> int:
    return HEADER_WORDS + workers * LINE_WORDS


def _laid_out(words: Words, workers: int) -> Words:
    words[WORKERS], words[CONNECTIONS_LIMIT] = workers, _NO_LIMIT
    return words
