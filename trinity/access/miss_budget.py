"""How many assets outside the catalog one caller may have looked for on the exchanges. Compiled.

Rules: a budget is a rate of its own (GCRA) beside that of requests, in the table of addresses: it is taken under the
hash of the key's id, or of the address where there is no key, and so holds for all workers of the node and for the
reporting service. Only a name that nobody looks for yet costs something. Nothing is given back.
"""

import numpy as np

from trinity.access.gate import KEY_ID, Gate
from trinity.clock import NS_PER_MS
from trinity.compiled import compiled
from trinity.limits import IPV6_PREFIX_BITS_MAX, NEW_NAMES_BURST, NEW_NAMES_PER_SECOND
from trinity.memory.address_table import consume_address
from trinity.memory.atomics import Words, unsigned
from trinity.memory.gcra import RETRY_NS
from trinity.native.siphash import siphash_64

_0 = np.uint64(0)
_ADDRESS_BYTES, _NETWORK_BYTES = 16, IPV6_PREFIX_BITS_MAX // 8
_MAPPED_MASK, _MAPPED = np.uint64(0xFFFF_FFFF), np.uint64(0xFFFF_0000)  # bytes 8 to 11 are 00 00 ff ff: IPv4
# A caller's hash, changed so, names another cell than that of their requests.
_NEW_NAMES, _OF_KEY = np.uint64(0x3333_3333_3333_3333), np.uint64(0x6666_6666_6666_6666)


@compiled
def caller_hash(gate: Gate, address: Words, scratch: Words) -> int:
    """64 bits that stand for who was let in last: the key, or the address (IPv6: its network of 64 bits)."""
    if gate.result[KEY_ID] > 0:
        scratch[0], scratch[1] = unsigned(gate.result[KEY_ID]), _0
        return unsigned(unsigned(siphash_64(gate.addresses, 0, scratch, _ADDRESS_BYTES)) ^ _OF_KEY)
    mapped = address[0] == _0 and address[1] & _MAPPED_MASK == _MAPPED
    hashed = siphash_64(gate.addresses, 0, address, _ADDRESS_BYTES if mapped else _NETWORK_BYTES)
    return unsigned(unsigned(hashed) ^ _NEW_NAMES)


@compiled
def take_new_name(gate: Gate, caller: int, now_ns: int) -> int:
    """Take one name of the caller's budget: 0, or after how many milliseconds there is one again."""
    found = gate.own["found"]
    if consume_address(gate.addresses, caller, now_ns, NEW_NAMES_PER_SECOND, NEW_NAMES_BURST, found):
        return 0
    wait_ms: int = (found[RETRY_NS] + NS_PER_MS - 1) // NS_PER_MS
    return max(1, wait_ms)
