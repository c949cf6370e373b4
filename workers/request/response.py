"""HTTP response heads and the bodies of errors. Pure, compiled.

A response is: status line and headers that depend on nothing (rendered before, by the consensus process for a good
price and below for all else), the stamp (`Date` and `X-Request-Id`), the connection header, an empty line, the body.

Rules: every error is JSON, `{"error":{"code":...,"message":...}}`, with a code that never changes. A request id is
unique on its node: worker, a part of the worker's start time, and a counter that is raised in place, in hex.
"""

import numpy as np

from trinity import metrics
from trinity.compiled import compiled
from workers.request import http1
from workers.request.octets import (
    Octets,
    append_integer,
    append_octets,
    append_packed,
    append_slice,
    octets_of,
    pack_texts,
)

# --- statuses -------------------------------------------------------------------------------------------------

_REASONS = {
    "200": "OK",
    "204": "No Content",
    "400": "Bad Request",
    "404": "Not Found",
    "405": "Method Not Allowed",
    "408": "Request Timeout",
    "413": "Content Too Large",
    "414": "URI Too Long",
    "431": "Request Header Fields Too Large",
    "503": "Service Unavailable",
}
_ALLOW = "Allow: GET, HEAD, OPTIONS\r\n"


def _head_of(status: str) -> bytes:
    """Everything before the length of the body; a 204 has no body and no length."""
    common = f"HTTP/1.1 {status} {_REASONS[status]}\r\nCache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\n"
    if status == "204":
        preflight = "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\nAccess-Control-Allow-Headers: *\r\n"
        return f"{common}{preflight}Access-Control-Max-Age: 86400\r\n{_ALLOW}".encode()
    allow = _ALLOW if status == "405" else ""
    return f"{common}{allow}Content-Type: application/json\r\nContent-Length: ".encode()


def status_index(status: int) -> int:
    """Statuses are handled as their index in metrics.HTTP_STATUSES, which is also their counter's."""
    return metrics.HTTP_STATUSES.index(str(status))


_HEADS, _HEAD_BOUNDS = pack_texts([_head_of(status) for status in metrics.HTTP_STATUSES])
STATUS_OK = status_index(200)
STATUS_NO_CONTENT = status_index(204)
STATUS_BAD_REQUEST = status_index(400)
STATUS_NOT_FOUND = status_index(404)

# --- errors ---------------------------------------------------------------------------------------------------

# A refusal of the parser keeps its index; the errors of the routes and of the loop follow.
ERRORS = (
    *http1.REFUSALS,
    (400, "bad_request", "malformed target"),
    (404, "unknown_path", "there are /price, /prices, /assets and /health"),
    (405, "method_not_allowed", "GET, HEAD and OPTIONS are served"),
    (400, "missing_asset", "say which asset, as in /price?asset=BTC"),
    (400, "bad_parameter", "assets must be names with commas between them"),
    (404, "unknown_exchange", "no such exchange; GET /assets lists them"),
    (408, "request_timeout", "the request did not arrive in time"),
    (503, "too_many_connections", "this worker has no free connection"),
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
) = range(len(http1.REFUSALS), len(ERRORS))
_BODIES, _BODY_BOUNDS = pack_texts(
    [f'{{"error":{{"code":"{code}","message":"{text}"}}}}'.encode() for _, code, text in ERRORS]
)
_ERROR_STATUS = np.array([status_index(status) for status, _, _ in ERRORS], dtype=np.int64)

# --- connection header and stamp ------------------------------------------------------------------------------

_CONNECTIONS, _CONNECTION_BOUNDS = pack_texts(
    [b"\r\n", b"Connection: keep-alive\r\n\r\n", b"Connection: close\r\n\r\n"]
)
# Silent: HTTP/1.1 keeps the connection without a word; HTTP/1.0 wants to be told.
CONNECTION_SILENT, CONNECTION_KEPT, CONNECTION_CLOSED = range(3)

_LINE_END = octets_of(b"\r\n")
_STAMP = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Request-Id: 0000000000000000\r\n"
STAMP_BYTES = len(_STAMP)
_DATE_AT = len(b"Date: ")
_ID_END = len(_STAMP) - len(b"\r\n")
_ID_DIGITS = 16
# Every head ends with this much at most behind its own headers: length, stamp, connection.
HEAD_END_BYTES_MAX = 20 + len(_STAMP) + 32
HEAD_BYTES_MAX = max(len(_head_of(status)) for status in metrics.HTTP_STATUSES) + HEAD_END_BYTES_MAX

_DAYS = octets_of(b"ThuFriSatSunMonTueWed")  # 1 January 1970 was a Thursday
_MONTHS = octets_of(b"JanFebMarAprMayJunJulAugSepOctNovDec")
_SECONDS_PER_DAY = 86_400
_DIGIT_0, _DIGIT_9, _LETTER_A, _LETTER_F = b"09af"


def make_stamp(worker: int, started_ns: int) -> Octets:
    """A worker's stamp: its request ids begin with 8 bits of the worker and 16 of its start second."""
    first_id = (worker & 0xFF) << 56 | (started_ns // 1_000_000_000 & 0xFFFF) << 40
    stamp = octets_of(_STAMP)
    stamp[_ID_END - _ID_DIGITS : _ID_END] = octets_of(f"{first_id:016x}".encode())
    return stamp


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


@compiled
def _raise_request_id(stamp: Octets) -> None:
    """Add one to the hexadecimal number in place: mostly one digit, so less work than to render it."""
    at = _ID_END - 1
    while stamp[at] == _LETTER_F:
        stamp[at] = _DIGIT_0
        at -= 1
    stamp[at] = _LETTER_A if stamp[at] == _DIGIT_9 else stamp[at] + 1


# --- responses ------------------------------------------------------------------------------------------------


@compiled
def append_head_end(stamp: Octets, connection: int, out: Octets, at: int) -> int:
    """Append what follows the prepared headers: the stamp with a new request id, the connection, an empty line."""
    _raise_request_id(stamp)
    at = append_octets(stamp, out, at)
    return append_packed(_CONNECTIONS, _CONNECTION_BOUNDS, connection, out, at)


@compiled
def append_response(
    status: int, body: Octets, body_length: int, with_body: bool, stamp: Octets, connection: int, out: Octets, at: int
) -> int:
    """Append a response whose body is `body[:body_length]`; HEAD gets all but the body."""
    at = append_packed(_HEADS, _HEAD_BOUNDS, status, out, at)
    at = append_integer(body_length, out, at)
    at = append_octets(_LINE_END, out, at)
    at = append_head_end(stamp, connection, out, at)
    return append_slice(body, 0, body_length, out, at) if with_body else at


@compiled
def append_no_content(stamp: Octets, connection: int, out: Octets, at: int) -> int:
    """Append the answer to OPTIONS."""
    at = append_packed(_HEADS, _HEAD_BOUNDS, STATUS_NO_CONTENT, out, at)
    return append_head_end(stamp, connection, out, at)


@compiled
def error_status(error: int) -> int:
    """The status, as an index, that an error of ERRORS is answered with."""
    status: int = _ERROR_STATUS[error]
    return status


@compiled
def write_error(error: int, body: Octets) -> int:
    """Write an error's body to the start of `body`; its length."""
    return append_packed(_BODIES, _BODY_BOUNDS, error, body, 0)
