"""The schedule once more, plainly: one object and one place in a heap for each subscription. An oracle for the table
of workers/push/schedule.py, which shares with it the bounds and the hash, and no step."""

from collections.abc import Iterable
from heapq import heappop, heappush
from random import Random

from trinity.clock import NS_PER_SECOND
from workers.push.entries import DEVIATION_GAP_NS, LATE_MAX_NS
from workers.push.schedule import (
    BACKOFF_CAP_NS,
    RETRY_AFTER_CAP_NS,
    SPREAD_MAX_NS,
    Cadence,
    Due,
    Reason,
    spread,
)


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


class HeapSchedule:
    """All subscriptions, each with an entry of its own."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._entries: dict[int, _Entry] = {}
        self._heap: list[tuple[int, int, _Entry]] = []
        self._token = 0
        self.flying = 0
        self.failing = 0
        self.skipped = 0  # missed by stalls

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
        window_ns = min(entry.cadence.period_ns << min(entry.failures - 1, 10), BACKOFF_CAP_NS)
        wait_ns = int(window_ns * self._random.uniform(0.8, 1.0))
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
        entry = self._entries.get(due.id)
        if entry is None or not due.flight or entry.flight != due.flight:
            return None
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


def _spread_window(cadence: Cadence) -> int:
    return min(cadence.period_ns, SPREAD_MAX_NS)
