"""One request datagram in, one reply datagram out. Pure, compiled; docs/protocol.md is the protocol, byte for byte.

The loop calls, once per worker:

    context = make_datagram_context(request_context)             tables and scratch memory
    networks = trusted_networks(config.udp_trusted_networks)     networks.py

and once per datagram, with the sender in `context.caller`, the request in `request[start:end]` and UDP_REPLY_BYTES_MAX
free bytes at `reply[at:]`:

    trusted = is_inside(networks, addresses, address_at)         networks.py
    length, result, lookups = answer_datagram(context, request, start, end, reply, at, trusted, now_ns)

`length` is 0 when nothing is to be sent, `result` the index in UDP_RESULTS, or PARKED: it waits for an asset that is
being looked for, and the same bytes are given again later (parked.py). `lookups` are the prices looked up.
What the answer is, is noted in `desk.ledger`. A receive buffer should hold one byte more than UDP_REQUEST_BYTES_MAX,
so that an oversized datagram is seen as such.

The first byte tells the protocol: `{` is JSON (json.py), 0xD7 a frame (frame.py), all else text.

Rules: nothing that a client sends raises. Who may not ask is told so before what is wrong with the question. Without
a good key a sender that is not trusted gets no reply longer than its request: a longer one becomes the coded reply
`pad_request`, a refusal loses its message, and if even that is too long there is nothing. What looks like a reply (an
error object, an answer frame) is never answered, so that two nodes cannot be set to answering each other forever.
"""

import numpy as np

from trinity.access.charge import MISTAKE
from trinity.access.gate import KEY_ID
from trinity.compiled import compiled, compiled_inline
from trinity.limits import (
    UDP_REQUEST_BYTES_MAX,
)
from trinity.native.octets import Octets, byte_at, octets_of
from trinity.vocabulary import CODE_OK, UDP_BINARY, UDP_JSON, UDP_TEXT
from workers.request.admission import admit_caller, is_barred
from workers.request.answer import (
    CONSENSUS,
    UNKNOWN,
    find_name,
    parse_assets,
)
from workers.request.beyond import IS_AGAIN
from workers.request.forwarded import ADDRESS
from workers.request.ledger import TALLY_CODE, TALLY_KEY, begin, note_name, note_prices
from workers.request.udp import json
from workers.request.udp.context import ANSWERED, DROPPED, ERROR, PARKED, DatagramContext
from workers.request.udp.frame import (
    COUNT_AT,
    FRAME_MISSING_KEY,
    FRAME_OK,
    FRAME_PAD_REQUEST,
    FRAME_WAITS,
    HEADER_BYTES,
    MAGIC_BYTE,
    answer_frame,
    check_frame,
    end_of_name,
    frame_key,
    is_request_frame,
    write_frame_status,
)
from workers.request.udp.problems import (
    ADDRESS_BLOCKED,
    BAD_JSON,
    BAD_PARAMETER,
    BAD_TEXT,
    MISSING_ASSET,
    MISSING_KEY,
    NO_PROBLEM,
    PAD_REQUEST,
    UNKNOWN_EXCHANGE,
    is_refusal_of_access,
    note_bad_frame,
    note_problem,
    problem_of_access,
    shorten,
    wait_ms_of,
    write_problem,
)
from workers.request.udp.query import answer_query, charge_sender

_PROBLEM_OF_QUERY = np.zeros(6, dtype=np.int64)
_PROBLEM_OF_QUERY[json.QUERY_BAD_MEMBER] = BAD_PARAMETER
_PROBLEM_OF_QUERY[json.QUERY_NO_ASSET] = MISSING_ASSET
_PROBLEM_OF_QUERY[json.QUERY_BAD_EXCHANGE] = UNKNOWN_EXCHANGE

_KEY = octets_of(b"key=")
_OPEN, _SPACE, _AT_SIGN = b"{ @"


@compiled_inline
def answer_datagram(
    context: DatagramContext, request: Octets, start: int, end: int, reply: Octets, at: int, trusted: bool, now_ns: int
) -> tuple[int, int, int]:
    """(bytes written to `reply[at:]`, ANSWERED, ERROR, DROPPED or PARKED, prices looked up); see the docstring."""
    size = end - start
    if size < 1 or size > UDP_REQUEST_BYTES_MAX:
        return 0, DROPPED, 0
    if byte_at(request, start) == MAGIC_BYTE:
        begin(context.ledger, UDP_BINARY)
        reply_end, result, lookups = _answer_binary(context, request, start, end, reply, at, now_ns)
        if reply_end - at > size and not _may_be_longer(context, trusted):
            note_problem(context.ledger, PAD_REQUEST)
            reply_end = write_frame_status(request, start, FRAME_PAD_REQUEST, 0, reply, at)
            result = ERROR
        return reply_end - at, result, lookups
    context.query[:] = 0
    data_end = _trimmed(request, start, end)
    data_start = json.skip_space(request, start, data_end)
    if data_start < data_end and request[data_start] == _OPEN:
        begin(context.ledger, UDP_JSON)
        reply_end, result, lookups = _answer_json(context, request, data_start, data_end, reply, at, now_ns)
    else:
        begin(context.ledger, UDP_TEXT)
        reply_end, result, lookups = _answer_text(context, request, data_start, data_end, reply, at, now_ns)
    if reply_end - at > size and not _may_be_longer(context, trusted):
        reply_end = shorten(context.ledger, context.query, request, reply_end - at, size, reply, at)
        result = ERROR if reply_end > at else DROPPED
    return reply_end - at, result, lookups


@compiled_inline
def _may_be_longer(context: DatagramContext, trusted: bool) -> bool:
    """Whether the sender may get more bytes than it sent: who holds a good key has said who it is."""
    tally = context.ledger.tally
    return trusted or (tally[TALLY_KEY] > 0 and not is_refusal_of_access(tally[TALLY_CODE]))


@compiled_inline
def _admit(context: DatagramContext, request: Octets, key_start: int, key_end: int, now_ns: int) -> int:
    """NO_PROBLEM, or the index in _PROBLEMS of why the sender may not ask; who waited was let in when it came."""
    if context.beyond.state[IS_AGAIN] == 1:
        context.ledger.tally[TALLY_KEY] = context.gate.result[KEY_ID]
        return NO_PROBLEM
    code = admit_caller(context.gate, context.ledger, context.caller, request, key_start, key_end, False, now_ns)
    return NO_PROBLEM if code == CODE_OK else problem_of_access(code)


# --- binary ---------------------------------------------------------------------------------------------------


@compiled_inline
def _answer_binary(
    context: DatagramContext, request: Octets, start: int, end: int, reply: Octets, at: int, now_ns: int
) -> tuple[int, int, int]:
    if not is_request_frame(request, start, end):
        return at, DROPPED, 0
    status = check_frame(request, start, end)
    if status != FRAME_OK:
        if is_barred(context.gate, context.caller):
            return _refuse_frame(context, request, start, ADDRESS_BLOCKED, reply, at), ERROR, 0
        note_bad_frame(context.ledger, status)
        return write_frame_status(request, start, status, 0, reply, at), ERROR, 0
    key_start, key_end = frame_key(request, start)
    problem = _admit(context, request, key_start, key_end, now_ns)
    if problem != NO_PROBLEM:
        return _refuse_frame(context, request, start, problem, reply, at), ERROR, 0
    reply_end, lookups = answer_frame(
        context.table_words, context.record, context.assets, context.exchanges, context.beyond, context.gate,
        context.caller.words[ADDRESS : ADDRESS + 2], request, start, reply, at, now_ns,
    )  # fmt: skip
    if reply_end == FRAME_WAITS:
        return at, PARKED, 0
    problem = charge_sender(context, lookups, now_ns)
    if problem != NO_PROBLEM:
        return _refuse_frame(context, request, start, problem, reply, at), ERROR, 0
    name, count = start + HEADER_BYTES, byte_at(request, start + COUNT_AT)
    first = find_name(context.assets, request, name, end_of_name(request, name))
    note_prices(context.ledger, first, count, lookups, CONSENSUS)
    if count == 1 and first == UNKNOWN and lookups > 0:
        note_name(context.ledger, context.beyond.words)
    return reply_end, ANSWERED, count


@compiled
def _refuse_frame(context: DatagramContext, request: Octets, start: int, problem: int, reply: Octets, at: int) -> int:
    """Write the frame that says which refusal of the gate it is."""
    note_problem(context.ledger, problem)
    status = FRAME_MISSING_KEY + problem - MISSING_KEY
    return write_frame_status(request, start, status, wait_ms_of(context.gate, problem), reply, at)


# --- text: NAMES[@EXCHANGE][ key=KEY] -------------------------------------------------------------------------


@compiled_inline
def _answer_text(
    context: DatagramContext, request: Octets, start: int, end: int, reply: Octets, at: int, now_ns: int
) -> tuple[int, int, int]:
    names_end = _find(request, start, end, _SPACE)
    key_start = key_end = end
    if names_end < end:
        if not _is_key(request, names_end + 1, end):
            return _write_refusal(context, request, BAD_TEXT, reply, at), ERROR, 0
        key_start = names_end + 1 + _KEY.size
    problem = _admit(context, request, key_start, key_end, now_ns)
    if problem == NO_PROBLEM:
        problem = _parse_names(context, request, start, names_end)
        if problem != NO_PROBLEM:
            problem = _of_mistake(context, problem, now_ns)
    return answer_query(context, problem, request, reply, at, now_ns)


@compiled_inline
def _parse_names(context: DatagramContext, request: Octets, start: int, end: int) -> int:
    """NO_PROBLEM with the names in `context.wanted` and the rest in `context.query`, or what is wrong."""
    if start == end:
        return MISSING_ASSET
    for i in range(start, end):
        if not 0x20 < byte_at(request, i) < 0x7F:
            return BAD_TEXT
    assets_end = _find(request, start, end, _AT_SIGN)
    context.query[json.EXCHANGE] = CONSENSUS
    if assets_end < end:
        context.query[json.EXCHANGE] = find_name(context.exchanges, request, assets_end + 1, end)
        if context.query[json.EXCHANGE] == UNKNOWN:
            return UNKNOWN_EXCHANGE
    count = parse_assets(context.assets, request, start, assets_end, context.wanted)
    if count < 1:
        return BAD_TEXT
    context.query[json.COUNT] = count
    context.query[json.IS_LIST] = 1 if count > 1 else 0
    return NO_PROBLEM


@compiled
def _is_key(request: Octets, start: int, end: int) -> bool:
    """Whether this is `key=` and a key, or none: no space, no control bytes; its length and the rest are the gate's."""
    if end - start < _KEY.size:
        return False
    for i in range(start, end):
        byte = byte_at(request, i)
        if byte <= 0x20 or byte == 0x7F or (i - start < _KEY.size and byte != byte_at(_KEY, i - start)):
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
    context: DatagramContext, request: Octets, start: int, end: int, reply: Octets, at: int, now_ns: int
) -> tuple[int, int, int]:
    query = context.query
    outcome = json.parse_query(context.assets, context.exchanges, request, start, end, query, context.wanted)
    if outcome == json.QUERY_IS_REPLY:
        return at, DROPPED, 0
    if outcome in (json.QUERY_MALFORMED, json.QUERY_TWO_KEYS):
        problem = BAD_JSON if outcome == json.QUERY_MALFORMED else BAD_PARAMETER
        return _write_refusal(context, request, problem, reply, at), ERROR, 0
    problem = _admit(context, request, query[json.KEY_START], query[json.KEY_END], now_ns)
    if problem == NO_PROBLEM and outcome != json.QUERY_OK:
        problem = _of_mistake(context, _PROBLEM_OF_QUERY[outcome], now_ns)
    return answer_query(context, problem, request, reply, at, now_ns)


# --- both -----------------------------------------------------------------------------------------------------


@compiled
def _of_mistake(context: DatagramContext, problem: int, now_ns: int) -> int:
    """The problem of a sender that was let in, or that it has made too many of them."""
    refusal = charge_sender(context, MISTAKE, now_ns)
    return problem if refusal == NO_PROBLEM else refusal


@compiled
def _write_refusal(context: DatagramContext, request: Octets, problem: int, reply: Octets, at: int) -> int:
    """As `write_problem`, for what has no key, or too many: nobody but a blocked sender is asked who they are."""
    blocked = is_barred(context.gate, context.caller)
    return write_problem(
        context.gate, context.ledger, context.query, request, ADDRESS_BLOCKED if blocked else problem, reply, at
    )
