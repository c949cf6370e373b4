"""The forms of an answer to a request in a `RequestContext`: good, refused, a mistake, or told to come again. Compiled.

Rules: what is appended was noted in the ledger before; a mistake is charged here.
"""

from trinity.access.charge import MISTAKE, charge
from trinity.access.limit_headers import is_ended_by_time
from trinity.compiled import compiled
from trinity.native.octets import Octets
from trinity.vocabulary import CODE_OK
from workers.request.http.context import RequestContext
from workers.request.http.parse import METHOD, METHOD_HEAD
from workers.request.http.response import (
    append_good,
    append_limited,
    append_response,
    append_retry,
    error_code,
    error_of_access,
    error_status,
    write_error,
)
from workers.request.ledger import TALLY_STATUS, note_error


@compiled
def answer_body(context: RequestContext, body: Octets, length: int, connection: int, out: Octets, at: int) -> int:
    """Append the response with the status that was noted."""
    with_body = context.head[METHOD] != METHOD_HEAD
    status = context.ledger.tally[TALLY_STATUS]
    return append_response(status, body, length, with_body, context.stamp, connection, out, at)


@compiled
def answer_retry(
    context: RequestContext, body: Octets, length: int, wait_ms: int, connection: int, out: Octets, at: int
) -> int:
    """As `answer_body`, of a refusal that says when to come again and is none of the gate's."""
    with_body = context.head[METHOD] != METHOD_HEAD
    status = context.ledger.tally[TALLY_STATUS]
    return append_retry(status, body, length, wait_ms, with_body, context.stamp, connection, out, at)


@compiled
def answer_good(
    context: RequestContext, body: Octets, length: int, connection: int, now_ns: int, out: Octets, at: int
) -> int:
    """A list, or what costs nothing, with what is left of the caller's limits."""
    with_body = context.head[METHOD] != METHOD_HEAD
    return append_good(context.gate, body, length, with_body, context.stamp, connection, now_ns, out, at)


@compiled
def answer_mistake(context: RequestContext, error: int, connection: int, now_ns: int, out: Octets, at: int) -> int:
    """What the caller did wrong, of the errors of response.ERRORS; too many of them cost something."""
    code = charge(context.gate, MISTAKE, now_ns)
    return answer_error(context, error if code == CODE_OK else error_of_access(code), connection, out, at)


@compiled
def answer_error(context: RequestContext, error: int, connection: int, out: Octets, at: int) -> int:
    """The whole request is refused."""
    code = error_code(error)
    note_error(context.ledger, error_status(error), code)
    if is_ended_by_time(code):
        with_body = context.head[METHOD] != METHOD_HEAD
        return append_limited(context.gate, error, context.body, with_body, context.stamp, connection, out, at)
    length = write_error(error, context.body)
    return answer_body(context, context.body, length, connection, out, at)
