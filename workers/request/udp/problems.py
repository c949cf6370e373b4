"""Why a datagram is not answered with prices, as the reply says it: codes, statuses, and the forms that fit. Compiled.

Rules: the codes are those of HTTP. A reply to a sender that is not trusted is no longer than its request: a refusal of
the gate then loses its message, everything else becomes `pad_request`, and there is nothing where that does not fit.
"""

import numpy as np

from trinity.access.gate import Gate
from trinity.compiled import compiled
from trinity.native.octets import (
    Integers,
    Octets,
    append_byte,
    append_integer,
    append_octets,
    append_packed,
    append_slice,
    octets_of,
    pack_texts,
)
from trinity.observe import metrics
from trinity.outcomes import CODES
from workers.request.admission import retry_after_ms
from workers.request.answer import append_shown
from workers.request.ledger import TALLY_CODE, Ledger, note_error
from workers.request.udp import json
from workers.request.udp.frame import FRAME_BAD_REQUEST, FRAME_BAD_VERSION, FRAME_PAD_REQUEST

# Status as on HTTP, code, message. The last eight are the refusals of the gate, in the order of outcomes.CODES.
_PROBLEMS = (
    (400, "bad_request", "text is BTC or BTC,ETH with 1 to 64 names"),
    (400, "bad_request", "JSON is one flat object of plain strings, numbers and lists"),
    (400, "bad_parameter", "unknown, repeated or malformed parameter"),
    (400, "missing_asset", "say which asset"),
    (404, "unknown_exchange", "no such exchange; GET /assets lists them"),
    (400, "pad_request", "the reply is longer than the request"),
    (401, "missing_key", "an API key is needed: key= in text, api_key in JSON"),
    (401, "invalid_key", "there is no such API key"),
    (403, "key_revoked", "this API key was revoked"),
    (403, "key_suspended", "this API key is suspended"),
    (403, "address_blocked", "this address is blocked"),
    (429, "rate_limited", "too many requests a second"),
    (429, "quota_exceeded", "this month has fewer lookups left than were asked for"),
    (503, "keys_unavailable", "the API keys are not loaded yet"),
)
NO_PROBLEM = -1
BAD_TEXT, BAD_JSON, BAD_PARAMETER, MISSING_ASSET, UNKNOWN_EXCHANGE, PAD_REQUEST, MISSING_KEY = range(7)
ADDRESS_BLOCKED = MISSING_KEY + 4
_PROBLEM_STATUS = np.array([metrics.HTTP_STATUSES.index(str(status)) for status, _, _ in _PROBLEMS], dtype=np.int64)
_PROBLEM_CODE = np.array([CODES.index(code) for _, code, _ in _PROBLEMS], dtype=np.int64)
_FIRST_ACCESS_CODE = CODES.index("missing_key")
assert tuple(_PROBLEM_CODE[MISSING_KEY:]) == tuple(range(_FIRST_ACCESS_CODE, _FIRST_ACCESS_CODE + 8))
_CODE_OF_FRAME = np.zeros(FRAME_PAD_REQUEST, dtype=np.int64)
_CODE_OF_FRAME[FRAME_BAD_REQUEST], _CODE_OF_FRAME[FRAME_BAD_VERSION] = (
    CODES.index(code) for code in ("bad_request", "bad_version")
)

_TEXTS, _TEXT_BOUNDS = pack_texts(
    [f'{{"error":{{"code":"{code}","message":"{message}'.encode() for _, code, message in _PROBLEMS]
)
_SHORT_TEXTS, _SHORT_BOUNDS = pack_texts([f'{{"error":{{"code":"{code}"}}}}'.encode() for _, code, _ in _PROBLEMS])
_TEXT_END = octets_of(b'"}}')
_PARAMETER = octets_of(b'","parameter":"')
_BYTES = octets_of(b'","bytes":')
_NUMBER_END = octets_of(b"}}")
_RETRY_AFTER = octets_of(b'","retry_after_ms":')
_ID = octets_of(b'{"id":')
(_COMMA,) = b","


@compiled
def note_problem(ledger: Ledger, problem: int) -> None:
    """The usage record is of this problem."""
    note_error(ledger, _PROBLEM_STATUS[problem], _PROBLEM_CODE[problem])


@compiled
def note_bad_frame(ledger: Ledger, frame_status: int) -> None:
    """The usage record is of a frame that cannot be read."""
    note_error(ledger, _PROBLEM_STATUS[BAD_TEXT], _CODE_OF_FRAME[frame_status])


@compiled
def is_refusal_of_access(code: int) -> bool:
    """Whether a code of outcomes.CODES is one of the gate's."""
    return 0 <= code - _FIRST_ACCESS_CODE < len(_PROBLEMS) - MISSING_KEY


@compiled
def problem_of_access(code: int) -> int:
    """The problem that a refusal of the gate is."""
    return MISSING_KEY + code - _FIRST_ACCESS_CODE


@compiled
def wait_ms_of(gate: Gate, problem: int) -> int:
    """When the sender may come again; 0 where no time is known."""
    return retry_after_ms(gate, _PROBLEM_CODE[problem])


@compiled
def write_problem(
    gate: Gate, ledger: Ledger, query: Integers, request: Octets, problem: int, reply: Octets, at: int
) -> int:
    """Append the error object of a request that cannot be answered."""
    note_problem(ledger, problem)
    body = write_id(query, request, reply, at)
    end = append_packed(_TEXTS, _TEXT_BOUNDS, problem, reply, body)
    if problem == BAD_PARAMETER:
        end = append_octets(_PARAMETER, reply, end)
        end = append_shown(request, query[json.BAD_START], query[json.BAD_END], reply, end)
    wait_ms = wait_ms_of(gate, problem)
    if wait_ms > 0:
        end = append_integer(wait_ms, reply, append_octets(_RETRY_AFTER, reply, end))
        end = append_octets(_NUMBER_END, reply, end)
    else:
        end = append_octets(_TEXT_END, reply, end)
    return join_id(reply, at, body, end)


@compiled
def write_id(query: Integers, request: Octets, reply: Octets, at: int) -> int:
    """Append `{"id":7` when the request has an id: the object that follows is then joined by `join_id`."""
    length = query[json.ID_END] - query[json.ID_START]
    if length == 0:
        return at
    return append_slice(request, query[json.ID_START], length, reply, append_octets(_ID, reply, at))


@compiled
def join_id(reply: Octets, at: int, body: int, end: int) -> int:
    """Turn the object's opening brace into a comma when the id stands before it."""
    if body > at:
        append_byte(_COMMA, reply, body)
    return end


@compiled
def shorten(ledger: Ledger, query: Integers, request: Octets, needed: int, size: int, reply: Octets, at: int) -> int:
    """The longest form of the answer that fits `size` bytes, nothing when none does.

    A refusal loses its message; anything else becomes `pad_request`, with the length needed or without.
    """
    code = ledger.tally[TALLY_CODE]
    body = write_id(query, request, reply, at)
    problem = problem_of_access(code)
    if not is_refusal_of_access(code):
        problem = PAD_REQUEST
        note_problem(ledger, PAD_REQUEST)
        end = append_packed(_TEXTS, _TEXT_BOUNDS, PAD_REQUEST, reply, body)
        end = append_integer(needed, reply, append_octets(_BYTES, reply, end))
        end = append_octets(_NUMBER_END, reply, end)
        if end - at <= size:
            return join_id(reply, at, body, end)
    end = append_packed(_SHORT_TEXTS, _SHORT_BOUNDS, problem, reply, body)
    return join_id(reply, at, body, end) if end - at <= size else at
