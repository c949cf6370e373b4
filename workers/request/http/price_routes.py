"""GET /price and GET /prices, once the caller may ask. Pure, compiled.

Rules: those of routes.py. A request that names an asset beyond the catalog may have to wait for it: then nothing is
written, charged or noted, and `context.beyond.state[WAITS]` is 1; whoever serves the connection parks it, with what
`keep_request` keeps, and `answer_again` goes on from there: no percent-encoding is undone twice.
"""

from trinity.access.charge import charge
from trinity.access.gate import KEY_ID
from trinity.access.limit_headers import append_limits_left
from trinity.compiled import compiled, compiled_inline
from trinity.limits import MISS_RETRY_MS
from trinity.memory.answer_table import BODY_AT, HEAD_AT
from trinity.native.octets import NOT_FOUND, Integers, Octets, append_slice
from trinity.vocabulary import CODE_OK, HTTP
from workers.request.answer import (
    ASSET_RESOLVING,
    CONSENSUS,
    GOOD,
    MISS_BUDGET_EXCEEDED,
    UNKNOWN,
    VERDICT_LOOKUPS,
    Names,
    find_name,
    judge,
    parse_assets,
    read_answer,
    row_of,
    write_named_price,
    write_price,
    write_refused_name,
)
from workers.request.beyond import (
    CALLER,
    NOT_OF_CATALOG,
    RETRY_MS,
    SKIN,
    SKIN_WORDS,
    WAITS,
    begin_names,
    decide,
    is_undecided,
    verdict_of,
)
from workers.request.forwarded import ADDRESS
from workers.request.http.answers import answer_body, answer_error, answer_good, answer_mistake, answer_retry
from workers.request.http.context import RequestContext
from workers.request.http.parse import KEEP_ALIVE, METHOD, METHOD_HEAD, MINOR_VERSION, NEXT
from workers.request.http.response import (
    BAD_ASSETS,
    CONNECTION_CLOSED,
    CONNECTION_KEPT,
    CONNECTION_SILENT,
    MISSING_ASSET,
    UNKNOWN_EXCHANGE,
    append_head_end,
    error_of_access,
)
from workers.request.http.target import ASSET, ASSET_LIST, EXCHANGE, LIMITS, PATH_PRICE, PATH_PRICES
from workers.request.ledger import TALLY_KEY, begin, note_name, note_price, note_prices
from workers.request.prices import decide_names, judge_spare, write_prices

_NO_SUCH_EXCHANGE = -2

# What is kept of a parked request, from SKIN on.
_PATH, _METHOD, _MINOR_VERSION, _KEEP_ALIVE, BYTES, _QUERY = range(SKIN, SKIN + 6)
_QUERY_KEPT = LIMITS + 3  # the values and the limits; what is wrong with a query is never parked
assert _QUERY + _QUERY_KEPT <= SKIN + SKIN_WORDS


@compiled_inline
def append_price(context: RequestContext, buffer: Octets, connection: int, now_ns: int, out: Octets, at: int) -> int:
    """GET /price: a good price is copied, head and body, as the consensus process rendered them."""
    query = context.query
    name_start, name_end = query[2 * ASSET], query[2 * ASSET + 1]
    if name_start in (NOT_FOUND, name_end):
        return answer_mistake(context, MISSING_ASSET, connection, now_ns, out, at)
    exchange = _exchange_of(context.exchanges, query, buffer)
    if exchange == _NO_SUCH_EXCHANGE:
        return answer_mistake(context, UNKNOWN_EXCHANGE, connection, now_ns, out, at)
    asset = find_name(context.assets, buffer, name_start, name_end)
    if asset == UNKNOWN:
        return _append_beyond(context, buffer, exchange, connection, now_ns, out, at)
    record = context.record
    read_answer(context.table_words, row_of(context.exchanges, asset, exchange), record)
    verdict = judge(record, now_ns, query[LIMITS], query[LIMITS + 1], query[LIMITS + 2])
    code = charge(context.gate, VERDICT_LOOKUPS[verdict], now_ns)
    if code != CODE_OK:
        return answer_error(context, error_of_access(code), connection, out, at)
    note_price(context.ledger, asset, exchange, verdict)
    if verdict != GOOD:
        length = write_price(record, verdict, context.assets, asset, now_ns, context.body, 0)
        return answer_body(context, context.body, length, connection, out, at)
    return _append_good_price(context, connection, now_ns, out, at)


@compiled_inline
def _append_good_price(context: RequestContext, connection: int, now_ns: int, out: Octets, at: int) -> int:
    """Append the record's rendered head and body."""
    record = context.record
    at = append_slice(record.octets, HEAD_AT, record.fields["head_length"], out, at)
    at = append_limits_left(context.gate, now_ns, out, at)
    at = append_head_end(context.stamp, connection, out, at)
    if context.head[METHOD] == METHOD_HEAD:
        return at
    return append_slice(record.octets, BODY_AT, record.fields["body_length"], out, at)


@compiled
def _append_beyond(
    context: RequestContext, buffer: Octets, exchange: int, connection: int, now_ns: int, out: Octets, at: int
) -> int:
    """GET /price of a name that the catalog does not know."""
    query, record, beyond = context.query, context.record, context.beyond
    start, end = query[2 * ASSET], query[2 * ASSET + 1]
    begin_names(beyond)
    address = context.caller.words[ADDRESS : ADDRESS + 2]
    asset = decide(beyond, context.gate, address, buffer, start, end, now_ns)
    if is_undecided(beyond):
        beyond.state[WAITS] = 1
        return at
    beyond.state[NOT_OF_CATALOG] += 1
    verdict = verdict_of(asset)
    if asset >= 0:
        verdict = judge_spare(
            context.table_words, record, context.exchanges, beyond, buffer, start, end, asset, exchange, now_ns,
            query[LIMITS], query[LIMITS + 1], query[LIMITS + 2],
        )  # fmt: skip
    code = charge(context.gate, VERDICT_LOOKUPS[verdict], now_ns)
    if code != CODE_OK:
        return answer_error(context, error_of_access(code), connection, out, at)
    note_price(context.ledger, UNKNOWN, exchange, verdict)
    if asset >= 0:
        note_name(context.ledger, beyond.words)
    if verdict == GOOD:
        return _append_good_price(context, connection, now_ns, out, at)
    if asset >= 0:
        length = write_named_price(record, verdict, buffer, start, end, now_ns, context.body, 0)
    else:
        length = write_refused_name(verdict, buffer, start, end, context.body, 0)
    if verdict in (ASSET_RESOLVING, MISS_BUDGET_EXCEEDED):
        wait_ms = beyond.state[RETRY_MS] if verdict == MISS_BUDGET_EXCEEDED else MISS_RETRY_MS
        return answer_retry(context, context.body, length, wait_ms, connection, out, at)
    return answer_body(context, context.body, length, connection, out, at)


@compiled
def append_prices(context: RequestContext, buffer: Octets, connection: int, now_ns: int, out: Octets, at: int) -> int:
    """GET /prices: always 200, each asset with its own status; all assets of the catalog when none is named."""
    query, wanted, beyond = context.query, context.wanted, context.beyond
    exchange = _exchange_of(context.exchanges, query, buffer)
    if exchange == _NO_SUCH_EXCHANGE:
        return answer_mistake(context, UNKNOWN_EXCHANGE, connection, now_ns, out, at)
    if query[2 * ASSET_LIST] == NOT_FOUND:
        count = context.assets["count"]
        for asset in range(count):
            wanted[asset, 0] = asset
    else:
        count = parse_assets(context.assets, buffer, query[2 * ASSET_LIST], query[2 * ASSET_LIST + 1], wanted)
        if count == UNKNOWN:
            return answer_mistake(context, BAD_ASSETS, connection, now_ns, out, at)
        address = context.caller.words[ADDRESS : ADDRESS + 2]
        if decide_names(beyond, context.gate, address, buffer, wanted, count, now_ns):
            beyond.state[WAITS] = 1
            return at
    length, lookups = write_prices(
        context.table_words, context.record, context.assets, context.exchanges, beyond, buffer, wanted, count, exchange,
        now_ns, query[LIMITS], query[LIMITS + 1], query[LIMITS + 2], context.body, 0,
    )  # fmt: skip
    code = charge(context.gate, lookups, now_ns)
    if code != CODE_OK:
        return answer_error(context, error_of_access(code), connection, out, at)
    first = wanted[0, 0]
    is_of_catalog = 0 <= first < context.assets["count"]
    note_prices(context.ledger, first if is_of_catalog else UNKNOWN, count, lookups, exchange)
    if count == 1 and first >= context.assets["count"]:
        note_name(context.ledger, beyond.words)
    return answer_good(context, context.body, length, connection, now_ns, out, at)


@compiled
def _exchange_of(exchanges: Names, query: Integers, buffer: Octets) -> int:
    """The exchange that was asked for, CONSENSUS when none was, _NO_SUCH_EXCHANGE when it is not known."""
    start, end = query[2 * EXCHANGE], query[2 * EXCHANGE + 1]
    if start == NOT_FOUND:
        return CONSENSUS
    exchange = find_name(exchanges, buffer, start, end)
    return exchange if exchange != UNKNOWN else _NO_SUCH_EXCHANGE


# --- requests that wait ---------------------------------------------------------------------------------------


@compiled
def keep_request(context: RequestContext, place: int, began: int) -> None:
    """Keep what was read of the request that is to wait and begins at `began` in the bytes that it was read from."""
    head, query, row = context.head, context.query, context.beyond.parked[place]
    row[_PATH] = PATH_PRICE if query[2 * ASSET] != NOT_FOUND else PATH_PRICES
    row[_METHOD], row[_MINOR_VERSION], row[_KEEP_ALIVE] = head[METHOD], head[MINOR_VERSION], head[KEEP_ALIVE]
    row[BYTES] = head[NEXT] - began
    for i in range(_QUERY_KEPT):
        is_place = i < LIMITS and query[i] != NOT_FOUND
        row[_QUERY + i] = query[i] - began if is_place else query[i]


@compiled
def answer_again(
    context: RequestContext, buffer: Octets, began: int, place: int, last: bool, now_ns: int, out: Octets, at: int
) -> int:
    """As `routes.answer_request`, of a request that waited and now begins at `began`; it was let in when it came."""
    head, query, row = context.head, context.query, context.beyond.parked[place]
    begin(context.ledger, HTTP)
    context.ledger.tally[TALLY_KEY] = context.gate.result[KEY_ID]
    words = context.beyond.parked_words[place]
    context.caller.words[ADDRESS], context.caller.words[ADDRESS + 1] = words[CALLER], words[CALLER + 1]
    head[METHOD], head[MINOR_VERSION], head[KEEP_ALIVE] = row[_METHOD], row[_MINOR_VERSION], row[_KEEP_ALIVE]
    for i in range(_QUERY_KEPT):
        is_place = i < LIMITS and row[_QUERY + i] != NOT_FOUND
        query[i] = row[_QUERY + i] + began if is_place else row[_QUERY + i]
    connection = connection_of(head, last)
    if row[_PATH] == PATH_PRICE:
        return append_price(context, buffer, connection, now_ns, out, at)
    return append_prices(context, buffer, connection, now_ns, out, at)


@compiled_inline
def connection_of(head: Integers, last: bool) -> int:
    """What the answer says of the connection."""
    if head[KEEP_ALIVE] == 1 and not last:
        return CONNECTION_SILENT if head[MINOR_VERSION] == 1 else CONNECTION_KEPT
    return CONNECTION_CLOSED
