"""Why a datagram is not answered with prices, as the reply says it: codes, statuses, and the forms that fit. Compiled.

Rules: the codes are those of HTTP. A reply to a sender that is not trusted is no longer than its request: a refusal of
the gate then loses its message, everything else becomes `pad_request`, and there is nothing where that does not fit.
"""

import numpy as np

from trinity.access.gate import Gate
from trinity.access.limit_headers import retry_after_ms
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
from trinity.vocabulary import ACCESS_REFUSALS, CODES, HTTP_STATUSES, problem_for
from workers.request.answer import append_shown
from workers.request.ledger import TALLY_CODE, UsageRecorder, note_error
from workers.request.udp import json
from workers.request.udp.frame import FRAME_BAD_REQUEST, FRAME_BAD_VERSION, FRAME_PAD_REQUEST

# Status as on HTTP, code, message. The last are the refusals of the gate, in the order of vocabulary.CODES.
_PROBLEMS = (
    problem_for("bad_request", "udp_text"),
    problem_for("bad_request", "udp_json"),
    problem_for("bad_parameter"),
    problem_for("missing_asset", "udp"),
    problem_for("unknown_exchange", "udp"),
    problem_for("pad_request"),
    problem_for("missing_key", "udp"),
    *map(problem_for, ACCESS_REFUSALS[1:]),
)
NO_PROBLEM = -1
BAD_TEXT, BAD_JSON, BAD_PARAMETER, MISSING_ASSET, UNKNOWN_EXCHANGE, PAD_REQUEST, MISSING_KEY = range(7)
ADDRESS_BLOCKED = MISSING_KEY + ACCESS_REFUSALS.index("address_blocked")
_PROBLEM_STATUS = np.array([HTTP_STATUSES.index(str(problem.status)) for problem in _PROBLEMS], dtype=np.int64)
_PROBLEM_CODE = np.array([CODES.index(problem.code) for problem in _PROBLEMS], dtype=np.int64)
_FIRST_ACCESS_CODE = CODES.index("missing_key")
assert tuple(_PROBLEM_CODE[MISSING_KEY:]) == tuple(range(_FIRST_ACCESS_CODE, _FIRST_ACCESS_CODE + len(ACCESS_REFUSALS)))
_CODE_OF_FRAME = np.zeros(FRAME_PAD_REQUEST, dtype=np.int64)
_CODE_OF_FRAME[FRAME_BAD_REQUEST], _CODE_OF_FRAME[FRAME_BAD_VERSION] = (
    CODES.index(code) for code in ("bad_request", "bad_version")
)

# Without the last quote: more may follow.
_TEXTS, _TEXT_BOUNDS = pack_texts([f'{{"error":{{{problem.members[:-1]}'.encode() for problem in _PROBLEMS])
_SHORT_TEXTS, _SHORT_BOUNDS = pack_texts([f'{{"error":{{"code":"{problem.code}"}}}}'.encode() for problem in _PROBLEMS])
_TEXT_END = octets_of(b'"}}')
_FIELD = octets_of(b'","field":"')
_BYTES = octets_of(b'","bytes":')
_NUMBER_END = octets_of(b"}}")
_RETRY_AFTER = octets_of(b'","retry_after_ms":')
_ID = octets_of(b'{"id":')
(_COMMA,) = b","


@compiled
def note_problem(ledger: UsageRecorder, problem: int) -> None:
    """The usage record is of this problem."""
    note_error(ledger, _PROBLEM_STATUS[problem], _PROBLEM_CODE[problem])


@compiled
def note_bad_frame(ledger: UsageRecorder, frame_status: int) -> None:
    """The usage record is of a frame that cannot be read."""
    note_error(ledger, _PROBLEM_STATUS[BAD_TEXT], _CODE_OF_FRAME[frame_status])


@compiled
def is_refusal_of_access(code: int) -> bool:
    """Whether a code of vocabulary.CODES is one of the gate's."""
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
    gate: Gate, ledger: UsageRecorder, query: Integers, request: Octets, problem: int, reply: Octets, at: int
) -> int:
    """Append the error object of a request that cannot be answered."""
    note_problem(ledger, problem)
    body = write_id(query, request, reply, at)
    end = append_packed(_TEXTS, _TEXT_BOUNDS, problem, reply, body)
    if problem == BAD_PARAMETER:
        end = append_octets(_FIELD, reply, end)
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
def shorten(
    ledger: UsageRecorder, query: Integers, request: Octets, needed: int, size: int, reply: Octets, at: int
) -> int:
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
