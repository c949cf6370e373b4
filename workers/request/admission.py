"""Whether this request may be answered: the gate's word for both protocols, and the headers that say when to return.

Compiled. Rules: a blocked address is told so whatever it sends, also where no key is needed; everything else that
needs no key is not asked for one. An empty key is no key. The key id of a refused key stands in its usage record.
"""

import numpy as np

from trinity.access.gate import (
    KEY_ID,
    KEYS_UNAVAILABLE,
    LEFT,
    MONTHLY_QUOTA,
    QUOTA_EXCEEDED,
    QUOTA_LEFT,
    RATE,
    RATE_LIMITED,
    RATE_SECONDS,
    RETRY_AFTER_MS,
    Gate,
    admit,
)
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.compiled import compiled, compiled_inline
from trinity.memory.block_table import is_blocked
from trinity.native.octets import Octets, append_byte, append_integer, append_octets, octets_of
from trinity.observe import metrics
from trinity.outcomes import HTTP
from workers.request.forwarded import ADDRESS, Caller
from workers.request.ledger import TALLY_KEY, TALLY_PROTOCOL, Ledger

_BLOCKED_WORD = metrics.REQUEST.index("oracle_access_refusals_total", "address_blocked")
_MS_PER_SECOND = NS_PER_SECOND // NS_PER_MS

_RETRY_AFTER = octets_of(b"Retry-After: ")
_RATE_POLICY = octets_of(b'\r\nRateLimit-Policy: "second";q=')
_WINDOW = octets_of(b";w=")
_AND_MONTH = octets_of(b', "month";q=')
_MONTH_POLICY = octets_of(b'\r\nRateLimit-Policy: "month";q=')
_RATE_LIMIT = octets_of(b'\r\nRateLimit: "second";r=')
_MONTH_LIMIT = octets_of(b'\r\nRateLimit: "month";r=')
_IN = octets_of(b";t=")
_CR, _LF = b"\r\n"
# With numbers of at most 19 digits each.
LIMIT_HEADERS_BYTES_MAX = (
    sum(text.size for text in (_RETRY_AFTER, _RATE_POLICY, _WINDOW, _AND_MONTH, _MONTH_LIMIT, _RATE_LIMIT, _IN))
    + 6 * 19
)


@compiled_inline
def is_barred(gate: Gate, caller: Caller) -> bool:
    """Whether who asks is blocked, where nothing else is asked of them; counted as a refusal."""
    barred = is_blocked(gate.blocks, caller.words[ADDRESS : ADDRESS + 2])
    if barred:
        gate.counters[_BLOCKED_WORD] += np.uint64(1)
    return barred


@compiled_inline
def admit_caller(
    gate: Gate, ledger: Ledger, caller: Caller, buffer: Octets, key_start: int, key_end: int, now_ns: int
) -> int:
    """CODE_OK, or the index in outcomes.CODES of why not."""
    over_udp = ledger.tally[TALLY_PROTOCOL] != HTTP
    code = admit(gate, buffer, key_start, key_end, caller.words[ADDRESS : ADDRESS + 2], over_udp, now_ns)
    ledger.tally[TALLY_KEY] = gate.result[KEY_ID]
    return code


@compiled
def retry_after_ms(gate: Gate, code: int) -> int:
    """When a caller whose refusal time ends may come again; 0 for other refusals."""
    wait_ms: int = gate.result[RETRY_AFTER_MS]
    return wait_ms if is_ended_by_time(code) else 0


@compiled_inline
def is_ended_by_time(code: int) -> bool:
    """Whether a refusal says when to come again."""
    return code in (RATE_LIMITED, QUOTA_EXCEEDED, KEYS_UNAVAILABLE)


@compiled
def append_limit_headers(gate: Gate, code: int, out: Octets, at: int) -> int:
    """Append Retry-After (RFC 9110, 10.2.3), RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers)."""
    result = gate.result
    wait_seconds = (result[RETRY_AFTER_MS] + _MS_PER_SECOND - 1) // _MS_PER_SECOND
    at = append_integer(wait_seconds, out, append_octets(_RETRY_AFTER, out, at))
    if code == KEYS_UNAVAILABLE:  # no limit is known
        return append_byte(_LF, out, append_byte(_CR, out, at))
    if result[RATE] > 0:
        at = append_integer(result[RATE], out, append_octets(_RATE_POLICY, out, at))
        at = append_integer(result[RATE_SECONDS], out, append_octets(_WINDOW, out, at))
    if result[MONTHLY_QUOTA] > 0:
        at = append_octets(_AND_MONTH if result[RATE] > 0 else _MONTH_POLICY, out, at)
        at = append_integer(result[MONTHLY_QUOTA], out, at)
    if code == QUOTA_EXCEEDED:
        at = append_integer(result[QUOTA_LEFT], out, append_octets(_MONTH_LIMIT, out, at))
    else:
        at = append_integer(result[LEFT], out, append_octets(_RATE_LIMIT, out, at))
    at = append_integer(wait_seconds, out, append_octets(_IN, out, at))
    return append_byte(_LF, out, append_byte(_CR, out, at))
