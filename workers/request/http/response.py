"""HTTP response heads and the bodies of errors. Pure, compiled.

A response is: status line and headers that depend on nothing (rendered before, by the consensus process for a good
price and below for all else), the stamp (`Date` and `X-Request-Id`), the connection header, an empty line, the body.

Rules: every error is JSON, `{"error":{"code":...,"message":...}}`, with a code that never changes. A request id is
that of the answer's usage record, in hex, so it is unique on its node over all its lives.
"""

from typing import NamedTuple

import numpy as np

from trinity.access.gate import Gate
from trinity.access.limit_headers import (
    LIMIT_HEADERS_BYTES_MAX,
    append_limit_headers,
    append_limits_left,
    append_retry_after,
)
from trinity.compiled import compiled, compiled_inline
from trinity.limits import OVERLOADED_RETRY_SECONDS
from trinity.memory.atomics import Words
from trinity.memory.usage_ring import next_request_id
from trinity.native.octets import (
    Octets,
    append_integer,
    append_octets,
    append_packed,
    append_slice,
    octets_of,
    pack_texts,
)
from trinity.vocabulary import ACCESS_REFUSALS, CODES, HTTP_STATUSES, Problem, problem_for, status_reason
from workers.request.http import parse as http1

# --- statuses -------------------------------------------------------------------------------------------------

_ALLOW = "Allow: GET, HEAD, OPTIONS\r\n"
# What only answers of one status have. Browsers show a page only the headers that are exposed (Fetch, 3.3.5).
_OWN_HEADERS = {
    "401": "WWW-Authenticate: Bearer\r\n",
    "405": _ALLOW,
    "429": "Access-Control-Expose-Headers: Retry-After, RateLimit, RateLimit-Policy, X-Request-Id\r\n",
}


def _head_of(status: str) -> bytes:
    """Everything before the length of the body; a 204 has no body and no length."""
    line = f"HTTP/1.1 {status} {status_reason(int(status))}\r\n"
    common = f"{line}Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\n"
    if status == "204":
        # The asterisk does not mean Authorization (Fetch, 3.3.4).
        preflight = (
            "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"
            "Access-Control-Allow-Headers: Authorization, X-API-Key, *\r\n"
        )
        return f"{common}{preflight}Access-Control-Max-Age: 86400\r\n{_ALLOW}".encode()
    return f"{common}{_OWN_HEADERS.get(status, '')}Content-Type: application/json\r\nContent-Length: ".encode()


def status_index(status: int) -> int:
    """Statuses are handled as their index in vocabulary.HTTP_STATUSES, which is also their counter's."""
    return HTTP_STATUSES.index(str(status))


_HEADS, _HEAD_BOUNDS = pack_texts([_head_of(status) for status in HTTP_STATUSES])
STATUS_OK = status_index(200)
STATUS_NO_CONTENT = status_index(204)

# --- errors ---------------------------------------------------------------------------------------------------

# A refusal of the parser keeps its index; the errors of the routes and of the loop follow.
ERRORS = (
    *http1.REFUSALS,
    problem_for("bad_request", "target"),
    problem_for("unknown_path"),
    problem_for("method_not_allowed"),
    problem_for("missing_asset"),
    problem_for("bad_parameter", "assets"),
    problem_for("unknown_exchange"),
    problem_for("request_timeout"),
    problem_for("too_many_connections"),
    problem_for("bad_parameter", "key_repeated"),
    *map(problem_for, ACCESS_REFUSALS),
    problem_for("overloaded"),
)
(
    BAD_TARGET,
    UNKNOWN_PATH,
    METHOD_NOT_ALLOWED,
    MISSING_ASSET,
    BAD_ASSETS,
    UNKNOWN_EXCHANGE,
    REQUEST_TIMEOUT,
    TOO_MANY_CONNECTIONS,
    KEY_REPEATED,
    MISSING_KEY,
    INVALID_KEY,
    _KEY_REVOKED,
    _KEY_SUSPENDED,
    ADDRESS_BLOCKED,
    _RATE_LIMITED,
    _QUOTA_EXCEEDED,
    _KEYS_UNAVAILABLE,
    OVERLOADED,
) = range(len(http1.REFUSALS), len(ERRORS))


def open_body(problem: Problem) -> bytes:
    """The body of an error, up to where more may be said of it."""
    return f'{{"error":{{{problem.members}'.encode()


_BODIES, _BODY_BOUNDS = pack_texts([open_body(problem) + b"}}" for problem in ERRORS])
_ERROR_STATUS = np.array([status_index(problem.status) for problem in ERRORS], dtype=np.int64)
_ERROR_CODE = np.array([CODES.index(problem.code) for problem in ERRORS], dtype=np.int64)
_FIRST_ACCESS_CODE = CODES.index("missing_key")
# A whole response but for its stamp and connection: what is refused for want of time must take none.
_OVERLOADED_BODY = octets_of(open_body(ERRORS[OVERLOADED]) + b"}}")
_OVERLOADED_HEAD = octets_of(
    _head_of("503").replace(
        b"Content-Type",
        b"Access-Control-Expose-Headers: Retry-After, X-Request-Id\r\n"
        b"Retry-After: %d\r\nContent-Type" % OVERLOADED_RETRY_SECONDS,
    )
    + b"%d\r\n" % _OVERLOADED_BODY.size
)

# --- connection header and stamp ------------------------------------------------------------------------------

_CONNECTIONS, _CONNECTION_BOUNDS = pack_texts(
    [b"\r\n", b"Connection: keep-alive\r\n\r\n", b"Connection: close\r\n\r\n"]
)
# Silent: HTTP/1.1 keeps the connection without a word; HTTP/1.0 wants to be told.
CONNECTION_SILENT, CONNECTION_KEPT, CONNECTION_CLOSED = range(3)

_LINE_END = octets_of(b"\r\n")
_STAMP = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Request-Id: 0000000000000000\r\n"
_DATE_AT = len(b"Date: ")
_ID_AT = len(_STAMP) - len(b"0000000000000000\r\n")
# The stamp lies so in its memory that the request id is two whole words.
_STAMP_SHIFT = -_ID_AT % 8
_ID_WORD = (_STAMP_SHIFT + _ID_AT) // 8
# Every head ends with this much at most behind its own headers: length, stamp, connection.
HEAD_END_BYTES_MAX = 20 + LIMIT_HEADERS_BYTES_MAX + len(_STAMP) + 32
HEAD_BYTES_MAX = max(len(_head_of(status)) for status in HTTP_STATUSES) + HEAD_END_BYTES_MAX

_DAYS = octets_of(b"ThuFriSatSunMonTueWed")  # 1 January 1970 was a Thursday
_MONTHS = octets_of(b"JanFebMarAprMayJunJulAugSepOctNovDec")
_SECONDS_PER_DAY = 86_400
_DIGIT_0 = ord("0")
# The same pattern in each part of a word.
_HALF, _BYTES, _NIBBLES, _ONE, _SIX, _ZEROS = (
    np.uint64(pattern)
    for pattern in (
        0xFFFF,
        0xFF_000000FF,
        0x000F000F_000F000F,
        0x01010101_01010101,
        0x06060606_06060606,
        0x30303030_30303030,
    )
)
_FROM_NINE_TO_A = np.uint64(ord("a") - ord("9") - 1)


class Stamp(NamedTuple):
    """What every response has; made once a worker."""

    octets: Octets
    words: Words  # the same memory, for the request id
    ring: Words  # UsageRing.words, which knows the next id


def make_stamp(ring: Words) -> Stamp:
    """A stamp over the worker's ring."""
    words = np.zeros(-(-(_STAMP_SHIFT + len(_STAMP)) // 8), dtype=np.uint64)
    octets = words.view(np.uint8)[_STAMP_SHIFT : _STAMP_SHIFT + len(_STAMP)]
    octets[:] = octets_of(_STAMP)
    return Stamp(octets, words, ring)


@compiled
def write_date(stamp: Octets, wall_seconds: int) -> None:
    """Put a time in seconds since 1970 into the stamp, as an HTTP date (RFC 9110, 5.6.7)."""
    days = wall_seconds // _SECONDS_PER_DAY
    second = wall_seconds % _SECONDS_PER_DAY
    # Civil date from days, after Howard Hinnant's "chrono-compatible low-level date algorithms": years begin in March.
    shifted = days + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * march_month + 2) // 5 + 1
    month = march_month + 3 if march_month < 10 else march_month - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    append_slice(_DAYS, days % 7 * 3, 3, stamp, _DATE_AT)
    _write_two_digits(stamp, _DATE_AT + 5, day)
    append_slice(_MONTHS, (month - 1) * 3, 3, stamp, _DATE_AT + 8)
    _write_two_digits(stamp, _DATE_AT + 12, year // 100)
    _write_two_digits(stamp, _DATE_AT + 14, year % 100)
    _write_two_digits(stamp, _DATE_AT + 17, second // 3_600)
    _write_two_digits(stamp, _DATE_AT + 20, second // 60 % 60)
    _write_two_digits(stamp, _DATE_AT + 23, second % 60)


@compiled
def _write_two_digits(out: Octets, at: int, value: int) -> None:
    out[at] = _DIGIT_0 + value // 10
    out[at + 1] = _DIGIT_0 + value % 10


@compiled_inline
def _write_request_id(stamp: Stamp) -> None:
    """The ring's next id in 16 hexadecimal digits, eight a word: all at once instead of digit by digit."""
    request_id = np.uint64(next_request_id(stamp.ring))
    stamp.words[_ID_WORD] = _hex_digits(request_id >> np.uint64(32))  # type: ignore[arg-type]
    stamp.words[_ID_WORD + 1] = _hex_digits(request_id & np.uint64(0xFFFFFFFF))  # type: ignore[arg-type]


@compiled_inline
def _hex_digits(value: int) -> int:
    """The eight digits of a 32-bit number as a word, the first in the lowest byte."""
    # Halves, then bytes, then digits change places and get a byte each.
    spread = (value & _HALF) << np.uint64(32) | value >> np.uint64(16)
    spread = (spread & _BYTES) << np.uint64(16) | spread >> np.uint64(8) & _BYTES
    spread = (spread & _NIBBLES) << np.uint64(8) | spread >> np.uint64(4) & _NIBBLES
    letters = (spread + _SIX) >> np.uint64(4) & _ONE  # 1 in the bytes from 10 to 15
    return spread + _ZEROS + letters * _FROM_NINE_TO_A  # type: ignore[return-value]


# --- responses ------------------------------------------------------------------------------------------------


@compiled
def append_head_end(stamp: Stamp, connection: int, out: Octets, at: int) -> int:
    """Append what follows the prepared headers: the stamp with the request id, the connection, an empty line."""
    _write_request_id(stamp)
    at = append_octets(stamp.octets, out, at)
    return append_packed(_CONNECTIONS, _CONNECTION_BOUNDS, connection, out, at)


@compiled
def append_response(
    status: int, body: Octets, body_length: int, with_body: bool, stamp: Stamp, connection: int, out: Octets, at: int
) -> int:
    """Append a response whose body is `body[:body_length]`; HEAD gets all but the body."""
    at = append_packed(_HEADS, _HEAD_BOUNDS, status, out, at)
    at = append_integer(body_length, out, at)
    at = append_octets(_LINE_END, out, at)
    at = append_head_end(stamp, connection, out, at)
    return append_slice(body, 0, body_length, out, at) if with_body else at


@compiled
def append_good(
    gate: Gate,
    body: Octets,
    body_length: int,
    with_body: bool,
    stamp: Stamp,
    connection: int,
    now_ns: int,
    out: Octets,
    at: int,
) -> int:
    """Append a response of status 200 to a caller that the gate let in: it is told what is left of its limits."""
    at = append_packed(_HEADS, _HEAD_BOUNDS, STATUS_OK, out, at)
    at = append_integer(body_length, out, at)
    at = append_octets(_LINE_END, out, at)
    at = append_limits_left(gate, now_ns, out, at)
    at = append_head_end(stamp, connection, out, at)
    return append_slice(body, 0, body_length, out, at) if with_body else at


@compiled
def append_limited(
    gate: Gate, error: int, body: Octets, with_body: bool, stamp: Stamp, connection: int, out: Octets, at: int
) -> int:
    """Append a refusal that says when to come again: `body` is scratch for the error's body."""
    length, code = write_error(error, body), error_code(error)
    at = append_packed(_HEADS, _HEAD_BOUNDS, _ERROR_STATUS[error], out, at)
    at = append_integer(length, out, at)
    at = append_octets(_LINE_END, out, at)
    at = append_limit_headers(gate, code, out, at)
    at = append_head_end(stamp, connection, out, at)
    return append_slice(body, 0, length, out, at) if with_body else at


@compiled_inline
def append_overloaded(stamp: Stamp, connection: int, with_body: bool, out: Octets, at: int) -> int:
    """Append the refusal of a request that nobody has read."""
    at = append_octets(_OVERLOADED_HEAD, out, at)
    at = append_head_end(stamp, connection, out, at)
    return append_octets(_OVERLOADED_BODY, out, at) if with_body else at


@compiled
def append_retry(
    status: int,
    body: Octets,
    body_length: int,
    wait_ms: int,
    with_body: bool,
    stamp: Stamp,
    connection: int,
    out: Octets,
    at: int,
) -> int:
    """As `append_response`, with Retry-After."""
    at = append_packed(_HEADS, _HEAD_BOUNDS, status, out, at)
    at = append_integer(body_length, out, at)
    at = append_octets(_LINE_END, out, at)
    at = append_retry_after(wait_ms, out, at)
    at = append_head_end(stamp, connection, out, at)
    return append_slice(body, 0, body_length, out, at) if with_body else at


@compiled
def append_no_content(stamp: Stamp, connection: int, out: Octets, at: int) -> int:
    """Append the answer to OPTIONS."""
    at = append_packed(_HEADS, _HEAD_BOUNDS, STATUS_NO_CONTENT, out, at)
    return append_head_end(stamp, connection, out, at)


@compiled
def error_status(error: int) -> int:
    """The status, as an index, that an error of ERRORS is answered with."""
    status: int = _ERROR_STATUS[error]
    return status


@compiled
def error_code(error: int) -> int:
    """The index in vocabulary.CODES of an error of ERRORS."""
    code: int = _ERROR_CODE[error]
    return code


@compiled
def error_of_access(code: int) -> int:
    """The error of ERRORS that a refusal of the gate is answered with."""
    return MISSING_KEY + code - _FIRST_ACCESS_CODE


@compiled
def write_error(error: int, body: Octets) -> int:
    """Write an error's body to the start of `body`; its length."""
    return append_packed(_BODIES, _BODY_BOUNDS, error, body, 0)
