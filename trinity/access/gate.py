"""The gate: who may ask, decided in shared memory for each request. Compiled.

    code = admit(gate, buffer, key_start, key_end, address, over_udp, is_free, now_ns)
    code = admit_known(gate, key_id, address, is_free, now_ns)         for who was recognised elsewhere
        CODE_OK, or why not (index of vocabulary.CODES)
    gate.result[KEY_ID], [RETRY_AFTER_MS], [RATE] ...                  what the answer's headers and the ledger say

`address` is two words of raw bytes in network order, IPv4 mapped into IPv6; `buffer[key_start:key_end]` is the key as
it was sent, nothing when none was. Once a second the worker calls `turn_month`. In order:

    blocked address       address_blocked
    keys not loaded yet   keys_unavailable     when there is a key, or one is required
    no key                missing_key, or the limit of the address where keys are optional
    unknown key           invalid_key
    a key's state         key_revoked, key_suspended
    a key's limits        quota_exceeded, then rate_limited; a plan's dry run counts them and lets go on

Rules: a key is proved once by its SHA-256, compared over all bytes; from then on this worker recognises it by a
128-bit SipHash under a secret of its own. Only proved keys are remembered, in bounded memory, so guesses push nobody
out. What a key may do is read from shared memory each time. A refusal takes nothing: a spent month costs no rate.
A rate counts requests, a month prices that were given: `admit` takes the request, before anything is parsed, and looks
whether the month has anything left; charge.py takes the prices when the answer is known. What costs no month (costs.py)
has a rate of its own, FREE_RATE, for every key that has any limit, and is not asked for its month.
"""

import os
from typing import NamedTuple

import numpy as np

from trinity.access.months import find_month, start_of_month
from trinity.clock import NS_PER_MS
from trinity.compiled import compiled, compiled_inline
from trinity.config import AccessSection
from trinity.limits import API_KEY_BYTES_MAX, FREE_BURST, IPV6_PREFIX_BITS_MAX, KEYS_RETRY_MS, RECOGNISED_KEYS_MAX
from trinity.memory.address_table import AddressTable, consume_address
from trinity.memory.atomics import Words, signed, unsigned
from trinity.memory.block_table import BlockTable, is_blocked
from trinity.memory.gcra import FOUND_WORDS, REMAINING, RETRY_NS
from trinity.memory.key_table import (
    BURST_SHIFT,
    CLASS_MASK,
    CLASS_SHIFT,
    DRY_RUN_BIT,
    FLAGS,
    GENERATION_SHIFT,
    PACE,
    QUOTA,
    STATE_MASK,
    TERMS_SLOT_WORDS,
    KeyTable,
    find_key,
    has_room,
    is_loaded,
    read_terms,
)
from trinity.memory.limit_table import (
    LimitTable,
    consume_free_rate,
    consume_key_rate,
    quota_left,
)
from trinity.native.octets import Integers, Octets, append_slice
from trinity.native.sha256 import DIGEST_WORDS, SCHEDULE_WORDS, sha256
from trinity.native.siphash import siphash_64, siphash_128
from trinity.rates import RATE_BITS, REQUESTS_MASK, SECONDS_SHIFT
from trinity.vocabulary import ACCESS_REFUSALS, CODE_OK, CODES, LIMIT_REFUSALS, KeyState

(
    MISSING_KEY,
    INVALID_KEY,
    KEY_REVOKED,
    KEY_SUSPENDED,
    ADDRESS_BLOCKED,
    RATE_LIMITED,
    QUOTA_EXCEEDED,
    KEYS_UNAVAILABLE,
) = (CODES.index(code) for code in ACCESS_REFUSALS)

# Words of Gate.counters: a refusal's is its distance from MISSING_KEY, dry runs follow in the order of LIMIT_REFUSALS.
_RATE_DRY_RUN, QUOTA_DRY_RUN = (
    len(ACCESS_REFUSALS) + LIMIT_REFUSALS.index(CODES[code]) for code in (RATE_LIMITED, QUOTA_EXCEEDED)
)
COUNTED_WORDS = len(ACCESS_REFUSALS) + len(LIMIT_REFUSALS)

# Words of Gate.result, all zero before each request.
(
    KEY_ID,  # 0 without a key, and for one that is not known
    RETRY_AFTER_MS,  # of a refusal that time ends
    RATE,  # requests in RATE_SECONDS; 0: there is no limit, and the next three say nothing
    RATE_SECONDS,
    BURST,
    LEFT,  # requests left at once
    MONTHLY_QUOTA,  # 0: there is none, and the next says nothing
    QUOTA_LEFT,
    COST,  # of the answer that was charged last: prices, or MISTAKE
    OVERRUN,  # the refusal that a dry run did not make; 0: none
    IS_FREE,  # 1: it costs no month, and RATE to LEFT are of the rate for that
    ADMISSION_CLASS,  # of the key's plan
    RESULT_WORDS,
) = range(13)

# What a worker keeps for its gate alone. A record and not arrays: compiled code then passes one pointer.
OWN_DTYPE = np.dtype(
    [
        ("secret", np.uint64, 2),  # of the tags of proved keys
        ("set_mask", np.uint64),  # number of sets less one
        ("required", np.int64),  # 1: nobody without a key
        ("anonymous_rate", np.int64),
        ("free_rate", np.int64),
        ("tells_limits", np.int64),  # 1: good answers as well
        ("month", np.int64),  # since the year 0
        ("month_end_ns", np.int64),  # monotonic
        ("text", np.uint8, API_KEY_BYTES_MAX),  # scratch from here on: the key where words can be read,
        ("digest", np.uint64, DIGEST_WORDS),
        ("tag", np.uint64, 2),
        ("terms", np.uint64, TERMS_SLOT_WORDS),
        ("found", np.int64, FOUND_WORDS),
        ("schedule", np.int64, SCHEDULE_WORDS),
    ],
    align=True,
)

# Gate.recognised: sets of four entries: two words of tag, id and generation, and in the first entry of a set the place
# of its next newcomer.
_WAYS, _ENTRY_WORDS = 4, 4
_SET_WORDS = _WAYS * _ENTRY_WORDS
_NEXT = 3

_0, _1 = np.uint64(0), np.uint64(1)
# An address's hash, changed so, names another cell.
_OVER_UDP, _FREE = np.uint64(2**64 - 1), np.uint64(0x5555_5555_5555_5555)
_SUSPENDED, _REVOKED = int(KeyState.SUSPENDED), int(KeyState.REVOKED)
_ADDRESS_BYTES, _NETWORK_BYTES = 16, IPV6_PREFIX_BITS_MAX // 8
_KEY_ID_MASK = (1 << GENERATION_SHIFT) - 1
_MAPPED_MASK, _MAPPED = np.uint64(0xFFFF_FFFF), np.uint64(0xFFFF_0000)  # bytes 8 to 11 are 00 00 ff ff: IPv4


class Gate(NamedTuple):
    """All that `admit` touches; `result` is what the caller reads."""

    keys: Words
    limits: Words
    addresses: Words
    blocks: Words
    counters: Words
    recognised: Words
    own: np.void  # OWN_DTYPE
    result: Integers


def make_gate(
    keys: KeyTable,
    limits: LimitTable,
    addresses: AddressTable,
    blocks: BlockTable,
    counters: Words,
    section: AccessSection,
    remembered: int = RECOGNISED_KEYS_MAX,
) -> Gate:
    """The gate of one worker; it counts in the COUNTED_WORDS words of `counters`, in the order of vocabulary.py.

    It remembers so many keys, a power of two from 4 on.
    """
    own: np.void = np.zeros(1, dtype=OWN_DTYPE)[0]
    own["secret"] = np.frombuffer(os.urandom(16), dtype=np.uint64)
    own["set_mask"] = remembered // _WAYS - 1
    own["required"] = section.auth == "required"
    own["anonymous_rate"] = section.anonymous_rate
    own["free_rate"] = section.free_rate
    own["tells_limits"] = section.rate_limit_headers
    return Gate(
        keys=keys.words,
        limits=limits.words,
        addresses=addresses.words,
        blocks=blocks.words,
        counters=counters,
        recognised=np.zeros(remembered * _ENTRY_WORDS, dtype=np.uint64),
        own=own,
        result=np.zeros(RESULT_WORDS, dtype=np.int64),
    )


@compiled
def turn_month(gate: Gate, wall_ns: int, now_ns: int) -> None:
    """Say which month it is (UTC): its quotas are in force, and end when the next one begins."""
    gate.own["month"] = find_month(gate.own["month"], wall_ns)
    gate.own["month_end_ns"] = now_ns + start_of_month(gate.own["month"] + 1) - wall_ns


@compiled
def admit(
    gate: Gate,
    buffer: Octets,
    key_start: int,
    key_end: int,
    address: Words,
    over_udp: bool,
    is_free: bool,
    now_ns: int,
) -> int:
    """CODE_OK when this caller may ask now, else the code of the refusal; the details are in `gate.result`."""
    for i in range(RESULT_WORDS):
        gate.result[i] = 0
    if is_blocked(gate.blocks, address):
        code = ADDRESS_BLOCKED
    elif key_end <= key_start and gate.own["required"] == 0:
        code = _admit_address(gate, address, over_udp, is_free, now_ns)
    elif not is_loaded(gate.keys):
        gate.result[RETRY_AFTER_MS] = KEYS_RETRY_MS
        code = KEYS_UNAVAILABLE
    elif key_end <= key_start:
        code = MISSING_KEY
    else:
        code = _admit_key(gate, buffer, key_start, key_end, is_free, now_ns)
    if code != CODE_OK:
        gate.counters[code - MISSING_KEY] += _1
    return code


@compiled
def admit_known(gate: Gate, key_id: int, address: Words, is_free: bool, now_ns: int) -> int:
    """As `admit`, for a key that was proved elsewhere, and with the id 0 for an address; blocks are not looked at.

    Counts dry runs alone. A key that is not in shared memory yet is asked to come again.
    """
    for i in range(RESULT_WORDS):
        gate.result[i] = 0
    if key_id == 0:
        return _admit_address(gate, address, False, is_free, now_ns)
    if not has_room(gate.keys, key_id) or not read_terms(gate.keys, key_id, gate.own["terms"]):
        gate.result[RETRY_AFTER_MS] = KEYS_RETRY_MS
        return KEYS_UNAVAILABLE
    return _admit_terms(gate, key_id, is_free, now_ns)


# --- callers without a key ------------------------------------------------------------------------------------


@compiled_inline
def _admit_address(gate: Gate, address: Words, over_udp: bool, is_free: bool, now_ns: int) -> int:
    """The limit of an IPv4 address or an IPv6 network of 64 bits; its burst are the requests of its rate.

    Datagrams have a limit of their own: their sender can be forged, and must not use up what a connection may ask. So
    has what costs no month, where addresses have a limit at all.
    """
    rate, burst, other_cell = gate.own["anonymous_rate"], gate.own["anonymous_rate"] & REQUESTS_MASK, _0
    if over_udp:
        other_cell = _OVER_UDP
    elif is_free and rate != 0:
        rate, burst, other_cell = gate.own["free_rate"], FREE_BURST, _FREE
        gate.result[IS_FREE] = 1
    if rate == 0:
        return CODE_OK
    mapped = address[0] == _0 and address[1] & _MAPPED_MASK == _MAPPED
    hashed = siphash_64(gate.addresses, 0, address, _ADDRESS_BYTES if mapped else _NETWORK_BYTES)
    hashed = unsigned(unsigned(hashed) ^ other_cell)
    admitted = consume_address(gate.addresses, hashed, now_ns, rate, burst, gate.own["found"])
    _tell_rate(gate, rate, burst)
    _tell_remaining(gate)
    return CODE_OK if admitted else RATE_LIMITED


# --- callers with a key ---------------------------------------------------------------------------------------


@compiled_inline
def _admit_key(gate: Gate, buffer: Octets, key_start: int, key_end: int, is_free: bool, now_ns: int) -> int:
    length = key_end - key_start
    if length > API_KEY_BYTES_MAX:
        return INVALID_KEY
    own = gate.own
    append_slice(buffer, key_start, length, own["text"], 0)
    siphash_128(own["secret"], 0, own["text"].view(np.uint64), length, own["tag"])
    key_id = _recognise(gate)
    if key_id == 0:
        sha256(buffer, key_start, key_end, own["schedule"], own["digest"])
        key_id = find_key(gate.keys, own["digest"], own["terms"])
        if key_id == 0:
            return INVALID_KEY
        _remember(gate, key_id)
    return _admit_terms(gate, key_id, is_free, now_ns)


@compiled_inline
def _admit_terms(gate: Gate, key_id: int, is_free: bool, now_ns: int) -> int:
    """What a key's terms say, which were just read."""
    gate.result[KEY_ID] = key_id
    flags = signed(gate.own["terms"][FLAGS])
    gate.result[ADMISSION_CLASS] = flags >> CLASS_SHIFT & CLASS_MASK
    state = flags & STATE_MASK
    if state == _REVOKED:
        return KEY_REVOKED
    if state == _SUSPENDED:
        return KEY_SUSPENDED
    code = _take_free(gate, key_id, now_ns) if is_free else _take_limits(gate, key_id, now_ns)
    if code != CODE_OK and flags & DRY_RUN_BIT != 0:
        gate.counters[_RATE_DRY_RUN if code == RATE_LIMITED else QUOTA_DRY_RUN] += _1
        gate.result[RETRY_AFTER_MS] = 0
        gate.result[OVERRUN] = code
        return CODE_OK
    return code


@compiled_inline
def _recognise(gate: Gate) -> int:
    """Id of the key with this tag, its terms read; 0 when this worker must see a proof (again)."""
    recognised, tag = gate.recognised, gate.own["tag"]
    at = signed(tag[0] & gate.own["set_mask"]) * _SET_WORDS
    for way in range(_WAYS):
        entry = at + way * _ENTRY_WORDS
        if (recognised[entry] ^ tag[0]) | (recognised[entry + 1] ^ tag[1]) == _0:
            known = signed(recognised[entry + 2])
            key_id = known & _KEY_ID_MASK
            if key_id != 0 and read_terms(gate.keys, key_id, gate.own["terms"]):
                generation = signed(gate.own["terms"][FLAGS]) >> GENERATION_SHIFT
                if generation == known >> GENERATION_SHIFT:
                    return key_id
    return 0


@compiled_inline
def _remember(gate: Gate, key_id: int) -> None:
    """Keep a proved key under its tag, in the place of the one that came first of its set."""
    recognised, tag = gate.recognised, gate.own["tag"]
    at = signed(tag[0] & gate.own["set_mask"]) * _SET_WORDS
    way = signed(recognised[at + _NEXT])
    entry = at + way * _ENTRY_WORDS
    recognised[entry], recognised[entry + 1] = tag[0], tag[1]
    generation = signed(gate.own["terms"][FLAGS]) >> GENERATION_SHIFT
    recognised[entry + 2] = unsigned(key_id | generation << GENERATION_SHIFT)
    recognised[at + _NEXT] = unsigned((way + 1) % _WAYS)


@compiled_inline
def _take_limits(gate: Gate, key_id: int, now_ns: int) -> int:
    """One request from the rate, where the month has something left; what it costs the month is known later."""
    result, pace = gate.result, signed(gate.own["terms"][PACE])
    rate, burst = pace & RATE_BITS, pace >> BURST_SHIFT
    quota = signed(gate.own["terms"][QUOTA])
    result[MONTHLY_QUOTA] = quota
    _tell_rate(gate, rate, burst)
    if quota > 0:
        result[QUOTA_LEFT] = quota_left(gate.limits, key_id, gate.own["month"], quota)
        if result[QUOTA_LEFT] == 0:
            return refuse_month(gate, now_ns)
    if result[RATE] > 0:
        admitted = consume_key_rate(gate.limits, key_id, now_ns, rate, burst, gate.own["found"])
        _tell_remaining(gate)
        if not admitted:
            return RATE_LIMITED
    return CODE_OK


@compiled
def _take_free(gate: Gate, key_id: int, now_ns: int) -> int:
    """One call of the rate for what costs no month; whoever has no limit at all has none here."""
    rate, terms = gate.own["free_rate"], gate.own["terms"]
    gate.result[IS_FREE] = 1
    if rate == 0 or (signed(terms[PACE]) & RATE_BITS == 0 and signed(terms[QUOTA]) == 0):
        return CODE_OK
    admitted = consume_free_rate(gate.limits, key_id, now_ns, rate, FREE_BURST, gate.own["found"])
    _tell_rate(gate, rate, FREE_BURST)
    _tell_remaining(gate)
    return CODE_OK if admitted else RATE_LIMITED


@compiled
def refuse_month(gate: Gate, now_ns: int) -> int:
    """The refusal of a spent month, which ends with it."""
    gate.result[RETRY_AFTER_MS] = _whole_ms(max(gate.own["month_end_ns"] - now_ns, 0))
    return QUOTA_EXCEEDED


@compiled_inline
def _tell_rate(gate: Gate, rate: int, burst: int) -> None:
    gate.result[RATE], gate.result[BURST] = rate & REQUESTS_MASK, burst
    gate.result[RATE_SECONDS] = (rate >> SECONDS_SHIFT) + min(rate, 1)


@compiled_inline
def _tell_remaining(gate: Gate) -> None:
    gate.result[LEFT] = gate.own["found"][REMAINING]
    gate.result[RETRY_AFTER_MS] = _whole_ms(gate.own["found"][RETRY_NS])


@compiled_inline
def _whole_ms(duration_ns: int) -> int:
    """Milliseconds, rounded up: who waits for so long does not come too early."""
    return (duration_ns + NS_PER_MS - 1) // NS_PER_MS
