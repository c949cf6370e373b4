"""A parsed HTTP request -> its whole response. Pure, compiled: memory in, memory out.

The loop makes one `RequestContext` per worker (context.py) and calls `answer_request` for each head that parse.py
parsed, or `refuse`. `answer_admitted` is for other processes (lookups.py).
    GET /price?asset=BTC[&exchange=kraken][&quality]   one price: 200, or 404/503 with the last good price
    GET /prices[?assets=BTC,ETH][&exchange=][&quality] several, each with its own status
    GET /assets                                        what can be asked for
    GET /health                                        this worker's own view, short

Each of them also as /v1/...
quality = max_age_ms, min_sources, max_conf_bps. HEAD is GET without the body; OPTIONS is answered for browsers.
/health and OPTIONS need no key; all else does where keys are required, so a stranger learns nothing from it.
Rules: what the answer is, is noted in the ledger; the caller publishes the record before it sends the bytes. What it
costs the month, prices or a mistake, is charged before that too, and an answer that cannot be paid is refused. A
parameter that is unknown, repeated or malformed is refused by name: a misspelt limit must not be dropped silently.
Percent-encoding is undone in place, in the bytes of this request, which nobody reads again.
"""

import numpy as np

from trinity.access.charge import MISTAKE, charge
from trinity.access.costs import Cost, cost_of
from trinity.access.gate import COST
from trinity.compiled import compiled, compiled_inline
from trinity.native.nearest import find_nearest
from trinity.native.octets import (
    NOT_FOUND,
    Octets,
    append_byte,
    append_integer,
    append_octets,
    append_packed,
    octets_of,
    pack_texts,
)
from trinity.vocabulary import CODE_OK, HTTP, problem_for
from workers.request.admission import admit_caller, is_barred
from workers.request.answer import (
    CONSENSUS,
    GOOD,
    append_shown,
    judge,
    read_answer,
    row_of,
)
from workers.request.forwarded import find_caller, forget_forwarded
from workers.request.http.answers import answer_body, answer_error, answer_good, answer_mistake
from workers.request.http.context import RequestContext
from workers.request.http.parse import (
    KEY_END,
    KEY_START,
    METHOD,
    METHOD_GET,
    METHOD_OPTIONS,
    METHOD_OTHER,
    TARGET_END,
    TARGET_START,
)
from workers.request.http.parse import KEYS as HEADER_KEYS
from workers.request.http.price_routes import append_price, append_prices, connection_of
from workers.request.http.response import (
    ADDRESS_BLOCKED,
    BAD_ASSETS,
    BAD_TARGET,
    CONNECTION_CLOSED,
    CONNECTION_SILENT,
    KEY_REPEATED,
    METHOD_NOT_ALLOWED,
    STATUS_NO_CONTENT,
    UNKNOWN_PATH,
    append_no_content,
    append_response,
    error_code,
    error_of_access,
    error_status,
    open_body,
    write_error,
)
from workers.request.http.target import (
    API_KEY,
    BAD_ENCODING,
    BAD_NAME,
    BAD_PARAMETER,
    PATH_ASSETS,
    PATH_HEALTH,
    PATH_MALFORMED,
    PATH_PRICE,
    PATH_PRICES,
    PATH_UNKNOWN,
    PATHS,
    TAKEN_BY,
    UNKNOWN_PATH_AT,
    find_path,
    parse_query,
)
from workers.request.http.target import KEYS as QUERY_KEYS
from workers.request.ledger import (
    begin,
    note_error,
    note_status,
)

_REFUSED = problem_for("bad_parameter")
# By path, of which two look something up; up to the name that is at fault.
_TOLD = [_REFUSED._replace(text=f"{_REFUSED.text}; there are: {TAKEN_BY[path]}") for path in (PATH_PRICE, PATH_PRICES)]
_BAD_PARAMETER_BODIES, _BAD_PARAMETER_BOUNDS = pack_texts([open_body(told) + b',"field":"' for told in _TOLD])
_END_OF_ERROR = octets_of(b"}}")
_END_OF_BAD_PARAMETER = octets_of(b'"}}')
_NO_SUCH_EXCHANGE = -2

_HEALTHY, _HEALTHY_BOUNDS = pack_texts([b'{"status":"degraded"', b'{"status":"ok"'])
(_BRACE,) = b"}"
_ADMITTED = -1
# By path; what has none costs as a mistake does.
_IS_FREE = np.zeros(PATH_MALFORMED + 1, dtype=np.bool_)
_IS_FREE[: len(PATHS)] = [cost_of(path) is Cost.FREE for path in PATHS]


@compiled_inline
def answer_request(context: RequestContext, buffer: Octets, last: bool, now_ns: int, out: Octets, at: int) -> int:
    """Append the response to the request in `context.head`; the position behind it.

    `last` True: the connection ends with this answer, whatever the client wished. The caller closes it then, and
    also when `context.head[KEEP_ALIVE]` is 0.
    """
    head = context.head
    begin(context.ledger, HTTP)
    find_caller(context.caller, buffer, head)
    connection = connection_of(head, last)
    if head[METHOD] == METHOD_OPTIONS:
        if is_barred(context.gate, context.caller):
            return answer_error(context, ADDRESS_BLOCKED, connection, out, at)
        note_status(context.ledger, STATUS_NO_CONTENT)
        return append_no_content(context.stamp, connection, out, at)
    path = find_path(context.query, buffer, head[TARGET_START], head[TARGET_END])
    outcome = parse_query(context.query, buffer, head[TARGET_END], path)
    error = _refusal_of(context, buffer, path, now_ns)
    if error != _ADMITTED:
        return answer_error(context, error, connection, out, at)
    return _append_answer(context, buffer, path, outcome, connection, now_ns, out, at)


@compiled
def answer_admitted(context: RequestContext, buffer: Octets, start: int, end: int, now_ns: int, out: Octets) -> int:
    """Write the response to a GET of the target `buffer[start:end]`, of somebody who was let in elsewhere; its end.

    `context` has a gate of its own that nobody goes through: what the answer costs stands in its result.
    """
    begin(context.ledger, HTTP)
    context.gate.result[COST] = 0
    context.head[METHOD] = METHOD_GET
    path = find_path(context.query, buffer, start, end)
    outcome = parse_query(context.query, buffer, end, path)
    return _append_answer(context, buffer, path, outcome, CONNECTION_SILENT, now_ns, out, 0)


@compiled_inline
def _append_answer(
    context: RequestContext, buffer: Octets, path: int, outcome: int, connection: int, now_ns: int, out: Octets, at: int
) -> int:
    """Append the response to a caller that may ask."""
    if path == PATH_MALFORMED:
        return answer_mistake(context, BAD_TARGET, connection, now_ns, out, at)
    if path == PATH_UNKNOWN:
        return _append_unknown_path(context, buffer, connection, now_ns, out, at)
    if context.head[METHOD] == METHOD_OTHER:
        return answer_mistake(context, METHOD_NOT_ALLOWED, connection, now_ns, out, at)
    if path == PATH_ASSETS:
        return answer_good(context, context.assets_body, context.assets_body.size, connection, now_ns, out, at)
    if path == PATH_HEALTH:
        length = _write_health(context, now_ns)
        return answer_body(context, context.body, length, connection, out, at)
    if outcome == BAD_ENCODING:
        return answer_mistake(context, BAD_TARGET, connection, now_ns, out, at)
    if outcome == BAD_PARAMETER:
        return _append_bad_parameter(context, buffer, path, connection, now_ns, out, at)
    if path == PATH_PRICE:
        return append_price(context, buffer, connection, now_ns, out, at)
    return append_prices(context, buffer, connection, now_ns, out, at)


@compiled
def refuse(context: RequestContext, error: int, out: Octets, at: int) -> int:
    """Append the answer to what is no request, or came at a bad time; the caller closes the connection behind it."""
    begin(context.ledger, HTTP)
    forget_forwarded(context.caller)
    if is_barred(context.gate, context.caller):
        error = ADDRESS_BLOCKED
    length = write_error(error, context.body)
    note_error(context.ledger, error_status(error), error_code(error))
    return append_response(error_status(error), context.body, length, True, context.stamp, CONNECTION_CLOSED, out, at)


@compiled_inline
def _refusal_of(context: RequestContext, buffer: Octets, path: int, now_ns: int) -> int:
    """_ADMITTED, or the error of response.ERRORS for a caller that may not ask."""
    head, query = context.head, context.query
    keys = head[HEADER_KEYS] + query[QUERY_KEYS]
    if keys > 1 or path == PATH_HEALTH:
        if is_barred(context.gate, context.caller):
            return ADDRESS_BLOCKED
        return _ADMITTED if path == PATH_HEALTH else KEY_REPEATED
    start, end = 0, 0
    if head[HEADER_KEYS] == 1:
        start, end = head[KEY_START], head[KEY_END]
    elif query[2 * API_KEY] != NOT_FOUND:
        start, end = query[2 * API_KEY], query[2 * API_KEY + 1]
    code = admit_caller(context.gate, context.ledger, context.caller, buffer, start, end, _IS_FREE[path], now_ns)
    return _ADMITTED if code == CODE_OK else error_of_access(code)


@compiled
def _append_unknown_path(
    context: RequestContext, buffer: Octets, connection: int, now_ns: int, out: Octets, at: int
) -> int:
    """Say what there is, here and on the other port, and which of it may have been meant."""
    code = charge(context.gate, MISTAKE, now_ns)
    if code != CODE_OK:
        return answer_error(context, error_of_access(code), connection, out, at)
    note_error(context.ledger, error_status(UNKNOWN_PATH), error_code(UNKNOWN_PATH))
    guide, start, end = context.guide, context.query[UNKNOWN_PATH_AT], context.query[UNKNOWN_PATH_AT + 1]
    length = append_octets(guide.body, context.body, 0)
    nearest = find_nearest(guide.paths, guide.path_bounds, buffer, start, end)
    if nearest != NOT_FOUND:
        length = append_packed(guide.hints, guide.hint_bounds, nearest, context.body, length)
    length = append_octets(_END_OF_ERROR, context.body, length)
    return answer_body(context, context.body, length, connection, out, at)


@compiled
def _append_bad_parameter(
    context: RequestContext, buffer: Octets, path: int, connection: int, now_ns: int, out: Octets, at: int
) -> int:
    code = charge(context.gate, MISTAKE, now_ns)
    if code != CODE_OK:
        return answer_error(context, error_of_access(code), connection, out, at)
    note_error(context.ledger, error_status(BAD_ASSETS), error_code(BAD_ASSETS))  # both are bad_parameter
    length = append_packed(_BAD_PARAMETER_BODIES, _BAD_PARAMETER_BOUNDS, path, context.body, 0)
    length = append_shown(buffer, context.query[BAD_NAME], context.query[BAD_NAME + 1], context.body, length)
    length = append_octets(_END_OF_BAD_PARAMETER, context.body, length)
    return answer_body(context, context.body, length, connection, out, at)


@compiled
def _write_health(context: RequestContext, now_ns: int) -> int:
    """Write this worker's view to `context.body`: ok while any asset has a fresh price, as the node's /ready."""
    fresh = 0
    for asset in range(context.assets["count"]):
        read_answer(context.table_words, row_of(context.exchanges, asset, CONSENSUS), context.record)
        fresh += judge(context.record, now_ns, 0, 0, 0) == GOOD
    length = append_packed(_HEALTHY, _HEALTHY_BOUNDS, min(1, fresh), context.body, 0)
    length = append_octets(context.health_body, context.body, length)
    length = append_integer(fresh, context.body, length)
    return append_byte(_BRACE, context.body, length)
