"""Is this answer right? Framing and content checks of every answer, compiled, cheaper than making the answer.

Rules: pure, no socket, no clock. An answer passes when it is complete, has status 200, is one compact JSON object in
ASCII whose first member is the asset that was asked for, and holds a price and a timestamp; that the time of its newest
source (without one, the timestamp) does not go back is checked by the caller, who knows the connection. The full check
runs once for each distinct body: the last good body of each asset is remembered, and an equal one passes by comparison.

Framings: HTTP/1.1 with Content-Length, RESP's bulk string (Valkey and Redis), and a bare body (a UDP datagram).
"""

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

# What can be wrong with an answer; a fault is counted in the word of its own number.
FAULTS = ("refused", "wrong_asset", "bad_json", "no_price", "time_went_back", "not_an_answer", "broken", "lost")
REFUSED, WRONG_ASSET, BAD_JSON, NO_PRICE, TIME_WENT_BACK, NOT_AN_ANSWER, BROKEN, LOST = range(len(FAULTS))

# Where an answer's parts lie, kept from one answer to the next: heads mostly have the same lengths.
HEAD_BYTES, BODY_BYTES, TAIL_BYTES, LENGTH_AT, LENGTH_DIGITS = range(5)
FRAME_WORDS = 5
INCOMPLETE, COMPLETE, BAD_STATUS, MALFORMED = range(4)
FRAMING_HTTP, FRAMING_RESP = range(2)

# Longer than any consensus body (640 bytes) and any echoed id.
KNOWN_BODY_BYTES = 1024
# An object in an array in an object is the deepest that any answer goes; bits of one word hold the nesting.
JSON_DEPTH_MAX = 30

_CR, _LF, _QUOTE, _BACKSLASH = 13, 10, 34, 92
_CONTENT_LENGTH = np.frombuffer(b"ength: ", dtype=np.uint8)  # "Content-Length: " in whichever case
_HTTP_200 = np.frombuffer(b"HTTP/1.1 200", dtype=np.uint8)
_HTTP = np.frombuffer(b"HTTP/1.1 ", dtype=np.uint8)
_ERROR = np.frombuffer(b'{"error":', dtype=np.uint8)
_ASSET = np.frombuffer(b'{"asset":"', dtype=np.uint8)
_PRICE = np.frombuffer(b'"price":', dtype=np.uint8)
_NEWEST = np.frombuffer(b'"newest_timestamp":', dtype=np.uint8)
_TIMESTAMP = np.frombuffer(b'"timestamp":', dtype=np.uint8)
_LITERALS = tuple(np.frombuffer(word, dtype=np.uint8) for word in (b"true", b"false", b"null"))


class Memory:
    """The last good body of each asset, and its timestamp."""

    def __init__(self, assets: list[str]) -> None:
        self.names = np.zeros((len(assets), 32), dtype=np.uint8)
        self.name_lengths = np.array([len(name) for name in assets], dtype=np.int64)
        for i, name in enumerate(assets):
            self.names[i, : len(name)] = np.frombuffer(name.encode(), dtype=np.uint8)
        self.bodies = np.zeros((len(assets), KNOWN_BODY_BYTES), dtype=np.uint8)
        self.lengths = np.zeros(len(assets), dtype=np.int64)
        self.times = np.zeros(len(assets), dtype=np.int64)


@compiled
def frame_answer(framing: int, buffer: Bytes, start: int, end: int, frame: Ints) -> int:
    """Find one answer's head, body and tail from `start` on: INCOMPLETE, COMPLETE, BAD_STATUS or MALFORMED."""
    if framing == FRAMING_RESP:
        return _frame_resp(buffer, start, end, frame)
    if _same_layout(buffer, start, end, frame):
        return _complete(start, end, frame, COMPLETE)
    return _frame_http(buffer, start, end, frame)


@compiled
def _same_layout(buffer: Bytes, start: int, end: int, frame: Ints) -> bool:
    """Whether the head is as long as the last one, and says 200 and a length where the last one said it."""
    head = frame[HEAD_BYTES]
    if head == 0 or end - start < head or not _is_at(buffer, start, end, _HTTP_200):
        return False
    stop = start + head
    if buffer[stop - 4] != _CR or buffer[stop - 3] != _LF or buffer[stop - 2] != _CR or buffer[stop - 1] != _LF:
        return False
    digits_at = start + frame[LENGTH_AT]
    if not _is_at(buffer, digits_at - _CONTENT_LENGTH.size, end, _CONTENT_LENGTH):
        return False
    if buffer[digits_at + frame[LENGTH_DIGITS]] != _CR:
        return False
    body = _digits(buffer, digits_at, digits_at + frame[LENGTH_DIGITS])
    if body < 0:
        return False
    frame[BODY_BYTES] = body
    return True


@compiled
def _frame_http(buffer: Bytes, start: int, end: int, frame: Ints) -> int:
    stop = _end_of_head(buffer, start, end)
    if stop < 0:
        return INCOMPLETE
    if not _is_at(buffer, start, end, _HTTP):
        return MALFORMED
    length_at = find(buffer, start, stop, _CONTENT_LENGTH)
    if length_at < 0:
        return MALFORMED
    digits_at = length_at + _CONTENT_LENGTH.size
    digits_end = digits_at
    while 48 <= buffer[digits_end] <= 57:
        digits_end += 1
    body = _digits(buffer, digits_at, digits_end)
    if body < 0:
        return MALFORMED
    frame[HEAD_BYTES] = stop - start
    frame[BODY_BYTES] = body
    frame[TAIL_BYTES] = 0
    frame[LENGTH_AT] = digits_at - start
    frame[LENGTH_DIGITS] = digits_end - digits_at
    return _complete(start, end, frame, COMPLETE if _is_at(buffer, start, end, _HTTP_200) else BAD_STATUS)


@compiled
def _frame_resp(buffer: Bytes, start: int, end: int, frame: Ints) -> int:
    """`$<length>CRLF<body>CRLF` (RESP 2, bulk strings); anything else is not a value."""
    if start >= end:
        return INCOMPLETE
    if buffer[start] != 36:
        return MALFORMED
    at = start + 1
    while at < end and buffer[at] != _LF:
        at += 1
    if at == end:
        return INCOMPLETE
    body = _digits(buffer, start + 1, at - 1)
    if body < 0:
        return MALFORMED
    frame[HEAD_BYTES] = at + 1 - start
    frame[BODY_BYTES] = body
    frame[TAIL_BYTES] = 2
    return _complete(start, end, frame, COMPLETE)


@compiled
def _complete(start: int, end: int, frame: Ints, verdict: int) -> int:
    total = frame[HEAD_BYTES] + frame[BODY_BYTES] + frame[TAIL_BYTES]
    return verdict if end - start >= total else INCOMPLETE


@compiled
def check_price(
    buffer: Bytes,
    start: int,
    end: int,
    asset: int,
    names: Bytes,
    name_lengths: Ints,
    bodies: Bytes,
    lengths: Ints,
    times: Ints,
) -> int:
    """The time (ms) of a right body for `asset`, or -1 - fault; a new right body is remembered."""
    size = end - start
    if size > 0 and size == lengths[asset]:
        i = 0
        while i < size and buffer[start + i] == bodies[asset, i]:
            i += 1
        if i == size:
            return int(times[asset])
    if _is_at(buffer, start, end, _ERROR):
        return -1 - REFUSED
    if not names_asset(buffer, start, end, names[asset], name_lengths[asset]):
        return -1 - WRONG_ASSET
    if not is_json_object(buffer, start, end):
        return -1 - BAD_JSON
    price_at = find(buffer, start, end, _PRICE)
    time_at = find(buffer, start, end, _TIMESTAMP)
    if price_at < 0 or time_at < 0 or not 48 <= buffer[price_at + _PRICE.size] <= 57:
        return -1 - NO_PRICE
    newest_at = find(buffer, start, end, _NEWEST)
    digits_at = newest_at + _NEWEST.size if newest_at >= 0 else time_at + _TIMESTAMP.size
    digits_end = digits_at
    while digits_end < end and 48 <= buffer[digits_end] <= 57:
        digits_end += 1
    time_ms = _digits(buffer, digits_at, digits_end)
    if time_ms < 0:
        return -1 - NO_PRICE
    if size <= KNOWN_BODY_BYTES:
        for i in range(size):
            bodies[asset, i] = buffer[start + i]
        lengths[asset] = size
        times[asset] = time_ms
    return time_ms


@compiled
def names_asset(buffer: Bytes, start: int, end: int, name: Bytes, length: int) -> bool:
    """Whether the body begins with `{"asset":"<name>",`."""
    at = start + _ASSET.size
    if not _is_at(buffer, start, end, _ASSET) or at + length + 2 > end:
        return False
    for i in range(length):
        if buffer[at + i] != name[i]:
            return False
    return bool(buffer[at + length] == _QUOTE and buffer[at + length + 1] == 44)


@compiled
def is_json_object(buffer: Bytes, start: int, end: int) -> bool:
    """Whether the bytes are one JSON object (RFC 8259) in ASCII without white space outside of strings."""
    if start >= end or buffer[start] != 123:
        return False
    depth = 1
    objects = np.int64(1)  # bit of each level: 1 object, 0 array; the innermost is the lowest
    at = start + 1
    fresh = True  # directly behind an opening bracket
    while at < end:
        byte = buffer[at]
        closes = 125 if objects & 1 else 93
        if byte == closes:
            depth -= 1
            objects >>= 1
            at += 1
            if depth == 0:
                return at == end
            fresh = False
            continue
        if not fresh:
            if byte != 44:
                return False
            at += 1
        if objects & 1:
            at = _skip_string(buffer, at, end)
            if at < 0 or at >= end or buffer[at] != 58:
                return False
            at += 1
        if at >= end:
            return False
        byte = buffer[at]
        if byte == 123 or byte == 91:
            depth += 1
            if depth > JSON_DEPTH_MAX:
                return False
            objects = (objects << 1) | (1 if byte == 123 else 0)
            at += 1
            fresh = True
            continue
        at = _skip_scalar(buffer, at, end)
        if at < 0:
            return False
        fresh = False
    return False


@compiled
def _skip_scalar(buffer: Bytes, at: int, end: int) -> int:
    """Behind the string, number or literal at `at`, -1 when there is none."""
    byte = buffer[at]
    if byte == _QUOTE:
        return _skip_string(buffer, at, end)
    if byte == 45 or 48 <= byte <= 57:
        return _skip_number(buffer, at, end)
    for literal in _LITERALS:
        if _is_at(buffer, at, end, literal):
            return at + literal.size
    return -1


@compiled
def _skip_string(buffer: Bytes, at: int, end: int) -> int:
    if at >= end or buffer[at] != _QUOTE:
        return -1
    at += 1
    while at < end:
        byte = buffer[at]
        if byte == _QUOTE:
            return at + 1
        if byte < 32 or byte > 126:
            return -1
        at += 1
        if byte != _BACKSLASH:
            continue
        if at >= end:
            return -1
        escape = buffer[at]
        at += 1
        if escape == 117:  # \uXXXX
            for _ in range(4):
                if at >= end or not _is_hex(buffer[at]):
                    return -1
                at += 1
        elif escape not in (34, 47, 92, 98, 102, 110, 114, 116):  # "/\bfnrt
            return -1
    return -1


@compiled
def _skip_number(buffer: Bytes, at: int, end: int) -> int:
    if buffer[at] == 45:
        at += 1
    if at < end and buffer[at] == 48:
        at += 1
    else:
        at = _skip_digits(buffer, at, end)
    if 0 <= at < end and buffer[at] == 46:
        at = _skip_digits(buffer, at + 1, end)
    if 0 <= at < end and (buffer[at] == 101 or buffer[at] == 69):
        at += 1
        if at < end and (buffer[at] == 43 or buffer[at] == 45):
            at += 1
        at = _skip_digits(buffer, at, end)
    return at


@compiled
def _skip_digits(buffer: Bytes, at: int, end: int) -> int:
    """Behind one or more digits, -1 when there is none."""
    begin = at
    while at < end and 48 <= buffer[at] <= 57:
        at += 1
    return at if at > begin else -1


@compiled
def _is_hex(byte: int) -> bool:
    return 48 <= byte <= 57 or 65 <= byte <= 70 or 97 <= byte <= 102


@compiled
def find(buffer: Bytes, start: int, end: int, pattern: Bytes) -> int:
    """First place of `pattern` in buffer[start:end], -1 when it is not there."""
    first = pattern[0]
    for at in range(start, end - pattern.size + 1):
        if buffer[at] == first and _is_at(buffer, at, end, pattern):
            return at
    return -1


@compiled
def _is_at(buffer: Bytes, at: int, end: int, pattern: Bytes) -> bool:
    if at < 0 or at + pattern.size > end:
        return False
    for i in range(pattern.size):  # noqa: SIM110 - compiled: a loop, not a generator
        if buffer[at + i] != pattern[i]:
            return False
    return True


@compiled
def _end_of_head(buffer: Bytes, start: int, end: int) -> int:
    """Behind the first empty line, -1 when it has not come yet."""
    for at in range(start + 3, end):
        if buffer[at] == _LF and buffer[at - 1] == _CR and buffer[at - 2] == _LF and buffer[at - 3] == _CR:
            return at + 1
    return -1


@compiled
def _digits(buffer: Bytes, start: int, end: int) -> int:
    """The whole number in buffer[start:end], -1 when it is none or longer than 15 digits."""
    if not 0 < end - start <= 15:
        return -1
    value = 0
    for at in range(start, end):
        if not 48 <= buffer[at] <= 57:
            return -1
        value = value * 10 + int(buffer[at]) - 48
    return value
