"""One request datagram in, one reply datagram out. Pure, compiled; docs/protocol.md is the protocol, byte for byte.

The loop calls, once a worker:

    desk = make_desk(table_words, assets, exchanges)             tables and scratch memory
    networks = trusted_networks(config.udp_trusted_networks)     networks.py

and once a datagram, with the request in `request[start:end]` and UDP_REPLY_BYTES_MAX free bytes at `reply[at:]`:

    trusted = is_trusted(networks, addresses, address_at)        networks.py
    length, result, lookups = answer_datagram(desk, request, start, end, reply, at, trusted, now_ns)

`length` is 0 when nothing is to be sent, `result` the index in metrics.UDP_RESULTS, `lookups` the prices looked up.
A receive buffer should hold one byte more than UDP_REQUEST_BYTES_MAX, so that an oversized datagram is seen as such.

The first byte tells the protocol: `{` is JSON (datagram_json.py), 0xD7 a frame (datagram_frame.py), all else text.

Rules: nothing that a client sends raises. To a sender that is not trusted the reply is never longer than the request:
a longer one becomes the coded reply `pad_request`, and nothing if even that is too long. What looks like a reply (an
error object, an answer frame) is never answered, so that two nodes cannot be set to answering each other for ever.
"""

from typing import NamedTuple

import numpy as np

from trinity import metrics
from trinity.compiled import compiled, compiled_inline
from trinity.limits import (
    API_KEY_BYTES_MAX,
    UDP_ASSETS_MAX,
    UDP_ID_BYTES_MAX,
    UDP_REPLY_BYTES_MAX,
    UDP_REQUEST_BYTES_MAX,
)
from trinity.memory.atomics import Words
from workers.request import datagram_json as json
from workers.request.answer import (
    CONSENSUS,
    PRICE_BYTES_MAX,
    UNKNOWN,
    Names,
    Record,
    find_name,
    judge,
    make_record,
    parse_assets,
    read_answer,
    row_of,
    write_price,
    write_prices,
    write_unknown_asset,
)
from workers.request.datagram_frame import (
    FRAME_OK,
    FRAME_PAD_REQUEST,
    MAGIC_BYTE,
    answer_frame,
    write_frame_status,
)
from workers.request.octets import (
    Integers,
    Octets,
    append_byte,
    append_integer,
    append_octets,
    append_packed,
    append_slice,
    byte_at,
    octets_of,
    pack_texts,
)

ANSWERED, ERROR, DROPPED = (metrics.UDP_RESULTS.index(result) for result in ("answered", "error", "dropped"))

_PROBLEMS = (
    ("bad_request", "text is BTC or BTC,ETH with 1 to 64 names"),
    ("bad_request", "JSON is one flat object of plain strings, numbers and lists"),
    ("bad_parameter", "unknown, repeated or malformed parameter"),
    ("missing_asset", "say which asset"),
    ("unknown_exchange", "no such exchange; GET /assets lists them"),
    ("pad_request", "the reply is longer than the request"),
)
_BAD_TEXT, _BAD_JSON, _BAD_PARAMETER, _MISSING_ASSET, _UNKNOWN_EXCHANGE, _PAD_REQUEST = range(len(_PROBLEMS))
_PROBLEM_OF_QUERY = np.zeros(6, dtype=np.int64)
_PROBLEM_OF_QUERY[json.QUERY_MALFORMED] = _BAD_JSON
_PROBLEM_OF_QUERY[json.QUERY_BAD_MEMBER] = _BAD_PARAMETER
_PROBLEM_OF_QUERY[json.QUERY_NO_ASSET] = _MISSING_ASSET
_PROBLEM_OF_QUERY[json.QUERY_BAD_EXCHANGE] = _UNKNOWN_EXCHANGE

_TEXTS, _TEXT_BOUNDS = pack_texts(
    [f'{{"error":{{"code":"{code}","message":"{message}'.encode() for code, message in _PROBLEMS]
)
_TEXT_END = octets_of(b'"}}')
_PARAMETER = octets_of(b'","parameter":"')
_BYTES = octets_of(b'","bytes":')
_NUMBER_END = octets_of(b"}}")
_SHORT_PAD_REQUEST = octets_of(b'{"error":{"code":"pad_request"}}')
_ID = octets_of(b'{"id":')
_KEY = octets_of(b"key=")
_OPEN, _COMMA, _SPACE, _AT_SIGN = b"{, @"
# What may be shown of a member's name; the names that are known are shorter.
_MEMBER_BYTES_SHOWN = 32

# The id and the frame of the list come on top of the prices; the id's quotes count.
assert UDP_ASSETS_MAX * PRICE_BYTES_MAX + UDP_ID_BYTES_MAX + 32 <= UDP_REPLY_BYTES_MAX


class Desk(NamedTuple):
    """The shared table, the names and the scratch memory of one worker's datagrams."""

    table_words: Words
    assets: Names
    exchanges: Names
    record: Record
    wanted: Integers
    query: Integers


def make_desk(table_words: Words, assets: Names, exchanges: Names) -> Desk:
    """`table_words` is AnswerTable.words; the names come from answer.make_names."""
    wanted = np.zeros((UDP_ASSETS_MAX, 3), dtype=np.int64)
    query = np.zeros(json.QUERY_WORDS, dtype=np.int64)
    return Desk(table_words, assets, exchanges, make_record(), wanted, query)


@compiled_inline
def answer_datagram(
    desk: Desk, request: Octets, start: int, end: int, reply: Octets, at: int, trusted: bool, now_ns: int
) -> tuple[int, int, int]:
    """(bytes written to `reply[at:]`, ANSWERED, ERROR or DROPPED, prices looked up); see the module's docstring."""
    size = end - start
    if size < 1 or size > UDP_REQUEST_BYTES_MAX:
        return 0, DROPPED, 0
    if byte_at(request, start) == MAGIC_BYTE:
        reply_end, status, lookups = answer_frame(
            desk.table_words, desk.record, desk.assets, desk.exchanges, request, start, end, reply, at, now_ns
        )
        if not trusted and reply_end - at > size:
            reply_end = write_frame_status(request, start, FRAME_PAD_REQUEST, reply, at)
            status = FRAME_PAD_REQUEST
        result = ANSWERED if status == FRAME_OK else ERROR
        return reply_end - at, result if reply_end > at else DROPPED, lookups
    desk.query[:] = 0
    data_end = _trimmed(request, start, end)
    data_start = json.skip_space(request, start, data_end)
    if data_start < data_end and request[data_start] == _OPEN:
        reply_end, result, lookups = _answer_json(desk, request, data_start, data_end, reply, at, now_ns)
    else:
        reply_end, result, lookups = _answer_text(desk, request, data_start, data_end, reply, at, now_ns)
    if not trusted and reply_end - at > size:
        reply_end = _ask_for_padding(desk, request, reply_end - at, size, reply, at)
        result = ERROR if reply_end > at else DROPPED
    return reply_end - at, result, lookups


# --- text: NAMES[@EXCHANGE][ key=KEY] -------------------------------------------------------------------------


@compiled_inline
def _answer_text(
    desk: Desk, request: Octets, start: int, end: int, reply: Octets, at: int, now_ns: int
) -> tuple[int, int, int]:
    if start == end:
        return _write_problem(desk, request, _MISSING_ASSET, reply, at), ERROR, 0
    names_end = _find(request, start, end, _SPACE)
    if names_end < end and not _is_key(request, names_end + 1, end):
        return _write_problem(desk, request, _BAD_TEXT, reply, at), ERROR, 0
    for i in range(start, names_end):
        if not 0x20 < byte_at(request, i) < 0x7F:
            return _write_problem(desk, request, _BAD_TEXT, reply, at), ERROR, 0
    assets_end = _find(request, start, names_end, _AT_SIGN)
    desk.query[json.EXCHANGE] = CONSENSUS
    if assets_end < names_end:
        desk.query[json.EXCHANGE] = find_name(desk.exchanges, request, assets_end + 1, names_end)
        if desk.query[json.EXCHANGE] == UNKNOWN:
            return _write_problem(desk, request, _UNKNOWN_EXCHANGE, reply, at), ERROR, 0
    count = parse_assets(desk.assets, request, start, assets_end, desk.wanted)
    if count < 1:
        return _write_problem(desk, request, _BAD_TEXT, reply, at), ERROR, 0
    desk.query[json.COUNT] = count
    desk.query[json.IS_LIST] = 1 if count > 1 else 0
    return _write_answer(desk, request, reply, at, now_ns), ANSWERED, count


@compiled
def _is_key(request: Octets, start: int, end: int) -> bool:
    """Whether this is `key=` and a key: no space, no control bytes."""
    length = end - start - _KEY.size
    if length < 1 or length > API_KEY_BYTES_MAX:
        return False
    for i in range(start, end):
        byte = byte_at(request, i)
        if byte <= 0x20 or byte > 0x7E or (i - start < _KEY.size and byte != byte_at(_KEY, i - start)):
            return False
    return True


@compiled
def _find(request: Octets, start: int, end: int, byte: int) -> int:
    """Where `byte` first stands, `end` when it does not."""
    for i in range(start, end):
        if request[i] == byte:
            return i
    return end


@compiled
def _trimmed(request: Octets, start: int, end: int) -> int:
    """The end without padding: white space and zero bytes."""
    while end > start and (request[end - 1] == 0 or json.skip_space(request, end - 1, end) == end):
        end -= 1
    return end


# --- JSON -----------------------------------------------------------------------------------------------------


@compiled
def _answer_json(
    desk: Desk, request: Octets, start: int, end: int, reply: Octets, at: int, now_ns: int
) -> tuple[int, int, int]:
    query = desk.query
    outcome = json.parse_query(desk.assets, desk.exchanges, request, start, end, query, desk.wanted)
    if outcome == json.QUERY_IS_REPLY:
        return at, DROPPED, 0
    if outcome != json.QUERY_OK:
        return _write_problem(desk, request, _PROBLEM_OF_QUERY[outcome], reply, at), ERROR, 0
    return _write_answer(desk, request, reply, at, now_ns), ANSWERED, query[json.COUNT]


@compiled_inline
def _write_answer(desk: Desk, request: Octets, reply: Octets, at: int, now_ns: int) -> int:
    """Append the object of one asset, or `{"prices":[...]}`, as the query has it."""
    query = desk.query
    max_age_ms, min_sources = query[json.MAX_AGE_MS], query[json.MIN_SOURCES]
    max_conf, exchange = query[json.MAX_CONF_MILLI_BPS], query[json.EXCHANGE]
    body = _write_id(query, request, reply, at)
    if query[json.IS_LIST] == 1:
        end = write_prices(
            desk.table_words, desk.record, desk.assets, desk.exchanges, request, desk.wanted, query[json.COUNT],
            exchange, now_ns, max_age_ms, min_sources, max_conf, reply, body,
        )  # fmt: skip
    elif desk.wanted[0, 0] == UNKNOWN:
        end = write_unknown_asset(request, desk.wanted[0, 1], desk.wanted[0, 2], reply, body)
    else:
        asset = desk.wanted[0, 0]
        read_answer(desk.table_words, row_of(desk.exchanges, asset, exchange), desk.record)
        verdict = judge(desk.record, now_ns, max_age_ms, min_sources, max_conf)
        end = write_price(desk.record, verdict, desk.assets, asset, now_ns, reply, body)
    return _join_id(reply, at, body, end)


@compiled
def _write_problem(desk: Desk, request: Octets, problem: int, reply: Octets, at: int) -> int:
    """Append the error object of a request that cannot be answered."""
    query = desk.query
    body = _write_id(query, request, reply, at)
    end = append_packed(_TEXTS, _TEXT_BOUNDS, problem, reply, body)
    if problem == _BAD_PARAMETER:
        shown = min(query[json.BAD_END] - query[json.BAD_START], _MEMBER_BYTES_SHOWN)
        end = append_octets(_PARAMETER, reply, end)
        end = append_slice(request, query[json.BAD_START], shown, reply, end)
    end = append_octets(_TEXT_END, reply, end)
    return _join_id(reply, at, body, end)


@compiled
def _write_id(query: Integers, request: Octets, reply: Octets, at: int) -> int:
    """Append `{"id":7` when the request has an id: the object that follows is then joined by `_join_id`."""
    length = query[json.ID_END] - query[json.ID_START]
    if length == 0:
        return at
    return append_slice(request, query[json.ID_START], length, reply, append_octets(_ID, reply, at))


@compiled
def _join_id(reply: Octets, at: int, body: int, end: int) -> int:
    """Turn the object's opening brace into a comma when the id stands before it."""
    if body > at:
        append_byte(_COMMA, reply, body)
    return end


# --- no amplification -----------------------------------------------------------------------------------------


@compiled
def _ask_for_padding(desk: Desk, request: Octets, needed: int, size: int, reply: Octets, at: int) -> int:
    """The longest form of `pad_request` that fits `size` bytes: with the length needed, without, or nothing."""
    body = _write_id(desk.query, request, reply, at)
    end = append_packed(_TEXTS, _TEXT_BOUNDS, _PAD_REQUEST, reply, body)
    end = append_integer(needed, reply, append_octets(_BYTES, reply, end))
    end = append_octets(_NUMBER_END, reply, end)
    if end - at <= size:
        return _join_id(reply, at, body, end)
    end = append_octets(_SHORT_PAD_REQUEST, reply, body)
    return _join_id(reply, at, body, end) if end - at <= size else at
