"""What a refused caller is told of its limits: the headers of an HTTP answer, and when to come again. Compiled.

Rules: only refusals that time ends say when; the request workers and the reporting service say it with the same bytes.
Where no limit is known (the keys are not loaded) there is no word about one.
"""

from trinity.access.gate import (
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
from trinity.native.octets import Octets, append_byte, append_integer, append_octets, octets_of

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
