"""Whether this request may be answered: the gate's word for both protocols, and where it counts.

Compiled. Rules: a blocked address is told so whatever it sends, also where no key is needed; everything else that
needs no key is not asked for one. An empty key is no key. The key id of a refused key stands in its usage record.
"""

import numpy as np

from trinity.access.gate import (
    ADDRESS_BLOCKED,
    COUNTED_WORDS,
    KEY_ID,
    MISSING_KEY,
    Gate,
    admit,
)
from trinity.compiled import compiled_inline
from trinity.memory.atomics import Words
from trinity.memory.block_table import is_blocked
from trinity.native.octets import Octets
from trinity.observe.metrics import REQUEST
from trinity.vocabulary import ACCESS_REFUSALS, HTTP, LIMIT_REFUSALS
from workers.request.forwarded import ADDRESS, Caller
from workers.request.ledger import TALLY_KEY, TALLY_PROTOCOL, UsageRecorder

_GATE_WORDS = [
    *(REQUEST.index("access_refusals_total", code) for code in ACCESS_REFUSALS),
    *(REQUEST.index("limit_dry_run_total", code) for code in LIMIT_REFUSALS),
]
assert list(range(_GATE_WORDS[0], _GATE_WORDS[0] + COUNTED_WORDS)) == _GATE_WORDS, "the gate counts in one row of words"


def gate_counters(counters: Words) -> Words:
    """Those of a worker's counters (metrics.REQUEST) that its gate counts in."""
    return counters[_GATE_WORDS[0] : _GATE_WORDS[0] + COUNTED_WORDS]


@compiled_inline
def is_barred(gate: Gate, caller: Caller) -> bool:
    """Whether who asks is blocked, where nothing else is asked of them; counted as a refusal."""
    barred = is_blocked(gate.blocks, caller.words[ADDRESS : ADDRESS + 2])
    if barred:
        gate.counters[ADDRESS_BLOCKED - MISSING_KEY] += np.uint64(1)
    return barred


@compiled_inline
def admit_caller(
    gate: Gate,
    ledger: UsageRecorder,
    caller: Caller,
    buffer: Octets,
    key_start: int,
    key_end: int,
    is_free: bool,
    now_ns: int,
) -> int:
    """CODE_OK, or the index in vocabulary.CODES of why not."""
    over_udp = ledger.tally[TALLY_PROTOCOL] != HTTP
    code = admit(gate, buffer, key_start, key_end, caller.words[ADDRESS : ADDRESS + 2], over_udp, is_free, now_ns)
    ledger.tally[TALLY_KEY] = gate.result[KEY_ID]
    return code
