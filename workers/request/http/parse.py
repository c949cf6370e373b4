"""HTTP/1.0 and HTTP/1.1 request heads, and the parts of response heads. Pure, compiled, bounds-checked.

`parse_head` reads one head out of a connection's bytes in one forward pass and remembers nothing: for a part of a
head it says NEED_MORE, and is asked again when there is more. So every split of the bytes over reads gives the same
result, and a head of at most 8 KB costs at most some microseconds a read.

Rules (RFC 9112): strict, so that nothing can be smuggled behind a proxy that reads otherwise. Lines end with CRLF
and nothing else ends them; no obsolete line folding, no blank before a colon, no control character; exactly one Host
in HTTP/1.1, at most one in HTTP/1.0; no Transfer-Encoding, no Expect, no body. What is refused costs the connection,
because where the next request would begin is then unknown. A method that is not served is not the parser's matter:
`METHOD_OTHER` is answered 405 by routes.py, and costs the connection when a body follows.
"""

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.limits import HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_LINE_BYTES_MAX
from trinity.native.octets import NOT_FOUND, Integers, Octets, byte_at, find_folded, find_text, pack_texts
from trinity.vocabulary import problem_for

# --- the parsed head: words of an int64 array -----------------------------------------------------------------

(
    METHOD,  # METHOD_GET ...
    METHOD_START,
    METHOD_END,
    TARGET_START,
    TARGET_END,
    MINOR_VERSION,  # 0 or 1
    KEEP_ALIVE,  # 1 unless the client or a body behind the head ends the connection
    NEXT,  # position behind the head
    KEYS,  # how many API keys the headers hold; the last one's start and end follow
    KEY_START,
    KEY_END,
    FORWARDED,  # how many X-Forwarded-For headers there are
    HEADER_COUNT,
    HEADERS,  # from here on HEADER_WORDS words a header: name start and end, value start and end
) = range(14)
HEADER_WORDS = 4
HEAD_WORDS = HEADERS + HEADERS_MAX * HEADER_WORDS

METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER = range(4)
_METHODS, _METHOD_BOUNDS = pack_texts([b"GET", b"HEAD", b"OPTIONS"])

# --- outcomes: a refusal is the index of its error in REFUSALS --------------------------------------------------

REFUSALS = (
    problem_for("bad_request", "request_line"),
    problem_for("bad_request", "version"),
    problem_for("bad_request", "header"),
    problem_for("bad_request", "host"),
    problem_for("bad_request", "length"),
    problem_for("bad_request", "transfer_encoding"),
    problem_for("bad_request", "expect"),
    problem_for("body_not_accepted"),
    problem_for("target_too_long"),
    problem_for("head_too_large"),
)
(
    BAD_REQUEST_LINE,
    BAD_VERSION,
    BAD_HEADER,
    BAD_HOST,
    BAD_LENGTH,
    TRANSFER_ENCODING,
    EXPECT,
    BODY,
    TARGET_TOO_LONG,
    HEAD_TOO_LARGE,
) = range(len(REFUSALS))
REQUEST = len(REFUSALS)  # a whole head was parsed
NEED_MORE = REQUEST + 1

# --- classes of bytes -----------------------------------------------------------------------------------------

_TOKEN, _TARGET, _VALUE, _HOST, _BLANK = 1, 2, 4, 8, 16
_ALPHANUMERIC = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _byte_classes() -> Octets:
    classes = np.zeros(256, dtype=np.uint8)
    classes[list(_ALPHANUMERIC + b"!#$%&'*+-.^_`|~")] |= _TOKEN  # RFC 9110, 5.6.2
    classes[0x21:0x7F] |= _TARGET
    classes[0x21:0x7F] |= _VALUE
    classes[0x80:] |= _VALUE  # obs-text: opaque, but it cannot end a line anywhere
    classes[list(b" \t")] |= _VALUE | _BLANK
    classes[list(_ALPHANUMERIC + b"-._~%!$&'()*+;=:[]")] |= _HOST  # RFC 3986, 3.2.2, without the comma of lists
    return classes


_CLASSES = _byte_classes()
_SPACE, _COLON, _COMMA, _ZERO, _NINE = b" :,09"
_CR, _LF = b"\r\n"

_VERSIONS, _VERSION_BOUNDS = pack_texts([b"HTTP/1.0\r\n", b"HTTP/1.1\r\n"])
_VERSION_BYTES = len(b"HTTP/1.1\r\n")

_KNOWN_HEADERS, _KNOWN_HEADER_BOUNDS = pack_texts(
    [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"connection",
        b"x-api-key",
        b"authorization",
        b"x-forwarded-for",
    ]
)
(
    _IS_HOST,
    _IS_CONTENT_LENGTH,
    _IS_TRANSFER_ENCODING,
    _IS_EXPECT,
    _IS_CONNECTION,
    _IS_API_KEY,
    _IS_AUTHORIZATION,
    _IS_FORWARDED,
) = range(8)
_SCHEMES, _SCHEME_BOUNDS = pack_texts([b"bearer"])
_SCHEME_BYTES = len(b"bearer")
_CONNECTION_OPTIONS, _CONNECTION_OPTION_BOUNDS = pack_texts([b"close", b"keep-alive"])
_IS_CLOSE, _IS_KEEP_ALIVE = range(2)


@compiled_inline
def _class_at(buffer: Octets, at: int) -> int:
    byte_class: int = _CLASSES[buffer[np.uint64(at)]]
    return byte_class


@compiled
def parse_head(buffer: Octets, start: int, end: int, head: Integers) -> int:
    """Parse the request head that begins at `start`: REQUEST, NEED_MORE or the index of a refusal.

    `head` (int64[HEAD_WORDS]) holds the request when the outcome is REQUEST; positions are those of `buffer`.
    """
    outcome = _parse_request_line(buffer, start, end, head)
    if outcome != REQUEST:
        return outcome
    limit = min(end, start + HEAD_BYTES_MAX)
    unfinished = NEED_MORE if end - start < HEAD_BYTES_MAX else HEAD_TOO_LARGE
    at: int = head[NEXT]
    head[HEADER_COUNT] = 0
    while at < limit and byte_at(buffer, at) != _CR:
        if head[HEADER_COUNT] == HEADERS_MAX:
            return HEAD_TOO_LARGE
        outcome = _parse_header(buffer, at, limit, head)
        if outcome != REQUEST:
            return unfinished if outcome == NEED_MORE else outcome
        at = head[NEXT]
    if at + 1 >= limit:
        return unfinished
    if byte_at(buffer, at + 1) != _LF:
        return BAD_HEADER
    head[NEXT] = at + 2
    return _check_headers(buffer, head)


@compiled
def skip_empty_lines(buffer: Octets, start: int, end: int) -> int:
    """Where the request line begins behind empty lines, which are ignored (RFC 9112, 2.2).

    To be asked only after BAD_REQUEST_LINE, which `parse_head` says of an empty line: so no other request pays for it.
    """
    while end - start >= 2 and byte_at(buffer, start) == _CR and byte_at(buffer, start + 1) == _LF:
        start += 2
    return start


@compiled_inline
def _parse_request_line(buffer: Octets, start: int, end: int, head: Integers) -> int:
    """Method, target and version; head[NEXT] is then the start of the headers."""
    limit = min(end, start + REQUEST_LINE_BYTES_MAX)
    unfinished = NEED_MORE if end - start < REQUEST_LINE_BYTES_MAX else TARGET_TOO_LONG
    at = start
    while at < limit and _class_at(buffer, at) & _TOKEN:
        at += 1
    head[METHOD_START], head[METHOD_END] = start, at
    if at == limit:
        return unfinished
    if at == start or byte_at(buffer, at) != _SPACE:
        is_half_empty_line = at == start and at + 1 == limit and byte_at(buffer, at) == _CR
        return unfinished if is_half_empty_line else BAD_REQUEST_LINE
    at += 1
    head[TARGET_START] = at
    while at < limit and _class_at(buffer, at) & _TARGET:
        at += 1
    head[TARGET_END] = at
    if at == limit:
        return unfinished
    if at == head[TARGET_START] or byte_at(buffer, at) != _SPACE:
        return BAD_REQUEST_LINE
    at += 1
    if limit - at < _VERSION_BYTES:
        return unfinished if _may_be_version(buffer, at, limit) else BAD_VERSION
    version = find_text(_VERSIONS, _VERSION_BOUNDS, buffer, at, at + _VERSION_BYTES)
    if version == NOT_FOUND:
        return BAD_VERSION
    head[MINOR_VERSION] = version
    method = find_text(_METHODS, _METHOD_BOUNDS, buffer, start, head[METHOD_END])
    head[METHOD] = METHOD_OTHER if method == NOT_FOUND else method
    head[NEXT] = at + _VERSION_BYTES
    return REQUEST


@compiled
def _may_be_version(buffer: Octets, start: int, end: int) -> bool:
    """Whether more bytes could make a version out of these, so that a wrong one is refused at once."""
    for i in range(start, end):
        if byte_at(buffer, i) != _VERSIONS[i - start] and byte_at(buffer, i) != _VERSIONS[_VERSION_BYTES + i - start]:
            return False
    return True


@compiled_inline
def _parse_header(buffer: Octets, start: int, limit: int, head: Integers) -> int:
    """One header line; head[NEXT] is then the start of the next line."""
    at = start
    while at < limit and _class_at(buffer, at) & _TOKEN:
        at += 1
    name_end = at
    if at == limit:
        return NEED_MORE
    if at == start or byte_at(buffer, at) != _COLON:
        return BAD_HEADER
    at += 1
    while at < limit and _class_at(buffer, at) & _BLANK:
        at += 1
    value_start = at
    while at < limit and _class_at(buffer, at) & _VALUE:
        at += 1
    if at == limit or (at + 1 == limit and byte_at(buffer, at) == _CR):
        return NEED_MORE
    if byte_at(buffer, at) != _CR or byte_at(buffer, at + 1) != _LF:
        return BAD_HEADER
    value_end = at
    while value_end > value_start and _class_at(buffer, value_end - 1) & _BLANK:
        value_end -= 1
    word = HEADERS + head[HEADER_COUNT] * HEADER_WORDS
    head[word], head[word + 1], head[word + 2], head[word + 3] = start, name_end, value_start, value_end
    head[HEADER_COUNT] += 1
    head[NEXT] = at + 2
    return REQUEST


@compiled_inline
def _check_headers(buffer: Octets, head: Integers) -> int:
    """What the headers that matter to the connection say: REQUEST or a refusal; sets head[KEEP_ALIVE]."""
    hosts = lengths = bodies = 0
    close = keep_alive = False
    head[KEYS] = head[FORWARDED] = 0
    for i in range(head[HEADER_COUNT]):
        word = HEADERS + i * HEADER_WORDS
        value_start, value_end = head[word + 2], head[word + 3]
        known = find_folded(_KNOWN_HEADERS, _KNOWN_HEADER_BOUNDS, buffer, head[word], head[word + 1])
        if known == _IS_HOST:
            hosts += 1
            if not _is_host(buffer, value_start, value_end):
                return BAD_HOST
        elif known == _IS_CONTENT_LENGTH:
            lengths += 1
            digits = _digits_sum(buffer, value_start, value_end)
            if digits < 0 or lengths > 1:
                return BAD_LENGTH
            bodies += min(1, digits)
        elif known == _IS_TRANSFER_ENCODING:
            return TRANSFER_ENCODING
        elif known == _IS_EXPECT:
            return EXPECT
        elif known == _IS_CONNECTION:
            close |= _has_option(buffer, value_start, value_end, _IS_CLOSE)
            keep_alive |= _has_option(buffer, value_start, value_end, _IS_KEEP_ALIVE)
        elif known == _IS_API_KEY:
            _take_key(value_start, value_end, head)
        elif known == _IS_AUTHORIZATION:
            _take_bearer(buffer, value_start, value_end, head)
        elif known == _IS_FORWARDED:
            head[FORWARDED] += 1
    if hosts > 1 or (hosts == 0 and head[MINOR_VERSION] == 1):
        return BAD_HOST
    if bodies > 0 and head[METHOD] != METHOD_OTHER:
        return BODY
    head[KEEP_ALIVE] = not close and bodies == 0 and (head[MINOR_VERSION] == 1 or keep_alive)
    return REQUEST


@compiled_inline
def _take_key(start: int, end: int, head: Integers) -> None:
    head[KEYS] += 1
    head[KEY_START], head[KEY_END] = start, end


@compiled
def _take_bearer(buffer: Octets, start: int, end: int, head: Integers) -> None:
    """The token of `Bearer TOKEN` (RFC 6750, 2.1) is a key, an empty one too; other schemes are not ours."""
    scheme_end = min(end, start + _SCHEME_BYTES)
    if find_folded(_SCHEMES, _SCHEME_BOUNDS, buffer, start, scheme_end) == NOT_FOUND:
        return
    at = scheme_end
    while at < end and _class_at(buffer, at) & _BLANK:
        at += 1
    if at > scheme_end or at == end:
        _take_key(at, end, head)


@compiled
def _is_host(buffer: Octets, start: int, end: int) -> bool:
    for i in range(start, end):  # noqa: SIM110 - a generator expression does not compile
        if not _class_at(buffer, i) & _HOST:
            return False
    return True


@compiled
def _digits_sum(buffer: Octets, start: int, end: int) -> int:
    """0 for a Content-Length of zero, more for any other, -1 when it is not all digits; no length overflows it."""
    total = 0 if end > start else -1
    for i in range(start, end):
        byte = byte_at(buffer, i)
        if byte < _ZERO or byte > _NINE:
            return -1
        total += byte - _ZERO
    return total


@compiled
def _has_option(buffer: Octets, start: int, end: int, option: int) -> bool:
    """Whether the comma-separated list of a Connection header names the option (RFC 9110, 5.6.1)."""
    item_start = start
    for i in range(start, end + 1):
        if i == end or byte_at(buffer, i) == _COMMA:
            item_end = i
            while item_start < item_end and _class_at(buffer, item_start) & _BLANK:
                item_start += 1
            while item_end > item_start and _class_at(buffer, item_end - 1) & _BLANK:
                item_end -= 1
            if find_folded(_CONNECTION_OPTIONS, _CONNECTION_OPTION_BOUNDS, buffer, item_start, item_end) == option:
                return True
            item_start = i + 1
    return False
