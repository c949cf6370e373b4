"""Who is due when: pure, one heap for all subscriptions, no task for those that wait.

    interval     on a grid of its own: a phase by the subscription's id, so that those of one interval are spread
    heartbeat    so long after the last message, whatever that was
    deviation    when its watcher says so (moves.py), no nearer than DEVIATION_GAP_NS to the last message
    in flight    one message; what falls due meanwhile is one pending one, which goes with the newest prices
    failing      alone, after period * 2**k with jitter, at most BACKOFF_CAP_NS, or what the receiver asked for;
                 a probe then has the reason `recovery`, and its success brings the old cadence back at once

Rules: times are monotonic nanoseconds and arguments, so the wall clock may jump. What is later than LATE_MAX_NS was
missed, by a stall of this process: it is skipped and counted, never made up for, so no stall ends in a burst. Must not
know prices, targets or messages.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from random import Random
from typing import Literal, NamedTuple

from trinity.clock import NS_PER_SECOND

Reason = Literal["interval", "deviation", "heartbeat", "recovery", "test", "replay"]  # the last two are asked for

# The next message of a 3 s interval is not far; more than this at once would be a burst (1,000 a second are due).
LATE_MAX_NS = NS_PER_SECOND
# A price that runs away is told once a second, not with each of four consensus turns a second.
DEVIATION_GAP_NS = NS_PER_SECOND
BACKOFF_CAP_NS = 15 * 60 * NS_PER_SECOND
# A receiver that asks for more than this is still asked again then.
RETRY_AFTER_CAP_NS = 2 * BACKOFF_CAP_NS
# What has no interval gets its first message, and those missed by a stall, spread over at most this.
SPREAD_MAX_NS = 60 * NS_PER_SECOND
# 3 s * 2**10 is beyond the cap; a larger exponent only makes larger integers.
_EXPONENT_MAX = 10
# Of a back-off, so that receivers that failed together do not come back together.
_JITTER_LOW = 0.8
# Entries of the heap that were replaced are dropped when they are most of it.
_HEAP_SPARE = 1024


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


class _Entry:
    """One subscription. `token` is that of its only valid place in the heap."""

    __slots__ = (
        "cadence", "due_ns", "failures", "flight", "id", "last_ns", "pending_ns", "reason", "spread", "token",
    )  # fmt: skip

    def __init__(self, number: int, cadence: Cadence) -> None:
        self.id = number
        self.cadence = cadence
        self.spread = spread(number)
        self.reason: Reason = "interval"
        self.due_ns = 0
        self.token = 0
        self.flight = 0  # 0: none
        self.pending_ns: int | None = None
        self.failures = 0
        self.last_ns: int | None = None  # when the last message was due, or begun


class Scheduler:
    """All subscriptions that this process serves."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._entries: dict[int, _Entry] = {}
        self._heap: list[tuple[int, int, _Entry]] = []
        self._token = 0
        self.flying = 0
        self.failing = 0
        self.skipped = 0  # missed by stalls

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def is_failing(self, number: int) -> bool:
        """Whether its last message did not arrive."""
        return number in self._entries and self._entries[number].failures > 0

    def put(self, number: int, cadence: Cadence, now_ns: int, failures: int = 0, wait_ns: int = 0) -> None:
        """Take a subscription on, or its new cadence; with `failures` one whose receiver is known to fail."""
        entry = self._entries.get(number)
        if entry is None:
            entry = self._entries[number] = _Entry(number, cadence)
            entry.failures = failures
            self.failing += failures > 0
        elif entry.cadence == cadence:
            return
        entry.cadence = cadence
        if entry.failures:
            if not entry.flight:
                self._plan(entry, now_ns + max(wait_ns, 1 + entry.spread % _spread_window(cadence)), "recovery")
        else:
            self._plan_first(entry, now_ns)

    def remove(self, number: int) -> None:
        """Let it go; a message in flight ends without us."""
        entry = self._entries.pop(number, None)
        if entry is not None:
            entry.token = 0
            self.flying -= entry.flight > 0
            self.failing -= entry.failures > 0

    def due(self, now_ns: int, most: int) -> list[Due]:
        """The messages to begin now, at most so many, the oldest first; each is in flight from here on."""
        begun: list[Due] = []
        while self._heap and self._heap[0][0] <= now_ns and len(begun) < most:
            due_ns, token, entry = heappop(self._heap)
            if token != entry.token:
                continue
            if entry.flight:
                entry.pending_ns = due_ns
                self._plan_next(entry, max(due_ns, now_ns - LATE_MAX_NS))
            elif now_ns - due_ns > LATE_MAX_NS:
                self.skipped += 1
                self._plan_missed(entry, now_ns)
            else:
                begun.append(self._begin(entry, due_ns, entry.reason))
        return begun

    def moved(self, numbers: Iterable[int], now_ns: int) -> list[Due]:
        """Of those whose prices have moved, the messages to begin now; the others are told again while it is so."""
        begun = []
        for number in numbers:
            entry = self._entries.get(number)
            if entry is None or entry.flight or entry.failures or not entry.cadence.deviates:
                continue
            if entry.last_ns is not None and now_ns - entry.last_ns >= DEVIATION_GAP_NS:
                begun.append(self._begin(entry, now_ns, "deviation"))
        return begun

    def next_due_ns(self) -> int | None:
        """When to ask again at the latest; it may be that of one that was replaced."""
        return self._heap[0][0] if self._heap else None

    def is_superseded(self, due: Due) -> bool:
        """Whether a newer message waits for the one in flight, or nobody wants it any more: no retry then."""
        entry = self._entries.get(due.id)
        return entry is None or entry.flight != due.flight or entry.pending_ns is not None

    def is_flying(self, due: Due) -> bool:
        """Whether this is the message in flight, not one of before its subscription was let go and taken on again."""
        entry = self._entries.get(due.id)
        return entry is not None and due.flight > 0 and entry.flight == due.flight

    def delivered(self, due: Due, now_ns: int) -> None:
        """The message in flight has arrived."""
        entry = self._land(due)
        if entry is None:
            return
        if entry.failures:
            entry.failures = 0
            self.failing -= 1
            self._plan_next(entry, now_ns)
        elif entry.pending_ns is not None:
            # The newest prices go at once; its due time stays, so what it is late by is told.
            reason: Reason = "interval" if entry.cadence.interval_ns else "heartbeat"
            self._plan(entry, max(entry.pending_ns, now_ns - LATE_MAX_NS), reason)
        entry.pending_ns = None

    def failed(self, due: Due, now_ns: int, retry_after_s: float = 0.0) -> int:
        """It has not arrived, retries included; when it is tried again, 0 where nobody wants to know."""
        entry = self._land(due)
        if entry is None:
            return 0
        entry.pending_ns = None
        self.failing += entry.failures == 0
        entry.failures += 1
        window_ns = min(entry.cadence.period_ns << min(entry.failures - 1, _EXPONENT_MAX), BACKOFF_CAP_NS)
        wait_ns = int(window_ns * self._random.uniform(_JITTER_LOW, 1.0))
        asked_ns = int(min(retry_after_s * NS_PER_SECOND, RETRY_AFTER_CAP_NS))
        self._plan(entry, now_ns + max(wait_ns, asked_ns), "recovery")
        return entry.due_ns

    def postponed(self, due: Due, now_ns: int) -> None:
        """It was not tried, for reasons of ours: nothing is known of the receiver."""
        entry = self._land(due)
        if entry is None:
            return
        entry.pending_ns = None
        if entry.failures or not entry.cadence.interval_ns:
            window_ns = _spread_window(entry.cadence)
            self._plan(entry, now_ns + int(window_ns * self._random.uniform(0.5, 1.0)), entry.reason)

    def _begin(self, entry: _Entry, due_ns: int, reason: Reason) -> Due:
        self._token += 1
        entry.flight, entry.last_ns = self._token, due_ns
        self.flying += 1
        if entry.failures:
            entry.token = 0  # planned when it is known what became of the probe
        else:
            self._plan_next(entry, due_ns)
        return Due(entry.id, due_ns, reason, entry.failures > 0, entry.flight)

    def _land(self, due: Due) -> _Entry | None:
        if not self.is_flying(due):
            return None
        entry = self._entries[due.id]
        entry.flight = 0
        self.flying -= 1
        return entry

    def _plan_first(self, entry: _Entry, now_ns: int) -> None:
        """Of a new or changed one: also what waits for prices to move needs a message to compare with."""
        if entry.cadence.interval_ns:
            self._plan_next(entry, now_ns)
            return
        reason: Reason = "heartbeat" if entry.cadence.heartbeat_ns else "deviation"
        self._plan(entry, now_ns + 1 + entry.spread % _spread_window(entry.cadence), reason)

    def _plan_next(self, entry: _Entry, after_ns: int) -> None:
        """The next of its cadence after this time."""
        interval_ns, heartbeat_ns, _ = entry.cadence
        due_ns: int | None = None
        reason: Reason = "interval"
        if interval_ns:
            phase_ns = entry.spread % interval_ns
            due_ns = phase_ns + ((after_ns - phase_ns) // interval_ns + 1) * interval_ns
        if heartbeat_ns and (due_ns is None or after_ns + heartbeat_ns < due_ns):
            due_ns, reason = after_ns + heartbeat_ns, "heartbeat"
        if due_ns is None:
            entry.token = 0  # its watcher says when
        else:
            self._plan(entry, due_ns, reason)

    def _plan_missed(self, entry: _Entry, now_ns: int) -> None:
        if entry.failures or not entry.cadence.interval_ns:
            self._plan(entry, now_ns + 1 + entry.spread % _spread_window(entry.cadence), entry.reason)
        else:
            self._plan_next(entry, now_ns)

    def _plan(self, entry: _Entry, due_ns: int, reason: Reason) -> None:
        self._token += 1
        entry.token, entry.due_ns, entry.reason = self._token, due_ns, reason
        heappush(self._heap, (due_ns, self._token, entry))
        if len(self._heap) > 2 * len(self._entries) + _HEAP_SPARE:
            self._heap = [item for item in self._heap if item[1] == item[2].token]
            heapify(self._heap)


def spread(number: int) -> int:
    """64 bits that neighbouring ids do not share (splitmix64)."""
    mixed = (number + 0x9E3779B97F4A7C15) & _WORD
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _WORD
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _WORD
    return mixed ^ mixed >> 31


_WORD = (1 << 64) - 1


def _spread_window(cadence: Cadence) -> int:
    return min(cadence.period_ns, SPREAD_MAX_NS)
