"""Who is due when: pure, one table of all subscriptions, no task for those that wait.

    interval     on a grid of its own: a phase by the subscription's id, so that those of one interval are spread
    heartbeat    so long after the last message, whatever that was
    deviation    when its watcher says so (moves.py), no nearer than DEVIATION_GAP_NS to the last message
    in flight    one message; what falls due meanwhile is one pending one, which goes with the newest prices
    failing      alone, after period * 2**k with jitter, at most BACKOFF_CAP_NS, or what the receiver asked for;
                 a probe then has the reason `recovery`, and its success brings the old cadence back at once

Rules: times are monotonic nanoseconds and arguments, so the wall clock may jump. What is later than LATE_MAX_NS was
missed, by a stall of this process: it is skipped and counted, never made up for, so no stall ends in a burst. What
begins in a turn begins in one compiled call (entries.py), thousands of datagrams or one message over HTTPS; 100,000
subscriptions are looked through in 0.1 ms. Must not know prices, targets or messages.
"""

from collections.abc import Iterable
from random import Random
from typing import Literal, NamedTuple, get_args

import numpy as np

from trinity.clock import NS_PER_SECOND
from trinity.vocabulary import DELIVERY_REASONS
from workers.push.entries import (
    BEGUN_DTYPE,
    DEVIATION,
    ENTRY_DTYPE,
    HEARTBEAT,
    NEVER,
    NONE,
    RECOVERY,
    Begun,
    begin_due,
    begin_moved,
    land,
    plan_next,
)

Reason = Literal["interval", "deviation", "heartbeat", "recovery", "test", "replay"]  # the last two are asked for

BACKOFF_CAP_NS = 15 * 60 * NS_PER_SECOND
# A receiver that asks for more than this is still asked again then.
RETRY_AFTER_CAP_NS = 2 * BACKOFF_CAP_NS
# What has no interval gets its first message, and those missed by a stall, spread over at most this.
SPREAD_MAX_NS = 60 * NS_PER_SECOND
# 3 s * 2**10 is beyond the cap; a larger exponent only makes larger integers.
_EXPONENT_MAX = 10
# Of a back-off, so that receivers that failed together do not come back together.
_JITTER_LOW = 0.8
_ROOM_MIN = 256


class Cadence(NamedTuple):
    """What one subscription asked for; 0 is off."""

    interval_ns: int
    heartbeat_ns: int
    deviates: bool

    @property
    def period_ns(self) -> int:
        """What back-offs, time-outs and the end of a message's value are measured by."""
        return self.interval_ns or self.heartbeat_ns or SPREAD_MAX_NS


class Due(NamedTuple):
    """A message to send now; `is_probe`: to a receiver that fails. `flight` tells it from all others; 0: not ours."""

    id: int
    due_ns: int
    reason: Reason
    is_probe: bool
    flight: int = 0


class Scheduler:
    """All subscriptions that this process serves."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._rows: dict[int, int] = {}
        self._cadences: dict[int, Cadence] = {}
        self._entries = np.zeros(_ROOM_MIN, dtype=ENTRY_DTYPE)
        self._due_ns = np.full(_ROOM_MIN, NEVER, dtype=np.int64)
        self._free = list(range(_ROOM_MIN - 1, -1, -1))
        self._one = np.zeros(1, dtype=BEGUN_DTYPE)  # scratch
        self._flight = 1  # of the next message
        self.flying = 0
        self.failing = 0
        self.skipped = 0  # missed by stalls

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    def row_of(self, number: int) -> int | None:
        """Its place here, for as long as it is scheduled."""
        return self._rows.get(number)

    def is_failing(self, number: int) -> bool:
        """Whether its last message did not arrive."""
        row = self._rows.get(number)
        return row is not None and bool(self._entries[row]["failures"])

    def put(self, number: int, cadence: Cadence, now_ns: int, failures: int = 0, wait_ns: int = 0) -> None:
        """Take a subscription on, or its new cadence; with `failures` one whose receiver is known to fail."""
        row = self._rows.get(number)
        if row is None:
            row = self._rows[number] = self._take_row()
            self._entries[row] = np.zeros(1, dtype=ENTRY_DTYPE)[0]
            entry = self._entries[row]
            entry["id"], entry["pending_ns"], entry["last_ns"], entry["failures"] = number, NONE, NONE, failures
            self.failing += failures > 0
        elif self._cadences[number] == cadence:
            return
        self._cadences[number] = cadence
        entry = self._entries[row]
        entry["interval_ns"], entry["heartbeat_ns"], entry["deviates"] = cadence
        entry["phase_ns"] = spread(number) % cadence.interval_ns if cadence.interval_ns else 0
        entry["spread_ns"] = spread(number) % _spread_window(cadence)
        if not entry["failures"]:
            self._plan_first(row, cadence, now_ns)
        elif not entry["flight"]:
            self._plan(row, now_ns + max(wait_ns, 1 + int(entry["spread_ns"])), RECOVERY)

    def remove(self, number: int) -> None:
        """Let it go; a message in flight ends without us."""
        row = self._rows.pop(number, None)
        if row is not None:
            del self._cadences[number]
            self._due_ns[row] = NEVER
            self.flying -= bool(self._entries[row]["flight"])
            self.failing -= bool(self._entries[row]["failures"])
            self._free.append(row)

    def due(self, now_ns: int, most: int) -> Begun:
        """The messages to begin now, at most so many, the oldest first; each is in flight from here on."""
        rows = np.flatnonzero(self._due_ns <= now_ns)
        begun = np.zeros(max(min(most, len(rows)), 0), dtype=BEGUN_DTYPE)
        if not len(begun):
            return begun
        rows = rows[np.argsort(self._due_ns[rows], kind="stable")]
        count, skipped = begin_due(self._entries, self._due_ns, rows, now_ns, self._flight, begun)
        self.skipped += skipped
        return self._begun(begun[:count])

    def moved(self, numbers: Iterable[int], now_ns: int) -> Begun:
        """Of those whose prices have moved, the messages to begin now; the others are told again while it is so."""
        rows = np.array([row for number in numbers if (row := self._rows.get(number)) is not None], dtype=np.int64)
        begun = np.zeros(len(rows), dtype=BEGUN_DTYPE)
        return self._begun(begun[: begin_moved(self._entries, self._due_ns, rows, now_ns, self._flight, begun)])

    def next_due_ns(self) -> int | None:
        """When to ask again at the latest."""
        due_ns = int(self._due_ns.min())
        return due_ns if due_ns != NEVER else None

    def is_superseded(self, due: Due) -> bool:
        """Whether a newer message waits for the one in flight, or nobody wants it any more: no retry then."""
        row = self._row_in_flight(due)
        return row is None or self._entries[row]["pending_ns"] != NONE

    def is_flying(self, due: Due) -> bool:
        """Whether this is the message in flight, not one of before its subscription was let go and taken on again."""
        return self._row_in_flight(due) is not None

    def delivered(self, due: Due, now_ns: int) -> None:
        """The message in flight has arrived."""
        row = self._row_in_flight(due)
        if row is not None:
            self._one["row"], self._one["id"], self._one["flight"] = row, due.id, due.flight
            self.all_delivered(self._one, now_ns)

    def all_delivered(self, begun: Begun, now_ns: int) -> None:
        """These have arrived, of what `due` and `moved` gave."""
        landed, recovered = land(self._entries, self._due_ns, begun, now_ns)
        self.flying -= landed
        self.failing -= recovered

    def failed(self, due: Due, now_ns: int, retry_after_s: float = 0.0) -> int:
        """It has not arrived, retries included; when it is tried again, 0 where nobody wants to know."""
        row = self._land(due)
        if row is None:
            return 0
        entry, cadence = self._entries[row], self._cadences[due.id]
        self.failing += not entry["failures"]
        entry["failures"] += 1
        window_ns = min(cadence.period_ns << min(int(entry["failures"]) - 1, _EXPONENT_MAX), BACKOFF_CAP_NS)
        wait_ns = int(window_ns * self._random.uniform(_JITTER_LOW, 1.0))
        asked_ns = int(min(retry_after_s * NS_PER_SECOND, RETRY_AFTER_CAP_NS))
        return self._plan(row, now_ns + max(wait_ns, asked_ns), RECOVERY)

    def postponed(self, due: Due, now_ns: int) -> None:
        """It was not tried, for reasons of ours: nothing is known of the receiver."""
        row = self._land(due)
        if row is None:
            return
        entry, cadence = self._entries[row], self._cadences[due.id]
        if entry["failures"] or not cadence.interval_ns:
            wait_ns = int(_spread_window(cadence) * self._random.uniform(0.5, 1.0))
            self._plan(row, now_ns + wait_ns, int(entry["reason"]))

    def _begun(self, begun: Begun) -> Begun:
        self._flight += len(begun)
        self.flying += len(begun)
        return begun

    def _row_in_flight(self, due: Due) -> int | None:
        row = self._rows.get(due.id)
        return row if row is not None and due.flight and self._entries[row]["flight"] == due.flight else None

    def _land(self, due: Due) -> int | None:
        row = self._row_in_flight(due)
        if row is not None:
            self._entries[row]["flight"], self._entries[row]["pending_ns"] = 0, NONE
            self.flying -= 1
        return row

    def _plan_first(self, row: int, cadence: Cadence, now_ns: int) -> None:
        """Of a new or changed one: also what waits for prices to move needs a message to compare with."""
        if cadence.interval_ns:
            plan_next(self._entries, self._due_ns, row, now_ns)
        else:
            reason = HEARTBEAT if cadence.heartbeat_ns else DEVIATION
            self._plan(row, now_ns + 1 + int(self._entries[row]["spread_ns"]), reason)

    def _plan(self, row: int, due_ns: int, reason: int) -> int:
        self._due_ns[row], self._entries[row]["reason"] = due_ns, reason
        return due_ns

    def _take_row(self) -> int:
        if not self._free:
            count = len(self._entries)
            self._entries = np.concatenate([self._entries, np.zeros(count, dtype=ENTRY_DTYPE)])
            self._due_ns = np.concatenate([self._due_ns, np.full(count, NEVER, dtype=np.int64)])
            self._free = list(range(2 * count - 1, count - 1, -1))
        return self._free.pop()


def dues_of(begun: Begun) -> list[Due]:
    """Each of these messages, for what is done one by one."""
    return [
        Due(number, due_ns, _REASONS[reason], bool(is_probe), flight)
        for _, number, due_ns, flight, reason, is_probe, _ in begun.tolist()
    ]


_REASONS: tuple[Reason, ...] = get_args(Reason)
assert _REASONS == DELIVERY_REASONS, "their numbers are stored"


def spread(number: int) -> int:
    """64 bits that neighbouring ids do not share (splitmix64)."""
    mixed = (number + 0x9E3779B97F4A7C15) & _WORD
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _WORD
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _WORD
    return mixed ^ mixed >> 31


_WORD = (1 << 64) - 1


def _spread_window(cadence: Cadence) -> int:
    return min(cadence.period_ns, SPREAD_MAX_NS)
