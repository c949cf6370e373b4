"""What the database said last, in this process's memory: finds what changed, and what a key is granted now.

Rules: pure but for its own state; time is an argument. A key stands at the index of its id; ids beyond `keys_max` have
no room and are counted, never half taken. What a key is granted is its own limit, else its plan's; past its end it is
revoked, whether or not the database is there to say so.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.rates import RATE_BITS, REQUESTS_MASK
from workers.access.rows import ABSENT, END_NEVER, KEY_DTYPE, KEY_WORDS, NULL, REVOKED, BlockRow, PlanRow, Rows

Ids = NDArray[np.int64]
Numbers = NDArray[np.int64]

# A plan that is not known (yet): nothing is granted beyond one request a second until it is.
_UNKNOWN_PLAN = PlanRow(0, 1, 1, 0, False)


class Grants(NamedTuple):
    """What shared memory is to hold for the keys `ids`."""

    ids: Ids
    digests: NDArray[np.uint8]
    states: Numbers
    rates: Numbers
    bursts: Numbers
    monthly_quotas: Numbers
    dry_runs: NDArray[np.bool_]
    admission_classes: Numbers


class AccessCache:
    """Keys, plans and blocks of one database."""

    def __init__(self, keys_max: int) -> None:
        self.keys_max = keys_max
        self.plans: dict[int, PlanRow] = {}
        self.blocks: tuple[BlockRow, ...] = ()
        self._keys = np.zeros(keys_max + 1, dtype=KEY_DTYPE)
        self._words = self._keys.view(np.uint64).reshape(-1, KEY_WORDS)
        self._seen = np.zeros(keys_max + 1, dtype=np.bool_)
        self._next_end_us = END_NEVER
        self._beyond: set[int] = set()

    @property
    def keys_beyond(self) -> int:
        """Keys of the database that have no room here."""
        return len(self._beyond)

    @property
    def key_count(self) -> int:
        return int(np.count_nonzero(self._keys["state"]))

    @property
    def next_end_us(self) -> int:
        """When a key ends, at the earliest; END_NEVER when none will."""
        return self._next_end_us

    def ids(self) -> Ids:
        """The ids of all keys."""
        return np.flatnonzero(self._keys["state"])

    def rows(self, first: int, count: int) -> Rows:
        """A copy of the keys among `count` ids from `first` on."""
        part = self._keys[first : first + count]
        rows: Rows = part[part["state"] != ABSENT]
        return rows

    def put_keys(self, rows: Rows) -> Ids:
        """Take over rows; the ids of those that are new or differ."""
        assert rows.dtype == KEY_DTYPE, "the byte order counts: rows are compared as words"
        ids = rows["id"].astype(np.int64)
        has_room = (ids > 0) & (ids <= self.keys_max)
        if not has_room.all():
            self._beyond.update(ids[~has_room].tolist())
            rows, ids = rows[has_room], ids[has_room]
        words = rows.view(np.uint64).reshape(-1, KEY_WORDS)
        differs = (words != self._words[ids]).any(axis=1)
        changed: Ids = ids[differs]
        self._words[changed] = words[differs]
        self._seen[ids] = True
        ends = rows["ends_at_us"][differs]
        if len(ends):
            self._next_end_us = min(self._next_end_us, int(ends.min()))
        return changed

    def reused(self, rows: Rows, every_key_is_known: bool) -> Ids:
        """The ids under which another key stood, or may have stood: what was counted for it is not the new one's.

        A database that was restored from an older state gives the same numbers again.
        """
        rows = rows[(rows["id"] > 0) & (rows["id"] <= self.keys_max)]
        ids = rows["id"].astype(np.int64)
        known = self._keys["digest"][ids]
        is_other = (known != rows["digest"]).any(axis=1)
        reused: Ids = ids[is_other & (known.any(axis=1) | every_key_is_known)]
        return reused

    def begin_comparison(self) -> None:
        """From now on remember which keys are seen."""
        self._seen[:] = False
        self._beyond.clear()

    def end_comparison(self) -> Ids:
        """Forget the keys that were not seen since the beginning; their ids."""
        gone: Ids = np.flatnonzero((self._keys["state"] != ABSENT) & ~self._seen)
        self._keys["state"][gone] = ABSENT  # the rest stays: shared memory is told of a key by its digest
        return gone

    def put_plans(self, plans: Iterable[PlanRow]) -> Ids:
        """Take over all plans; the ids of the keys whose plan is new, differs or is gone."""
        old, self.plans = self.plans, {plan.id: plan for plan in plans}
        touched = [number for number in old.keys() | self.plans.keys() if old.get(number) != self.plans.get(number)]
        if not touched:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(np.isin(self._keys["plan_id"], touched) & (self._keys["state"] != ABSENT))

    def ended(self, now_us: int) -> Ids:
        """The ids of keys whose end has come since the last call; cheap while there are none."""
        if now_us < self._next_end_us:
            return np.zeros(0, dtype=np.int64)
        ends = self._keys["ends_at_us"]
        is_over = (self._keys["state"] != ABSENT) & (ends >= self._next_end_us) & (ends <= now_us)
        later = ends[(self._keys["state"] != ABSENT) & (ends > now_us)]
        self._next_end_us = int(later.min()) if len(later) else END_NEVER
        return np.flatnonzero(is_over)

    def review_ends(self, now_us: int) -> Ids:
        """The ids of all keys with an end, which is looked for anew: a clock that was ahead for a while ended some."""
        has_end = (self._keys["state"] != ABSENT) & (self._keys["ends_at_us"] != END_NEVER)
        ends = self._keys["ends_at_us"][has_end]
        self._next_end_us = int(ends[ends > now_us].min(initial=END_NEVER))
        return np.flatnonzero(has_end)

    def grants(self, ids: Ids, now_us: int) -> Grants:
        """What the keys `ids` are granted at `now_us`; a key that is gone is revoked."""
        rows = self._keys[ids]
        states = rows["state"].astype(np.int64)
        states[(states == ABSENT) | (rows["ends_at_us"] <= now_us)] = REVOKED
        # 32 bits: the column shows those of more than half an hour as negative.
        rates, bursts = self._limits(rows, "rate") & RATE_BITS, self._limits(rows, "burst")
        return Grants(
            ids=ids,
            digests=rows["digest"],
            states=states,
            rates=rates,
            # A rate of its own under a plan that has neither: with a burst of 0 nothing would ever be admitted.
            bursts=np.where(bursts == 0, rates & REQUESTS_MASK, bursts),
            monthly_quotas=self._limits(rows, "monthly_quota"),
            dry_runs=self._of_plans(rows, "dry_run").astype(np.bool_),
            admission_classes=self._of_plans(rows, "admission_class"),
        )

    def _limits(self, rows: Rows, field: str) -> Numbers:
        own = rows[field].astype(np.int64)
        return np.where(own == NULL, self._of_plans(rows, field), own)

    def _of_plans(self, rows: Rows, field: str) -> Numbers:
        """The field of each row's plan."""
        highest = max(self.plans, default=0)
        values = np.full(highest + 2, int(getattr(_UNKNOWN_PLAN, field)), dtype=np.int64)
        for number, plan in self.plans.items():
            values[number] = int(getattr(plan, field))
        return values[np.minimum(rows["plan_id"].astype(np.int64), highest + 1)]
