"""trinity/access/miss_budget.py"""

import numpy as np
import pytest

from trinity.access.gate import COUNTED_WORDS, KEY_ID, Gate, make_gate
from trinity.access.miss_budget import caller_hash, take_new_name
from trinity.compiled import refer_to
from trinity.config import AccessSection
from trinity.limits import NEW_NAMES_BURST, NEW_NAMES_PER_SECOND
from trinity.memory.access import AccessMemory
from trinity.native.addresses import address_words

pytestmark = pytest.mark.uncompiled

NOW = 10**15


def gate_of(tables: AccessMemory) -> Gate:
    counters = np.zeros(COUNTED_WORDS, dtype=np.uint64)
    return make_gate(tables.keys, tables.limits, tables.addresses, tables.blocks, counters, AccessSection())


def who(gate: Gate, address: str = "203.0.113.9", key_id: int = 0) -> np.uint64:
    """Unsigned as in the request loop: half of all hashes fit no signed number."""
    gate.result[KEY_ID] = key_id
    return np.uint64(caller_hash(refer_to(gate), address_words(address), np.zeros(2, dtype=np.uint64)))


def test_a_caller_is_its_key_or_its_network() -> None:
    """A key wherever it asks from; without one an IPv4 address, or a network of 64 bits."""
    gate = gate_of(AccessMemory.private())
    assert who(gate, "203.0.113.9", 7) == who(gate, "2001:db8::1", 7) != who(gate, "203.0.113.9", 8)
    assert who(gate, "203.0.113.9") != who(gate, "203.0.113.10")
    assert who(gate, "2001:db8::1") == who(gate, "2001:db8::ffff:1") != who(gate, "2001:db8:0:1::1")
    assert len({who(gate, key_id=7), who(gate), who(gate, "::7")}) == 3


def test_the_budget_is_one_of_all_workers() -> None:
    """So many names at once over all who share the table, then so many a second; it says when there is one again."""
    tables = AccessMemory.private()
    gates = gate_of(tables), gate_of(tables)
    caller = who(gates[0], key_id=7)
    waits = [int(take_new_name(refer_to(gates[i % 2]), caller, NOW)) for i in range(NEW_NAMES_BURST + 2)]
    assert waits == [0] * NEW_NAMES_BURST + [1000 // NEW_NAMES_PER_SECOND] * 2
    assert take_new_name(refer_to(gates[0]), caller, NOW + 10**9 // NEW_NAMES_PER_SECOND) == 0
    assert take_new_name(refer_to(gates[1]), who(gates[1], key_id=8), NOW) == 0
