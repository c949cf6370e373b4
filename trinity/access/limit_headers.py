"""What a caller is told of its limits: the headers of an HTTP answer, and when to come again. Compiled.

    refused          Retry-After, the policies of all its limits, and what is left of the one that is used up
    a good answer    RateLimit with what is left of each, until the month's end; RATE_LIMIT_HEADERS=off leaves it out

Rules: only refusals that time ends say when; the request workers and the reporting service say it with the same bytes.
Where no limit is known (the keys are not loaded) there is no word about one, and whoever has none pays nothing. The
limits are called `second` (whatever its rate's time is), `month`, and `free`: the rate for what costs no month.
"""

from trinity.access.gate import (
    IS_FREE,
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
)
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.compiled import compiled, compiled_inline
from trinity.native.octets import (
    Octets,
    append_byte,
    append_integer,
    append_octets,
    append_packed,
    octets_of,
    pack_texts,
)

_MS_PER_SECOND = NS_PER_SECOND // NS_PER_MS

_RETRY_AFTER = octets_of(b"Retry-After: ")
# By IS_FREE.
_RATE_POLICIES, _POLICY_BOUNDS = pack_texts([b'\r\nRateLimit-Policy: "second";q=', b'\r\nRateLimit-Policy: "free";q='])
_RATE_LIMITS, _LIMIT_BOUNDS = pack_texts([b'RateLimit: "second";r=', b'RateLimit: "free";r='])
_WINDOW = octets_of(b";w=")
_AND_MONTH_POLICY = octets_of(b', "month";q=')
_MONTH_POLICY = octets_of(b'\r\nRateLimit-Policy: "month";q=')
_AND_MONTH_LIMIT = octets_of(b', "month";r=')
_MONTH_LIMIT = octets_of(b'RateLimit: "month";r=')
_IN = octets_of(b";t=")
_CR, _LF = b"\r\n"
# With numbers of at most 19 digits each.
_TEXTS = (_RETRY_AFTER, _RATE_POLICIES, _WINDOW, _AND_MONTH_POLICY, _AND_MONTH_LIMIT, _MONTH_LIMIT, _RATE_LIMITS, _IN)
LIMIT_HEADERS_BYTES_MAX = sum(text.size for text in _TEXTS) + 6 * 19


@compiled
def retry_after_ms(gate: Gate, code: int) -> int:
    """When a caller whose refusal time ends may come again; 0 for other refusals."""
    wait_ms: int = gate.result[RETRY_AFTER_MS]
    return wait_ms if is_ended_by_time(code) else 0


@compiled_inline
def is_ended_by_time(code: int) -> bool:
    """Whether a refusal says when to come again."""
    return code in (RATE_LIMITED, QUOTA_EXCEEDED, KEYS_UNAVAILABLE)


@compiled_inline
def append_limits_left(gate: Gate, now_ns: int, out: Octets, at: int) -> int:
    """Append RateLimit to a good answer, where its caller has limits and they are told."""
    if gate.own["tells_limits"] == 0 or gate.result[RATE] | gate.result[MONTHLY_QUOTA] == 0:
        return at
    return _append_limits_left(gate, now_ns, out, at)


@compiled
def _append_limits_left(gate: Gate, now_ns: int, out: Octets, at: int) -> int:
    result = gate.result
    if result[RATE] > 0:
        at = append_packed(_RATE_LIMITS, _LIMIT_BOUNDS, result[IS_FREE], out, at)
        at = append_integer(result[LEFT], out, at)
    if result[MONTHLY_QUOTA] > 0:
        at = append_octets(_AND_MONTH_LIMIT if result[RATE] > 0 else _MONTH_LIMIT, out, at)
        at = append_integer(result[QUOTA_LEFT], out, at)
        seconds = (max(gate.own["month_end_ns"] - now_ns, 0) + NS_PER_SECOND - 1) // NS_PER_SECOND
        at = append_integer(seconds, out, append_octets(_IN, out, at))
    return _append_line_end(out, at)


@compiled
def append_retry_after(wait_ms: int, out: Octets, at: int) -> int:
    """Append Retry-After alone, for a refusal that is of no limit."""
    wait_seconds = (wait_ms + _MS_PER_SECOND - 1) // _MS_PER_SECOND
    return _append_line_end(out, append_integer(wait_seconds, out, append_octets(_RETRY_AFTER, out, at)))


@compiled
def append_limit_headers(gate: Gate, code: int, out: Octets, at: int) -> int:
    """Append Retry-After (RFC 9110, 10.2.3), RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers)."""
    result = gate.result
    wait_seconds = (result[RETRY_AFTER_MS] + _MS_PER_SECOND - 1) // _MS_PER_SECOND
    at = append_integer(wait_seconds, out, append_octets(_RETRY_AFTER, out, at))
    if code == KEYS_UNAVAILABLE:  # no limit is known
        return _append_line_end(out, at)
    if result[RATE] > 0:
        at = append_packed(_RATE_POLICIES, _POLICY_BOUNDS, result[IS_FREE], out, at)
        at = append_integer(result[RATE], out, at)
        at = append_integer(result[RATE_SECONDS], out, append_octets(_WINDOW, out, at))
    if result[MONTHLY_QUOTA] > 0:
        at = append_octets(_AND_MONTH_POLICY if result[RATE] > 0 else _MONTH_POLICY, out, at)
        at = append_integer(result[MONTHLY_QUOTA], out, at)
    at = _append_line_end(out, at)
    if code == QUOTA_EXCEEDED:
        at = append_integer(result[QUOTA_LEFT], out, append_octets(_MONTH_LIMIT, out, at))
    else:
        at = append_packed(_RATE_LIMITS, _LIMIT_BOUNDS, result[IS_FREE], out, at)
        at = append_integer(result[LEFT], out, at)
    at = append_integer(wait_seconds, out, append_octets(_IN, out, at))
    return _append_line_end(out, at)


@compiled
def _append_line_end(out: Octets, at: int) -> int:
    return append_byte(_LF, out, append_byte(_CR, out, at))
