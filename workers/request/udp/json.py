"""The JSON request of a datagram: bytes in, a checked query out. Pure, compiled; parsed by hand.

    {"asset":"BTC"} or {"assets":["BTC","ETH"]}, and any of
    "id"            echoed: a number, or a string of at most UDP_ID_BYTES_MAX bytes
    "api_key"       a string; never echoed. Whatever else stands there is a wrong key, two of them are none
    "exchange"      that exchange's own prices instead of the consensus
    "max_age_ms", "min_sources"    whole numbers from 1
    "max_conf_bps"  a number above 0 with at most three decimals

Rules: accepted is a part of RFC 8259: one flat object, strings of printable ASCII without escapes. What is accepted
means here what it means to every JSON parser. Only an API key may hold other bytes and escapes, which no key has, so
that a wrong key is told from a malformed request. A member that is unknown, there twice or out of range is named; the
rest is still read, so that the id is echoed wherever it stands. An object with a member "error" is a reply.
"""

from trinity.compiled import compiled
from trinity.limits import UDP_ID_BYTES_MAX
from trinity.native.octets import BAD_NUMBER, Integers, Octets, byte_at, pack_texts, parse_decimal, parse_integer
from workers.request.answer import CONSENSUS, UNKNOWN, Names, find_name

# The words of a query: positions are those in the request; an empty range means that there is none.
(
    ID_START, ID_END, KEY_START, KEY_END, BAD_START, BAD_END, EXCHANGE, MAX_AGE_MS, MIN_SOURCES, MAX_CONF_MILLI_BPS,
    COUNT, IS_LIST, _VALUE_START, _VALUE_END, _VALUE_COUNT, QUERY_WORDS,
) = range(16)  # fmt: skip

(
    QUERY_OK, QUERY_MALFORMED, QUERY_BAD_MEMBER, QUERY_NO_ASSET, QUERY_BAD_EXCHANGE, QUERY_IS_REPLY, QUERY_TWO_KEYS,
) = range(7)  # fmt: skip

_MEMBERS = ("id", "api_key", "asset", "assets", "exchange", "max_age_ms", "min_sources", "max_conf_bps", "error")
(
    _ID, _API_KEY, _ASSET, _ASSETS, _EXCHANGE, _MAX_AGE_MS, _MIN_SOURCES, _MAX_CONF_BPS, _ERROR,
) = range(len(_MEMBERS))  # fmt: skip
_NAMES, _NAME_BOUNDS = pack_texts([name.encode() for name in _MEMBERS])

# Larger limits mean the same: no price is 49 days old, none has a confidence of 429,496 %.
_LIMIT_MAX = 2**32 - 1

_STRING, _NUMBER, _LITERAL, _LIST = range(1, 5)
_SYNTAX_ERROR = -1
_LITERALS, _LITERAL_BOUNDS = pack_texts([b"true", b"false", b"null"])
_QUOTE, _BACKSLASH, _COLON, _COMMA, _OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = b'"\\:,{}[]'
_SPACES = (0x20, 0x09, 0x0A, 0x0D)
_ASCII_LAST, _DELETE = 0x7E, 0x7F
_MINUS, _PLUS, _POINT, _ZERO, _NINE, _SMALL_E, _LARGE_E = b"-+.09eE"


@compiled
def parse_query(
    assets: Names, exchanges: Names, request: Octets, start: int, end: int, query: Integers, wanted: Integers
) -> int:
    """Read `request[start:end]` into `query` and `wanted` (see answer.parse_assets); one of QUERY_*."""
    query[:] = 0
    query[EXCHANGE] = CONSENSUS
    seen = 0
    result = QUERY_OK
    at = skip_space(request, start, end)
    if at >= end or request[at] != _OPEN:
        return QUERY_MALFORMED
    at = skip_space(request, at + 1, end)
    if at < end and request[at] == _CLOSE:
        return QUERY_NO_ASSET if skip_space(request, at + 1, end) == end else QUERY_MALFORMED
    while True:
        name_start = at + 1
        name_end = _scan_string(request, at, end, _ASCII_LAST) - 1
        if name_end < name_start:
            return QUERY_MALFORMED
        member = _member_of(request, name_start, name_end)
        if member == _ERROR:
            return QUERY_IS_REPLY
        at = skip_space(request, name_end + 1, end)
        if at >= end or request[at] != _COLON:
            return QUERY_MALFORMED
        at = skip_space(request, at + 1, end)
        last_byte = 0xFF if member == _API_KEY else _ASCII_LAST
        kind = _scan_value(assets, request, at, end, last_byte, query, wanted)
        if kind == _SYNTAX_ERROR:
            return QUERY_MALFORMED
        taken = QUERY_BAD_MEMBER
        if member >= 0 and seen & (1 << member) == 0:
            seen |= 1 << member
            taken = _take_member(member, kind, assets, exchanges, request, query, wanted)
        elif member == _API_KEY:
            taken = QUERY_TWO_KEYS
        if taken != QUERY_OK and (result == QUERY_OK or taken == QUERY_TWO_KEYS):
            result = taken
            query[BAD_START], query[BAD_END] = name_start, name_end
        at = skip_space(request, query[_VALUE_END], end)
        if at >= end or (request[at] != _COMMA and request[at] != _CLOSE):
            return QUERY_MALFORMED
        if request[at] == _CLOSE:
            break
        at = skip_space(request, at + 1, end)
    if skip_space(request, at + 1, end) != end:
        return QUERY_MALFORMED
    return QUERY_NO_ASSET if result == QUERY_OK and query[COUNT] == 0 else result


@compiled
def _take_member(
    member: int, kind: int, assets: Names, exchanges: Names, request: Octets, query: Integers, wanted: Integers
) -> int:
    """Check one member's value and keep it."""
    start, end = query[_VALUE_START], query[_VALUE_END]
    if member == _ID and kind in (_NUMBER, _STRING) and end - start <= UDP_ID_BYTES_MAX + 2:
        query[ID_START], query[ID_END] = start, end
        return QUERY_OK
    if member == _API_KEY:
        quote = 1 if kind == _STRING else 0
        query[KEY_START], query[KEY_END] = start + quote, end - quote
        return QUERY_OK
    if member == _ASSETS and kind == _LIST and query[COUNT] == 0 and query[_VALUE_COUNT] > 0:
        query[COUNT], query[IS_LIST] = query[_VALUE_COUNT], 1
        return QUERY_OK
    if member == _ASSET and kind == _STRING and query[COUNT] == 0:
        wanted[0, 0] = find_name(assets, request, start + 1, end - 1)
        wanted[0, 1], wanted[0, 2] = start + 1, end - 1
        query[COUNT] = 1
        return QUERY_OK
    if member == _EXCHANGE and kind == _STRING:
        query[EXCHANGE] = find_name(exchanges, request, start + 1, end - 1)
        return QUERY_BAD_EXCHANGE if query[EXCHANGE] == UNKNOWN else QUERY_OK
    limit = BAD_NUMBER
    if kind == _NUMBER and member in (_MAX_AGE_MS, _MIN_SOURCES):
        limit = parse_integer(request, start, end)
    elif kind == _NUMBER and member == _MAX_CONF_BPS:
        limit = parse_decimal(request, start, end, 3)
    if limit < 1:
        return QUERY_BAD_MEMBER
    query[MAX_AGE_MS + member - _MAX_AGE_MS] = min(limit, _LIMIT_MAX)
    return QUERY_OK


@compiled
def _member_of(request: Octets, start: int, end: int) -> int:
    """Index in _MEMBERS of the name `request[start:end]`, -1 when it is none of them."""
    for member in range(len(_MEMBERS)):
        first = _NAME_BOUNDS[member]
        if _equals(request, start, end, _NAMES, first, _NAME_BOUNDS[member + 1]):
            return member
    return -1


@compiled
def _equals(request: Octets, start: int, end: int, text: Octets, text_start: int, text_end: int) -> bool:
    if end - start != text_end - text_start:
        return False
    for i in range(end - start):  # noqa: SIM110 - a generator expression does not compile
        if request[start + i] != text[text_start + i]:
            return False
    return True


# --- the grammar: each `scan` returns the position behind what it read ----------------------------------------


@compiled
def skip_space(request: Octets, at: int, end: int) -> int:
    """The next byte that is no JSON white space, `end` when there is none."""
    while at < end and byte_at(request, at) in _SPACES:
        at += 1
    return at


@compiled
def _scan_value(
    assets: Names, request: Octets, at: int, end: int, last_byte: int, query: Integers, wanted: Integers
) -> int:
    """The kind of the value at `at`; its range goes to the query, the names of a list to `wanted`.

    A string may hold bytes up to `last_byte`, and escapes where that is no longer ASCII.
    """
    if at >= end:
        return _SYNTAX_ERROR
    kind = _LITERAL
    first = byte_at(request, at)
    if first == _QUOTE:
        kind = _STRING
        value_end = _scan_string(request, at, end, last_byte)
    elif first == _OPEN_LIST:
        kind = _LIST
        value_end = _scan_list(assets, request, at, end, query, wanted)
    elif first == _MINUS or _ZERO <= first <= _NINE:
        kind = _NUMBER
        value_end = _scan_number(request, at, end)
    else:
        value_end = _scan_literal(request, at, end)
    query[_VALUE_START], query[_VALUE_END] = at, value_end
    return _SYNTAX_ERROR if value_end == _SYNTAX_ERROR else kind


@compiled
def _scan_string(request: Octets, at: int, end: int, last_byte: int) -> int:
    if at >= end or request[at] != _QUOTE:
        return _SYNTAX_ERROR
    is_escaped = False
    for i in range(at + 1, end):
        byte = byte_at(request, i)
        if byte == _QUOTE and not is_escaped:
            return i + 1
        if byte < 0x20 or byte == _DELETE or byte > last_byte or (byte == _BACKSLASH and last_byte == _ASCII_LAST):
            return _SYNTAX_ERROR
        is_escaped = byte == _BACKSLASH and not is_escaped
    return _SYNTAX_ERROR


@compiled
def _scan_number(request: Octets, at: int, end: int) -> int:
    """RFC 8259, section 6: [-] int [frac] [exp], no leading zero."""
    if request[at] == _MINUS:
        at += 1
    whole = at
    at = _scan_digits(request, at, end)
    if at == whole or (at - whole > 1 and request[whole] == _ZERO):
        return _SYNTAX_ERROR
    if at < end and request[at] == _POINT:
        fraction = at + 1
        at = _scan_digits(request, fraction, end)
        if at == fraction:
            return _SYNTAX_ERROR
    if at < end and (request[at] == _SMALL_E or request[at] == _LARGE_E):
        at += 1
        if at < end and (request[at] == _MINUS or request[at] == _PLUS):
            at += 1
        exponent = at
        at = _scan_digits(request, exponent, end)
        if at == exponent:
            return _SYNTAX_ERROR
    return at


@compiled
def _scan_digits(request: Octets, at: int, end: int) -> int:
    while at < end and _ZERO <= byte_at(request, at) <= _NINE:
        at += 1
    return at


@compiled
def _scan_literal(request: Octets, at: int, end: int) -> int:
    for which in range(_LITERAL_BOUNDS.size - 1):
        first, last = _LITERAL_BOUNDS[which], _LITERAL_BOUNDS[which + 1]
        literal_end: int = at + last - first
        if literal_end <= end and _equals(request, at, literal_end, _LITERALS, first, last):
            return literal_end
    return _SYNTAX_ERROR


@compiled
def _scan_list(assets: Names, request: Octets, at: int, end: int, query: Integers, wanted: Integers) -> int:
    """A list of strings; more than `wanted` holds count as none, so that the member is refused by name."""
    query[_VALUE_COUNT] = 0
    count = 0
    at = skip_space(request, at + 1, end)
    if at < end and request[at] == _CLOSE_LIST:
        return at + 1
    while True:
        string_end = _scan_string(request, at, end, _ASCII_LAST)
        if string_end == _SYNTAX_ERROR:
            return _SYNTAX_ERROR
        if count < wanted.shape[0]:
            wanted[count, 0] = find_name(assets, request, at + 1, string_end - 1)
            wanted[count, 1], wanted[count, 2] = at + 1, string_end - 1
        count += 1
        at = skip_space(request, string_end, end)
        if at >= end or (request[at] != _COMMA and request[at] != _CLOSE_LIST):
            return _SYNTAX_ERROR
        if request[at] == _CLOSE_LIST:
            query[_VALUE_COUNT] = count if count <= wanted.shape[0] else 0
            return at + 1
        at = skip_space(request, at + 1, end)
