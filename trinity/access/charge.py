"""What an answer costs the month of a caller whom the gate has just let in. Compiled.

    code = charge(gate, lookups, now_ns)     once the answer is known, before it is sent: its prices, or MISTAKE

Rules: whoever is killed between the two has answered nobody and taken nothing; nothing is ever given back. An answer
that the month has no room for is refused whole. A MISTAKE of the caller (400, 404) costs nothing up to
MISTAKES_PER_MINUTE, counted by key in the whole node, and then as much as a price. A plan's dry run is counted alone.
In a cluster, lookups without a quota are counted as well: `usage:counter:<key>` is of every key.
"""

import numpy as np

from trinity.access.gate import (
    COST,
    IS_FREE,
    KEY_ID,
    MISSING_KEY,
    MONTHLY_QUOTA,
    OVERRUN,
    QUOTA_DRY_RUN,
    QUOTA_EXCEEDED,
    QUOTA_LEFT,
    Gate,
    refuse_month,
)
from trinity.compiled import compiled, compiled_inline
from trinity.memory.atomics import signed
from trinity.memory.key_table import DRY_RUN_BIT, FLAGS
from trinity.memory.limit_table import count_lookups, forgive_mistake, is_shared, quota_left, take_lookups
from trinity.vocabulary import CODE_OK

# Said instead of a number of prices: the answer tells the caller what it did wrong.
MISTAKE = -1

_1 = np.uint64(1)


@compiled_inline
def charge(gate: Gate, lookups: int, now_ns: int) -> int:
    """CODE_OK when the month has room for this answer, else QUOTA_EXCEEDED: it is not to be sent."""
    gate.result[COST] = lookups
    if lookups == 0 or gate.result[MONTHLY_QUOTA] == 0 or gate.result[OVERRUN] != 0:
        if lookups > 0 and gate.result[KEY_ID] != 0 and gate.result[IS_FREE] == 0 and is_shared(gate.limits):
            count_lookups(gate.limits, gate.result[KEY_ID], gate.own["month"], lookups)
        return CODE_OK
    return _charge(gate, lookups, now_ns)


@compiled
def _charge(gate: Gate, lookups: int, now_ns: int) -> int:
    result, key_id, quota = gate.result, gate.result[KEY_ID], gate.result[MONTHLY_QUOTA]
    if lookups == MISTAKE:
        if forgive_mistake(gate.limits, key_id, now_ns):
            return CODE_OK
        lookups = 1
    left = take_lookups(gate.limits, key_id, gate.own["month"], quota, lookups)
    if left >= 0:
        result[QUOTA_LEFT] = left
        return CODE_OK
    result[QUOTA_LEFT] = quota_left(gate.limits, key_id, gate.own["month"], quota)
    if signed(gate.own["terms"][FLAGS]) & DRY_RUN_BIT != 0:
        gate.counters[QUOTA_DRY_RUN] += _1
        result[OVERRUN] = QUOTA_EXCEEDED
        return CODE_OK
    gate.counters[QUOTA_EXCEEDED - MISSING_KEY] += _1
    return refuse_month(gate, now_ns)
