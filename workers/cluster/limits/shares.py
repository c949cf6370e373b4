"""Which keys this node must speak about, what it says of them, and what it makes of the answer.

    collect   the keys that moved, or whose time has come -> one `Ask` each
    take      the script's answers -> ceilings that the request workers obey

Rules: a key is asked about when that may change something: it used half of what it has, or was refused, or holds more
than it needs, or has less than its credit back. One that uses little of what it has is told of twice a second. What is
given back is taken from the workers before it is offered, and counted afterwards: nobody can give it a second time. An
answer that never comes changes nothing; a lease whose renewal failed ends here before it ends in Valkey. Columns by key
id, as in the limit table, and whole columns at a time: a node may have a million keys.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND
from trinity.limits import LIMIT_EXCHANGE_NS
from trinity.memory.key_table import TERMS_SLOT_WORDS, KeyTable
from trinity.memory.limit_shares import COUNTS, column, raise_tats, read_counts, take_moved
from trinity.memory.limit_table import ADMITTED, CEILING, CREDIT_PARTS, CREDIT_WINDOW_NS, REFUSED, LimitTable
from trinity.rates import REQUESTS_MASK, SECONDS_SHIFT

# In exchanges. Who holds more than its credit may be idle by now: others wait for it. What was given is within the
# credit, which nobody waits for. Who has less is asked about when there is something for it, which can be long.
_LOOK_HOLDING, _LOOK_UNSETTLED, _LOOK_MAX = 3, 25, 500
_WHEEL = 512
# A reservation lives for a second in Valkey (ratelimit.lua); its holder gives it up before.
LEASE_NS = 800_000_000
# Demand is of this time at most: a key that nobody used for an hour and that begins now is wanted now.
_DEMAND_NS = 100_000_000
# A worker may have counted a request that it then takes back: counts go back by as many as there are workers.
_BACK_MAX = 1_000
# Keys of one exchange: a key takes Valkey 25 us and this process 40 us, so all of them are answered within a turn, and
# within the time-out on a busy machine. Of more, those come first that wait longest.
ASKS_MAX = 200
_MOVED_MAX = 2**18

Column = NDArray[np.int64]


@dataclass(frozen=True)
class Ask:
    """What is said of one key."""

    key_id: int
    counted: int
    acknowledged: int
    held: int
    demand: int
    nodes: int
    interval_ns: int
    burst: int
    credit: int
    tat_us: int
    events: int  # admitted and refused so far, for the next demand; not told

    def arguments(self, node: str) -> list[str | int]:
        """As ratelimit.lua takes them."""
        return [
            node, self.counted, self.acknowledged, self.held, self.demand, self.nodes,
            self.interval_ns, self.burst, self.credit, self.tat_us,
        ]  # fmt: skip


class Shares:
    """This node's part of every key's rate."""

    def __init__(self, keys: KeyTable, limits: LimitTable, now_ns: int) -> None:
        self._keys, self._limits = keys.words, limits.words
        self._admitted, self._refused = column(self._limits, ADMITTED), column(self._limits, REFUSED)
        self._ceilings = column(self._limits, CEILING)
        size = self._ceilings.size
        # What was counted before this process began is taken for settled: Valkey knows better for a second.
        self._acknowledged = self._admitted.astype(np.int64)
        self._events = self._acknowledged + self._refused.astype(np.int64)
        self._asked_at_ns = np.full(size, now_ns, dtype=np.int64)
        self._demand = np.zeros(size, dtype=np.int64)
        self._fair, self._tat_us = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        self._waits, self._is_due = np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
        self._wheel: list[list[Column]] = [[] for _ in range(_WHEEL)]
        self._at = 0
        self._moved, self._terms = np.zeros(_MOVED_MAX, dtype=np.int64), np.zeros(TERMS_SLOT_WORDS, dtype=np.uint64)
        self._late: Column = np.zeros(0, dtype=np.int64)  # asked about and not answered, or one too many
        self.moved_ids: Column = self._late  # of the last `collect`, for whoever counts months

    def collect(self, now_ns: int, nodes: int) -> list[Ask]:
        """One turn: the keys to ask about, at most ASKS_MAX; what they give back is taken from the workers."""
        key_ids = self._due()
        if key_ids.size == 0:
            return []
        rows = np.zeros((key_ids.size, len(COUNTS)), dtype=np.int64)
        read_counts(self._keys, self._limits, key_ids, self._terms, rows)
        is_limited = rows[:, COUNTS.index("rate")] > 0
        key_ids, rows = key_ids[is_limited], rows[is_limited]
        admitted, refused, ceilings = rows[:, 0], rows[:, 1], rows[:, 2]
        self._begin_anew(key_ids[(ceilings == 0) | (admitted < self._acknowledged[key_ids] - _BACK_MAX)])
        intervals_ns, bursts = _intervals_ns(rows[:, COUNTS.index("rate")]), rows[:, COUNTS.index("burst")]
        credit = credits_of(nodes, intervals_ns, bursts)
        held = np.maximum(np.where(ceilings == 0, credit, ceilings) - admitted, 0)
        unsettled = admitted - self._acknowledged[key_ids]
        events = admitted + refused
        recent = events - self._events[key_ids]
        is_urgent = (
            (recent > unsettled)  # refused
            | (unsettled * 2 > held)
            | (self._is_due[key_ids] & ((unsettled > 0) | (held != credit)))
        )
        self._is_due[key_ids] = False
        self._look_again(key_ids[~is_urgent & (held > credit)], _LOOK_HOLDING)
        self._look_again(key_ids[~is_urgent & (held <= credit) & (unsettled > 0)], _LOOK_UNSETTLED)
        at = np.flatnonzero(is_urgent)
        if at.size > ASKS_MAX:
            at = at[np.argsort(self._asked_at_ns[key_ids[at]], kind="stable")]
            self._late, at = np.append(self._late, key_ids[at[ASKS_MAX:]]), at[:ASKS_MAX]
        elapsed_ns = np.clip(now_ns - self._asked_at_ns[key_ids], 1, _DEMAND_NS)
        demand = np.where(recent == 0, 0, (self._demand[key_ids] + recent * NS_PER_SECOND // elapsed_ns) // 2 + 1)
        fair = np.where((demand > 0) & (self._fair[key_ids] > 0), self._fair[key_ids], credit)
        keep = np.minimum(held, fair)
        self._ceilings[key_ids[at]] = (admitted + keep)[at].astype(np.uint64)
        counted = self._admitted[key_ids[at]].astype(np.int64)  # behind what was given back
        held = np.maximum(admitted[at] + keep[at] - counted, 0)
        columns = (
            key_ids[at], counted, self._acknowledged[key_ids[at]], held, demand[at], np.full(at.size, nodes),
            intervals_ns[at], bursts[at], credit[at], self._tat_us[key_ids[at]], events[at],
        )  # fmt: skip
        return [Ask(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def take(self, asks: list[Ask], replies: list[Any], asked_at_ns: int) -> None:
        """What the script answered, in the asks' order; one that is no list of numbers came to nothing."""
        good = [(ask, reply) for ask, reply in zip(asks, replies, strict=True) if isinstance(reply, list)]
        self.fail([ask for ask, reply in zip(asks, replies, strict=True) if not isinstance(reply, list)])
        if not good:
            return
        asked = np.array(
            [(a.key_id, a.counted, a.demand, a.events, a.credit, a.interval_ns, a.burst) for a, _ in good],
            dtype=np.int64,
        )
        found = np.array([reply for _, reply in good], dtype=np.int64)
        key_ids, counted, reserved, tats_us = asked[:, 0], asked[:, 1], found[:, 0], found[:, 2]
        self._ceilings[key_ids] = (counted + reserved).astype(np.uint64)
        self._acknowledged[key_ids], self._demand[key_ids], self._events[key_ids] = counted, asked[:, 2], asked[:, 3]
        self._fair[key_ids], self._tat_us[key_ids] = found[:, 1], tats_us
        self._asked_at_ns[key_ids] = asked_at_ns
        ahead_ns = (tats_us - found[:, 3]) * 1_000
        raise_tats(self._limits, key_ids, asked_at_ns + ahead_ns)
        credit, interval_ns, bucket_ns = asked[:, 4], asked[:, 5], asked[:, 5] * asked[:, 6]
        # There is one request more for whoever wants it, or the bucket is half full.
        wanting_ns = ahead_ns + (reserved + 1) * interval_ns - bucket_ns - 2 * LIMIT_EXCHANGE_NS
        wait_ns = np.where(asked[:, 2] > 0, wanting_ns, ahead_ns - bucket_ns // 2)
        turns = np.clip(-(-wait_ns // LIMIT_EXCHANGE_NS), 1, _LOOK_MAX)
        for turn in np.unique(turns[reserved < credit]).tolist():
            self._look_again(key_ids[(reserved < credit) & (turns == turn)], turn)
        self._look_again(key_ids[reserved > credit], _LOOK_HOLDING)

    def fail(self, asks: list[Ask]) -> None:
        """No answer: ask again."""
        self._late = np.append(self._late, np.array([ask.key_id for ask in asks], dtype=np.int64))

    def expire(self, nodes: int) -> None:
        """So long without an answer that what was reserved is not any more: give no more than the credit of it."""
        key_ids = np.unique(np.append(np.flatnonzero(self._waits), self._late))
        rows = np.zeros((key_ids.size, len(COUNTS)), dtype=np.int64)
        read_counts(self._keys, self._limits, key_ids, self._terms, rows)
        credit = credits_of(nodes, _intervals_ns(rows[:, COUNTS.index("rate")]), rows[:, COUNTS.index("burst")])
        at = np.flatnonzero(rows[:, 2] > rows[:, 0] + credit)
        self._ceilings[key_ids[at]] = (rows[:, 0] + credit)[at].astype(np.uint64)

    def _due(self) -> Column:
        """Keys that were counted since the last turn, and those whose turn it is."""
        count = take_moved(self._limits, self._moved)
        self.moved_ids = self._moved[:count].copy()
        turned, self._wheel[self._at] = self._wheel[self._at], []
        self._at = (self._at + 1) % _WHEEL
        for key_ids in turned:
            self._waits[key_ids] = False
        late, self._late = self._late, self._late[:0]
        if not turned and late.size == 0:
            return self.moved_ids
        due = np.concatenate([late, *turned])
        self._is_due[due] = True
        return np.unique(np.append(due, self.moved_ids))

    def _look_again(self, key_ids: Column, turns: int) -> None:
        """Look at these when so many turns have passed, each once."""
        key_ids = key_ids[~self._waits[key_ids]]
        if key_ids.size:
            self._waits[key_ids] = True
            self._wheel[(self._at + turns) % _WHEEL].append(key_ids)

    def _begin_anew(self, key_ids: Column) -> None:
        """Other keys have these ids now, or they were never asked about."""
        for values in (self._acknowledged, self._events, self._demand, self._fair, self._tat_us):
            values[key_ids] = 0


def _intervals_ns(rates: Column) -> Column:
    """As gcra.interval_of, of many."""
    requests = np.maximum(rates & REQUESTS_MASK, 1)
    intervals_ns: Column = (NS_PER_SECOND * ((rates >> SECONDS_SHIFT) + 1) + requests - 1) // requests
    return intervals_ns


def credits_of(nodes: int, intervals_ns: Column, bursts: Column) -> Column:
    """As limit_table.credit_of, of many."""
    in_window = CREDIT_WINDOW_NS // intervals_ns + bursts
    return in_window if nodes <= 1 else np.maximum(in_window // (CREDIT_PARTS * (nodes - 1)), 1)
