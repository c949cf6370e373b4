"""Compile what Python calls of the access tables, the gate and the usage ring, or load it, by calling each once.

The callers are the process that writes keys, the reports, which ask for each of their callers, and the benchmarks; in
the request loop all of this is woven in. It stands here because it needs what is installed first and no more
(trinity/node/compiling.py).
"""

import numpy as np

from trinity.access.charge import charge
from trinity.access.gate import COUNTED_WORDS, admit_known, make_gate, turn_month
from trinity.access.limit_headers import (
    LIMIT_HEADERS_BYTES_MAX,
    append_limit_headers,
    append_limits_left,
    retry_after_ms,
)
from trinity.access.months import find_month, start_of_month
from trinity.config import AccessSection
from trinity.memory.access import AccessMemory
from trinity.memory.block_table import is_blocked
from trinity.memory.key_table import DIGEST_BYTES, DIGEST_WORDS, TERMS_SLOT_WORDS, KeyTable, find_key
from trinity.memory.usage_ring import append_record, private_ring
from trinity.native.addresses import address_words
from trinity.vocabulary import CODE_OK, KeyState


def warm_up() -> None:
    """The supervisor does it once, before it forks."""
    _write_keys()
    _ask()


def _write_keys() -> None:
    keys = KeyTable.private(1)
    keys.write(1, bytes(DIGEST_BYTES), KeyState.ACTIVE, 1, 1, 1, dry_run=False)
    keys.revoke_others(np.zeros(0, dtype=np.int64))


def _ask() -> None:
    tables, counters = AccessMemory.private(), np.zeros(COUNTED_WORDS, dtype=np.uint64)
    is_blocked(tables.blocks.words, address_words("::"))
    find_key(tables.keys.words, np.zeros(DIGEST_WORDS, dtype=np.uint64), np.zeros(TERMS_SLOT_WORDS, dtype=np.uint64))
    gate = make_gate(tables.keys, tables.limits, tables.addresses, tables.blocks, counters, AccessSection())
    turn_month(gate, 0, 0)
    start_of_month(find_month(0, 0))
    admit_known(gate, 0, address_words("::"), False, 0)
    charge(gate, 1, 0)
    retry_after_ms(gate, CODE_OK)
    out = np.zeros(LIMIT_HEADERS_BYTES_MAX, dtype=np.uint8)
    append_limit_headers(gate, CODE_OK, out, 0)
    append_limits_left(gate, 0, out, 0)
    append_record(private_ring(0, 1), 0, address_words("::"), np.zeros(2, dtype=np.uint64), *(0,) * 7)
