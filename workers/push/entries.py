"""The schedule's memory, one entry a subscription, and the steps that run once a message. Pure, compiled.

    due_ns      of each row when its next message is due, NEVER where none is planned: an array of its own, for it is
                looked through at every turn
    entries     all else of each row

Rules: thousands fall due in one turn, so beginning and landing take all of them in one call. What is rare (failures,
changes) is schedule.py's. Times are monotonic nanoseconds.
"""

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND
from trinity.compiled import compile_for, compiled
from trinity.native.octets import Integers
from trinity.vocabulary import DELIVERY_REASONS

# The next message of a 3 s interval is not far; more than this at once would be a burst (1,000 a second are due).
LATE_MAX_NS = NS_PER_SECOND
# A price that runs away is told once a second, not with each of four consensus turns a second.
DEVIATION_GAP_NS = NS_PER_SECOND
NEVER = np.iinfo(np.int64).max
# No time of the monotonic clock.
NONE = -1

INTERVAL, DEVIATION, HEARTBEAT, RECOVERY = [
    DELIVERY_REASONS.index(name) for name in ("interval", "deviation", "heartbeat", "recovery")
]

Entries = NDArray[np.void]
Begun = NDArray[np.void]

ENTRY_DTYPE = np.dtype(
    [
        ("id", np.int64),
        ("interval_ns", np.int64),
        ("heartbeat_ns", np.int64),
        ("phase_ns", np.int64),  # of its grid
        ("spread_ns", np.int64),  # where in its window begins what has no grid
        ("flight", np.int64),  # 0: no message is in flight
        ("pending_ns", np.int64),  # when the one that waits for it was due
        ("last_ns", np.int64),  # when the last message was due, or begun
        ("failures", np.int64),
        ("reason", np.int64),  # of the next one; index of vocabulary.DELIVERY_REASONS
        ("deviates", np.int64),
    ]
)
# A message to send now.
BEGUN_DTYPE = np.dtype(
    [
        ("row", np.int64),
        ("id", np.int64),
        ("due_ns", np.int64),
        ("flight", np.int64),
        ("reason", np.int64),
        ("is_probe", np.int64),
        ("deviates", np.int64),
    ]
)


@compiled
def begin_due(
    entries: Entries, due_ns: Integers, rows: Integers, now_ns: int, flight: int, begun: Begun
) -> tuple[int, int]:
    """Begin what is due of these rows, as many as `begun` holds, and skip what was missed; how many of each."""
    count = skipped = 0
    for row in rows:
        entry = entries[row]
        while due_ns[row] <= now_ns and count < begun.size:
            at_ns = due_ns[row]
            if entry["flight"]:
                entry["pending_ns"] = at_ns
                plan_next(entries, due_ns, row, max(at_ns, now_ns - LATE_MAX_NS))
            elif now_ns - at_ns <= LATE_MAX_NS:
                _begin(entries, due_ns, row, at_ns, entry["reason"], flight + count, begun[count])
                count += 1
            else:
                skipped += 1
                if entry["failures"] or not entry["interval_ns"]:
                    due_ns[row] = now_ns + 1 + entry["spread_ns"]
                else:
                    plan_next(entries, due_ns, row, now_ns)
    return count, skipped


@compiled
def begin_moved(entries: Entries, due_ns: Integers, rows: Integers, now_ns: int, flight: int, begun: Begun) -> int:
    """Begin a message to those of these rows that may have one now; how many."""
    count = 0
    for row in rows:
        entry = entries[row]
        may = entry["flight"] == 0 and entry["failures"] == 0 and entry["deviates"] != 0
        if may and entry["last_ns"] != NONE and now_ns - entry["last_ns"] >= DEVIATION_GAP_NS:
            _begin(entries, due_ns, row, now_ns, DEVIATION, flight + count, begun[count])
            count += 1
    return count


@compiled
def _begin(entries: Entries, due_ns: Integers, row: int, at_ns: int, reason: int, flight: int, begun: np.void) -> None:
    entry = entries[row]
    begun["row"], begun["id"], begun["due_ns"], begun["flight"] = row, entry["id"], at_ns, flight
    begun["reason"], begun["deviates"], begun["is_probe"] = reason, entry["deviates"], min(entry["failures"], 1)
    entry["flight"], entry["last_ns"] = flight, at_ns
    if entry["failures"]:
        due_ns[row] = NEVER  # planned when it is known what became of the probe
    else:
        plan_next(entries, due_ns, row, at_ns)


@compiled
def land(entries: Entries, due_ns: Integers, begun: Begun, now_ns: int) -> tuple[int, int]:
    """These messages have arrived; how many were still in flight, and of how many the receiver had failed."""
    landed = recovered = 0
    for i in range(begun.size):
        row = begun[i]["row"]
        entry = entries[row]
        if entry["id"] != begun[i]["id"] or entry["flight"] != begun[i]["flight"]:
            continue
        landed += 1
        entry["flight"] = 0
        if entry["failures"]:
            recovered += 1
            entry["failures"] = 0
            plan_next(entries, due_ns, row, now_ns)
        elif entry["pending_ns"] != NONE:
            # The newest prices go at once; its due time stays, so what it is late by is told.
            due_ns[row] = max(entry["pending_ns"], now_ns - LATE_MAX_NS)
            entry["reason"] = INTERVAL if entry["interval_ns"] else HEARTBEAT
        entry["pending_ns"] = NONE
    return landed, recovered


@compiled
def plan_next(entries: Entries, due_ns: Integers, row: int, after_ns: int) -> None:
    """The next of its cadence after this time; none where its watcher says when."""
    entry = entries[row]
    interval_ns, heartbeat_ns, phase_ns = entry["interval_ns"], entry["heartbeat_ns"], entry["phase_ns"]
    due_ns[row] = NEVER
    if interval_ns:
        due_ns[row] = phase_ns + ((after_ns - phase_ns) // interval_ns + 1) * interval_ns
        entry["reason"] = INTERVAL
    if heartbeat_ns and after_ns + heartbeat_ns < due_ns[row]:
        due_ns[row] = after_ns + heartbeat_ns
        entry["reason"] = HEARTBEAT


def warm_up() -> None:
    """Compile the steps, or load their machine code, before the fork."""
    memory = np.zeros(1, dtype=ENTRY_DTYPE), np.zeros(1, dtype=np.int64)
    rows, begun = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=BEGUN_DTYPE)
    for begin in (begin_due, begin_moved):
        compile_for(begin, *memory, rows, 0, 0, begun)
    compile_for(land, *memory, begun, 0)
    compile_for(plan_next, *memory, 0, 0)
