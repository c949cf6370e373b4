"""The answer to a query of a text or JSON datagram, whose sender may ask: prices, or why there are none. Compiled."""

from trinity.access.charge import charge
from trinity.compiled import compiled, compiled_inline
from trinity.limits import UDP_ASSETS_MAX, UDP_ID_BYTES_MAX, UDP_REPLY_BYTES_MAX
from trinity.native.octets import Octets
from trinity.vocabulary import CODE_OK
from workers.request.answer import (
    PRICE_BYTES_MAX,
    UNKNOWN,
    VERDICT_LOOKUPS,
    judge,
    read_answer,
    row_of,
    write_named_price,
    write_price,
    write_refused_name,
)
from workers.request.beyond import NOT_OF_CATALOG, verdict_of
from workers.request.forwarded import ADDRESS
from workers.request.ledger import note_name, note_price, note_prices
from workers.request.prices import decide_names, judge_spare, write_prices
from workers.request.udp import json
from workers.request.udp.context import ANSWERED, ERROR, PARKED, DatagramContext
from workers.request.udp.problems import NO_PROBLEM, join_id, problem_of_access, write_id, write_problem

# The id and the frame of the list come on top of the prices; the id's quotes count.
assert UDP_ASSETS_MAX * PRICE_BYTES_MAX + UDP_ID_BYTES_MAX + 32 <= UDP_REPLY_BYTES_MAX


@compiled_inline
def charge_sender(context: DatagramContext, lookups: int, now_ns: int) -> int:
    """NO_PROBLEM, or the index in _PROBLEMS of why an answer of so many prices, or a MISTAKE, is not sent."""
    code = charge(context.gate, lookups, now_ns)
    return NO_PROBLEM if code == CODE_OK else problem_of_access(code)


@compiled_inline
def answer_query(
    context: DatagramContext, problem: int, request: Octets, reply: Octets, at: int, now_ns: int
) -> tuple[int, int, int]:
    """The prices of the query, or the problem; also that they cannot be paid."""
    if problem == NO_PROBLEM:
        count, wanted = context.query[json.COUNT], context.wanted
        address = context.caller.words[ADDRESS : ADDRESS + 2]
        if decide_names(context.beyond, context.gate, address, request, wanted, count, now_ns):
            return at, PARKED, 0
        end, lookups = _write_answer(context, request, reply, at, now_ns)
        problem = charge_sender(context, lookups, now_ns)
        if problem == NO_PROBLEM:
            return end, ANSWERED, context.query[json.COUNT]
    return write_problem(context.gate, context.ledger, context.query, request, problem, reply, at), ERROR, 0


@compiled_inline
def _write_answer(context: DatagramContext, request: Octets, reply: Octets, at: int, now_ns: int) -> tuple[int, int]:
    """Append the object of one asset, or `{"prices":[...]}`, as the query has it; (its end, what it costs)."""
    query = context.query
    max_age_ms, min_sources = query[json.MAX_AGE_MS], query[json.MIN_SOURCES]
    max_conf, exchange = query[json.MAX_CONF_MILLI_BPS], query[json.EXCHANGE]
    body = write_id(query, request, reply, at)
    if query[json.IS_LIST] == 1:
        before = context.beyond.state[NOT_OF_CATALOG]
        end, lookups = write_prices(
            context.table_words, context.record, context.assets, context.exchanges, context.beyond, request,
            context.wanted, query[json.COUNT], exchange, now_ns, max_age_ms, min_sources, max_conf, reply, body,
        )  # fmt: skip
        context.beyond.state[NOT_OF_CATALOG] = before  # here each name is a lookup, also one that costs nothing
        _note_list(context, lookups, exchange)
    elif not 0 <= context.wanted[0, 0] < context.assets["count"]:
        end, lookups = _write_beyond(context, request, exchange, now_ns, reply, body)
    else:
        asset = context.wanted[0, 0]
        read_answer(context.table_words, row_of(context.exchanges, asset, exchange), context.record)
        verdict = judge(context.record, now_ns, max_age_ms, min_sources, max_conf)
        note_price(context.ledger, asset, exchange, verdict)
        lookups = VERDICT_LOOKUPS[verdict]
        end = write_price(context.record, verdict, context.assets, asset, now_ns, reply, body)
    return join_id(reply, at, body, end), lookups


@compiled
def _write_beyond(
    context: DatagramContext, request: Octets, exchange: int, now_ns: int, reply: Octets, body: int
) -> tuple[int, int]:
    """The object of one asset that the catalog does not name; (its end, what it costs)."""
    query, record, beyond = context.query, context.record, context.beyond
    asset, start, end = context.wanted[0, 0], context.wanted[0, 1], context.wanted[0, 2]
    beyond.state[NOT_OF_CATALOG] += 1
    if asset < 0:
        verdict = verdict_of(asset)
        note_price(context.ledger, UNKNOWN, exchange, verdict)
        return write_refused_name(verdict, request, start, end, reply, body), VERDICT_LOOKUPS[verdict]
    verdict = judge_spare(
        context.table_words, record, context.exchanges, beyond, request, start, end, asset, exchange, now_ns,
        query[json.MAX_AGE_MS], query[json.MIN_SOURCES], query[json.MAX_CONF_MILLI_BPS],
    )  # fmt: skip
    note_price(context.ledger, UNKNOWN, exchange, verdict)
    note_name(context.ledger, beyond.words)
    return write_named_price(record, verdict, request, start, end, now_ns, reply, body), VERDICT_LOOKUPS[verdict]


@compiled
def _note_list(context: DatagramContext, lookups: int, exchange: int) -> None:
    """Note a list, whose prices cost so much."""
    count, wanted, of_catalog = context.query[json.COUNT], context.wanted, 0
    for i in range(count):
        of_catalog += 0 <= wanted[i, 0] < context.assets["count"]
    context.beyond.state[NOT_OF_CATALOG] += count - of_catalog
    first = wanted[0, 0]
    is_of_catalog = 0 <= first < context.assets["count"]
    note_prices(context.ledger, first if is_of_catalog else UNKNOWN, count, lookups, exchange)
    if count == 1 and first >= context.assets["count"]:
        note_name(context.ledger, context.beyond.words)
