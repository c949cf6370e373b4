"""The control segment: a word block for each process, and the words by which the supervisor steers all.

    words 0-7        node words: NODE_* below
    words 8..        one block of BLOCK_WORDS for each process, in the order of the node's process list:
                       0     heartbeat_ns   monotonic; written by the process's own data loop
                       1     pid            written by the supervisor
                       2     started_ns     monotonic; written by the supervisor
                       3     restarts       written by the supervisor
                       4     command        Command; written by the supervisor
                       5     failing        1 while it dies again and again; written by the supervisor
                       6     resting        1 while it is a spare: nobody is meant to run; written by the supervisor
                       7     reserved
                       8..   counters       COUNTER_WORDS words, written by the process alone

Rules: every word has one writer, so plain aligned stores are enough and nothing is ever lost when a process is
killed; a restarted process goes on counting where the dead one stopped. A counter is a uint64; a gauge is the
bits of a float64 in the same word. What each counter means is declared in `trinity/observe/metrics.py`, not here.
"""

import enum
import hashlib

import numpy as np
from numpy.typing import NDArray

from trinity.limits import COUNTER_WORDS
from trinity.memory.atomics import Words, load_acquire, store_release
from trinity.memory.segment import Segment

LAYOUT_VERSION = 1

NODE_WORDS = 8
NODE_STARTED_NS = 0  # wall clock
NODE_SIMULATED = 1  # 1 when the exchanges are simulated
NODE_RECORDING = 2  # 1 while feeds and consensus record their inputs; also set by `trinity record`
NODE_LEAVING = 3  # 1 from SIGTERM on: the node still answers, and wants nobody new

BLOCK_WORDS = 8 + COUNTER_WORDS

HEARTBEAT_NS, PID, STARTED_NS, RESTARTS, COMMAND, FAILING, RESTING = range(7)
COUNTERS = 8


class Command(enum.IntEnum):
    """What the supervisor asks of a process; a compiled loop polls it, the others also get SIGTERM."""

    RUN = 0
    DRAIN = 1  # the node ends: nobody takes over what the process had
    RETIRE = 2  # another process takes over, and the node goes on


class Control:
    """The node's control segment."""

    def __init__(self, segment: Segment, processes: int) -> None:
        self.segment = segment
        self.words: Words = segment.body
        self.processes = processes

    @classmethod
    def create(cls, name: str, processes: int) -> "Control":
        """Make an all-zero segment (see Segment.create for the errors)."""
        body_words = NODE_WORDS + processes * BLOCK_WORDS
        return cls(Segment.create(name, LAYOUT_VERSION, layout_hash_of(processes), body_words), processes)

    @classmethod
    def attach(cls, name: str, processes: int) -> "Control":
        """Open the segment of a running node (see Segment.attach for the errors)."""
        return cls(Segment.attach(name, LAYOUT_VERSION, layout_hash_of(processes)), processes)

    def block(self, process: int) -> "ProcessBlock":
        """The words of one process."""
        if not 0 <= process < self.processes:
            raise IndexError(f"no process {process} of {self.processes}")
        start = NODE_WORDS + process * BLOCK_WORDS
        return ProcessBlock(self.words[start : start + BLOCK_WORDS])

    def read_node_word(self, index: int) -> int:
        return int(load_acquire(self.words, index))

    def write_node_word(self, index: int, value: int) -> None:
        """Set a NODE_* word; only the supervisor may call it."""
        store_release(self.words, index, value)


class ProcessBlock:
    """The words of one process: heartbeat, command and counters. `words` is for compiled loops."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.counters: Words = words[COUNTERS:]
        self._gauges: NDArray[np.float64] = self.counters.view(np.float64)

    def read(self, index: int) -> int:
        """One of HEARTBEAT_NS, PID, STARTED_NS, RESTARTS, COMMAND, FAILING, RESTING."""
        return int(load_acquire(self.words, index))

    def write(self, index: int, value: int) -> None:
        store_release(self.words, index, int(value))  # a Command would be another type for numba

    def beat(self, monotonic_ns: int) -> None:
        """Say that the data loop made progress; called by that loop itself, never by a side thread."""
        store_release(self.words, HEARTBEAT_NS, monotonic_ns)

    def count(self, counter: int, amount: int = 1) -> None:
        """Add to a counter; only the process that owns the block may call it."""
        self.counters[counter] += np.uint64(amount)

    def set_gauge(self, counter: int, value: float) -> None:
        """Set a gauge; only the process that owns the block may call it."""
        self._gauges[counter] = value

    def read_counter(self, counter: int) -> int:
        return int(self.counters[counter])

    def read_gauge(self, counter: int) -> float:
        return float(self._gauges[counter])


def layout_hash_of(processes: int) -> int:
    """Hash of everything that the bytes' meaning depends on."""
    text = f"{NODE_WORDS}|{BLOCK_WORDS}|{COUNTERS}|{processes}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
