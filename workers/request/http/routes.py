"""A parsed HTTP request -> its whole response. Pure, compiled: memory in, memory out.

The loop makes one `Desk` a worker and calls `answer_request` for each head that http1.py parsed, or `refuse`.
    GET /price?asset=BTC[&exchange=kraken][&quality]   one price: 200, or 404/503 with the last good price
    GET /prices[?assets=BTC,ETH][&exchange=][&quality] several, each with its own status
    GET /assets                                        what can be asked for
    GET /health                                        this worker's own view, short

quality = max_age_ms, min_sources, max_conf_bps. HEAD is GET without the body; OPTIONS is answered for browsers.
/health and OPTIONS need no key; all else does where keys are required, so a stranger learns nothing from it.
Rules: what the answer is, is noted in the ledger; the caller publishes the record before it sends the bytes. A
parameter that is unknown, repeated or malformed is refused by name: a misspelt limit must not be dropped silently.
Percent-encoding is undone in place, in the bytes of this request, which nobody reads again.
"""

import json
from typing import NamedTuple

import numpy as np

from trinity.access.gate import Gate, charge_lookups
from trinity.access.limit_headers import is_ended_by_time
from trinity.compiled import compiled, compiled_inline
from trinity.limits import ASSETS_MAX
from trinity.markets import Catalog
from trinity.memory.answer_table import HEAD_BYTES
from trinity.memory.atomics import Words
from trinity.native.octets import (
    NOT_FOUND,
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
from trinity.vocabulary import CODE_OK, HTTP, problem_for
from workers.request.admission import admit_caller, is_barred
from workers.request.answer import (
    CONSENSUS,
    GOOD,
    HEAD_AT,
    PRICE_BYTES_MAX,
    UNKNOWN,
    UNKNOWN_ASSET,
    Names,
    Record,
    append_shown,
    find_name,
    judge,
    make_names,
    make_record,
    parse_assets,
    read_answer,
    row_of,
    write_price,
    write_prices,
    write_unknown_asset,
)
from workers.request.forwarded import Caller, find_caller, forget_forwarded
from workers.request.http.parse import (
    HEAD_WORDS,
    KEEP_ALIVE,
    KEY_END,
    KEY_START,
    METHOD,
    METHOD_HEAD,
    METHOD_OPTIONS,
    METHOD_OTHER,
    MINOR_VERSION,
    TARGET_END,
    TARGET_START,
)
from workers.request.http.parse import KEYS as HEADER_KEYS
from workers.request.http.response import (
    ADDRESS_BLOCKED,
    BAD_ASSETS,
    BAD_TARGET,
    CONNECTION_CLOSED,
    CONNECTION_KEPT,
    CONNECTION_SILENT,
    HEAD_BYTES_MAX,
    KEY_REPEATED,
    METHOD_NOT_ALLOWED,
    MISSING_ASSET,
    STATUS_NO_CONTENT,
    UNKNOWN_EXCHANGE,
    UNKNOWN_PATH,
    Stamp,
    append_head_end,
    append_limited,
    append_no_content,
    append_response,
    error_code,
    error_of_access,
    error_status,
    make_stamp,
    open_body,
    write_error,
)
from workers.request.http.target import (
    API_KEY,
    ASSET,
    ASSET_LIST,
    BAD_ENCODING,
    BAD_NAME,
    BAD_PARAMETER,
    EXCHANGE,
    LIMITS,
    PATH_ASSETS,
    PATH_HEALTH,
    PATH_MALFORMED,
    PATH_PRICE,
    PATH_UNKNOWN,
    QUERY_WORDS,
    find_path,
    parse_query,
)
from workers.request.http.target import KEYS as QUERY_KEYS
from workers.request.ledger import (
    TALLY_STATUS,
    Ledger,
    begin,
    note_error,
    note_price,
    note_prices,
    note_status,
)

_BAD_PARAMETER_BODY = octets_of(open_body(problem_for("bad_parameter")) + b',"parameter":"')
_END_OF_BAD_PARAMETER = octets_of(b'"}}')
_NO_SUCH_EXCHANGE = -2
_BODY_FRAME_BYTES = 1024  # what stands around the prices, and every other body but that of /assets

_HEALTHY, _HEALTHY_BOUNDS = pack_texts([b'{"status":"degraded"', b'{"status":"ok"'])
(_BRACE,) = b"}"
_ADMITTED = -1


class Desk(NamedTuple):
    """All memory that answering needs; made once a worker by `make_desk`.

    `head` and `query` are laid out by http1.py and target.py, `wanted` by answer.parse_assets; `body` is scratch.
    `caller`, `gate` and `ledger` are shared with the datagrams.
    """

    table_words: Words
    record: Record
    assets: Names
    exchanges: Names
    head: Integers
    query: Integers
    wanted: Integers
    caller: Caller
    gate: Gate
    ledger: Ledger
    stamp: Stamp
    body: Octets
    assets_body: Octets  # of GET /assets
    health_body: Octets  # of GET /health, between status and number of fresh assets


def make_desk(
    table_words: Words,
    catalog: Catalog,
    node: str,
    simulated: bool,
    worker: int,
    caller: Caller,
    gate: Gate,
    ledger: Ledger,
) -> Desk:
    """A worker's memory, over the words of the node's answer table."""
    names = [asset.name for asset in catalog.assets]
    markets: dict[str, list[str]] = {name: [] for name in names}
    for market in catalog.markets:
        markets[market.asset].append(market.exchange)
    aliases = {alias: index for alias, index in catalog.names().items() if alias not in markets}
    assets_body = {"assets": names, "exchanges": catalog.exchanges, "markets": markets}
    assets_body |= {"aliases": {alias: names[index] for alias, index in aliases.items()}}
    health_body = {"node": node, "worker": worker, "simulated": simulated, "assets": len(names)}
    return Desk(
        table_words=table_words,
        record=make_record(),
        assets=make_names(names, aliases),
        exchanges=make_names(catalog.exchanges),
        head=np.zeros(HEAD_WORDS, dtype=np.int64),
        query=np.zeros(QUERY_WORDS, dtype=np.int64),
        wanted=np.zeros((ASSETS_MAX, 3), dtype=np.int64),  # a list may name every asset of the largest catalog
        caller=caller,
        gate=gate,
        ledger=ledger,
        stamp=make_stamp(ledger.ring),
        body=np.zeros(_BODY_FRAME_BYTES + ASSETS_MAX * PRICE_BYTES_MAX, dtype=np.uint8),
        assets_body=octets_of(_json(assets_body)),
        health_body=octets_of(b"," + _json(health_body)[1:-1] + b',"fresh":'),
    )


def response_bytes_max(desk: Desk) -> int:
    """The longest response: the largest of the bodies with its head."""
    return HEAD_BYTES + HEAD_BYTES_MAX + max(desk.body.size, desk.assets_body.size)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@compiled_inline
def answer_request(desk: Desk, buffer: Octets, last: bool, now_ns: int, out: Octets, at: int) -> int:
    """Append the response to the request in `desk.head`; the position behind it.

    `last` True: the connection ends with this answer, whatever the client wished. The caller closes it then, and
    also when `desk.head[KEEP_ALIVE]` is 0.
    """
    head = desk.head
    begin(desk.ledger, HTTP)
    find_caller(desk.caller, buffer, head)
    connection = CONNECTION_CLOSED
    if head[KEEP_ALIVE] == 1 and not last:
        connection = CONNECTION_SILENT if head[MINOR_VERSION] == 1 else CONNECTION_KEPT
    if head[METHOD] == METHOD_OPTIONS:
        if is_barred(desk.gate, desk.caller):
            return _append_error(desk, ADDRESS_BLOCKED, connection, out, at)
        note_status(desk.ledger, STATUS_NO_CONTENT)
        return append_no_content(desk.stamp, connection, out, at)
    path = find_path(desk.query, buffer, head[TARGET_START], head[TARGET_END])
    outcome = parse_query(desk.query, buffer, head[TARGET_END], path)
    error = _refusal_of(desk, buffer, path, now_ns)
    if error != _ADMITTED:
        return _append_error(desk, error, connection, out, at)
    if path == PATH_MALFORMED:
        return _append_error(desk, BAD_TARGET, connection, out, at)
    if path == PATH_UNKNOWN:
        return _append_error(desk, UNKNOWN_PATH, connection, out, at)
    if head[METHOD] == METHOD_OTHER:
        return _append_error(desk, METHOD_NOT_ALLOWED, connection, out, at)
    if path == PATH_ASSETS:
        return _append_body(desk, desk.assets_body, desk.assets_body.size, connection, out, at)
    if path == PATH_HEALTH:
        length = _write_health(desk, now_ns)
        return _append_body(desk, desk.body, length, connection, out, at)
    if outcome == BAD_ENCODING:
        return _append_error(desk, BAD_TARGET, connection, out, at)
    if outcome == BAD_PARAMETER:
        return _append_bad_parameter(desk, buffer, connection, out, at)
    if path == PATH_PRICE:
        return _append_price(desk, buffer, connection, now_ns, out, at)
    return _append_prices(desk, buffer, connection, now_ns, out, at)


@compiled
def refuse(desk: Desk, error: int, out: Octets, at: int) -> int:
    """Append the answer to what is no request, or came at a bad time; the caller closes the connection behind it."""
    begin(desk.ledger, HTTP)
    forget_forwarded(desk.caller)
    if is_barred(desk.gate, desk.caller):
        error = ADDRESS_BLOCKED
    length = write_error(error, desk.body)
    note_error(desk.ledger, error_status(error), error_code(error))
    return append_response(error_status(error), desk.body, length, True, desk.stamp, CONNECTION_CLOSED, out, at)


@compiled_inline
def _refusal_of(desk: Desk, buffer: Octets, path: int, now_ns: int) -> int:
    """_ADMITTED, or the error of response.ERRORS for a caller that may not ask."""
    head, query = desk.head, desk.query
    keys = head[HEADER_KEYS] + query[QUERY_KEYS]
    if keys > 1 or path == PATH_HEALTH:
        if is_barred(desk.gate, desk.caller):
            return ADDRESS_BLOCKED
        return _ADMITTED if path == PATH_HEALTH else KEY_REPEATED
    start, end = 0, 0
    if head[HEADER_KEYS] == 1:
        start, end = head[KEY_START], head[KEY_END]
    elif query[2 * API_KEY] != NOT_FOUND:
        start, end = query[2 * API_KEY], query[2 * API_KEY + 1]
    code = admit_caller(desk.gate, desk.ledger, desk.caller, buffer, start, end, now_ns)
    return _ADMITTED if code == CODE_OK else error_of_access(code)


@compiled
def _append_body(desk: Desk, body: Octets, length: int, connection: int, out: Octets, at: int) -> int:
    """Append the response with the status that was noted."""
    with_body = desk.head[METHOD] != METHOD_HEAD
    status = desk.ledger.tally[TALLY_STATUS]
    return append_response(status, body, length, with_body, desk.stamp, connection, out, at)


@compiled
def _append_error(desk: Desk, error: int, connection: int, out: Octets, at: int) -> int:
    code = error_code(error)
    note_error(desk.ledger, error_status(error), code)
    if is_ended_by_time(code):
        with_body = desk.head[METHOD] != METHOD_HEAD
        return append_limited(desk.gate, error, desk.body, with_body, desk.stamp, connection, out, at)
    length = write_error(error, desk.body)
    return _append_body(desk, desk.body, length, connection, out, at)


@compiled
def _append_bad_parameter(desk: Desk, buffer: Octets, connection: int, out: Octets, at: int) -> int:
    note_error(desk.ledger, error_status(BAD_ASSETS), error_code(BAD_ASSETS))  # both are bad_parameter
    length = append_octets(_BAD_PARAMETER_BODY, desk.body, 0)
    length = append_shown(buffer, desk.query[BAD_NAME], desk.query[BAD_NAME + 1], desk.body, length)
    length = append_octets(_END_OF_BAD_PARAMETER, desk.body, length)
    return _append_body(desk, desk.body, length, connection, out, at)


@compiled_inline
def _append_price(desk: Desk, buffer: Octets, connection: int, now_ns: int, out: Octets, at: int) -> int:
    """GET /price: a good price is copied, head and body, as the consensus process rendered them."""
    query = desk.query
    name_start, name_end = query[2 * ASSET], query[2 * ASSET + 1]
    if name_start in (NOT_FOUND, name_end):
        return _append_error(desk, MISSING_ASSET, connection, out, at)
    exchange = _exchange_of(desk.exchanges, query, buffer)
    if exchange == _NO_SUCH_EXCHANGE:
        return _append_error(desk, UNKNOWN_EXCHANGE, connection, out, at)
    asset = find_name(desk.assets, buffer, name_start, name_end)
    if asset == UNKNOWN:
        note_price(desk.ledger, UNKNOWN, exchange, UNKNOWN_ASSET)
        length = write_unknown_asset(buffer, name_start, name_end, desk.body, 0)
        return _append_body(desk, desk.body, length, connection, out, at)
    record = desk.record
    read_answer(desk.table_words, row_of(desk.exchanges, asset, exchange), record)
    verdict = judge(record, now_ns, query[LIMITS], query[LIMITS + 1], query[LIMITS + 2])
    note_price(desk.ledger, asset, exchange, verdict)
    if verdict != GOOD:
        length = write_price(record, verdict, desk.assets, asset, now_ns, desk.body, 0)
        return _append_body(desk, desk.body, length, connection, out, at)
    at = append_slice(record.octets, HEAD_AT, record.fields["head_length"], out, at)
    at = append_head_end(desk.stamp, connection, out, at)
    if desk.head[METHOD] == METHOD_HEAD:
        return at
    return write_price(record, GOOD, desk.assets, asset, now_ns, out, at)


@compiled
def _append_prices(desk: Desk, buffer: Octets, connection: int, now_ns: int, out: Octets, at: int) -> int:
    """GET /prices: always 200, each asset with its own status; all assets when none is named."""
    query, wanted = desk.query, desk.wanted
    exchange = _exchange_of(desk.exchanges, query, buffer)
    if exchange == _NO_SUCH_EXCHANGE:
        return _append_error(desk, UNKNOWN_EXCHANGE, connection, out, at)
    if query[2 * ASSET_LIST] == NOT_FOUND:
        count = desk.assets["count"]
        for asset in range(count):
            wanted[asset, 0] = asset
    else:
        count = parse_assets(desk.assets, buffer, query[2 * ASSET_LIST], query[2 * ASSET_LIST + 1], wanted)
        if count == UNKNOWN:
            return _append_error(desk, BAD_ASSETS, connection, out, at)
    code = charge_lookups(desk.gate, count, now_ns)
    if code != CODE_OK:
        return _append_error(desk, error_of_access(code), connection, out, at)
    note_prices(desk.ledger, wanted[0, 0], count, exchange)
    length = write_prices(
        desk.table_words,
        desk.record,
        desk.assets,
        desk.exchanges,
        buffer,
        wanted,
        count,
        exchange,
        now_ns,
        query[LIMITS],
        query[LIMITS + 1],
        query[LIMITS + 2],
        desk.body,
        0,
    )
    return _append_body(desk, desk.body, length, connection, out, at)


@compiled
def _write_health(desk: Desk, now_ns: int) -> int:
    """Write this worker's view to `desk.body`: ok while any asset has a fresh price, as the node's /ready."""
    fresh = 0
    for asset in range(desk.assets["count"]):
        read_answer(desk.table_words, row_of(desk.exchanges, asset, CONSENSUS), desk.record)
        fresh += judge(desk.record, now_ns, 0, 0, 0) == GOOD
    length = append_packed(_HEALTHY, _HEALTHY_BOUNDS, min(1, fresh), desk.body, 0)
    length = append_octets(desk.health_body, desk.body, length)
    length = append_integer(fresh, desk.body, length)
    return append_byte(_BRACE, desk.body, length)


@compiled
def _exchange_of(exchanges: Names, query: Integers, buffer: Octets) -> int:
    """The exchange that was asked for, CONSENSUS when none was, _NO_SUCH_EXCHANGE when it is not known."""
    start, end = query[2 * EXCHANGE], query[2 * EXCHANGE + 1]
    if start == NOT_FOUND:
        return CONSENSUS
    exchange = find_name(exchanges, buffer, start, end)
    return exchange if exchange != UNKNOWN else _NO_SUCH_EXCHANGE
