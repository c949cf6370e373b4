"""A decision -> the answer record that request workers serve, in integers. Compiled.

Rules: the bytes of render.py, to the last one. A record begins with the row's last good price (answer_table.py), so
that a price that cannot be given keeps it.
"""

import numpy as np

from feeds.consensus.decimals.render import HEAD
from feeds.consensus.decimals.rules import MILLI_BPS, MILLI_BPS_MAX
from feeds.consensus.integers.arrays import ROWS, TEXTS_AN_ASSET, VERDICT_OF, TableWords
from feeds.consensus.integers.prices import rounded_up
from feeds.consensus.integers.quotes import ASK, BID, BPS, DIGITS_MAX, LAST, POWERS
from trinity.clock import NS_PER_MS
from trinity.compiled import compiled
from trinity.memory.answer_table import (
    BODY_AT,
    HEAD_AT,
    PRICE_TEXT_AT,
    VERDICT_USED,
    AnswerState,
    publish_if_new,
    take_last_good,
)
from trinity.memory.atomics import signed
from trinity.native.octets import (
    Octets,
    append_byte,
    append_decimal,
    append_integer,
    append_octets,
    append_packed,
    octets_of,
)
from trinity.native.wide import widen

_EMPTY, _GOOD, _STALE = int(AnswerState.EMPTY), int(AnswerState.GOOD), int(AnswerState.STALE)
_NOT_LISTED, _DISAGREE = int(AnswerState.NOT_LISTED), int(AnswerState.SOURCES_DISAGREE)
_NO_QUOTE = VERDICT_OF["no_quote"]

_HEAD_START, _HEAD_END = (octets_of(part) for part in HEAD.split(b"%d"))
_CONFIDENCE = octets_of(b',"currency":"USD","confidence":')
_SOURCES = octets_of(b',"sources":')
_REJECTED = octets_of(b',"rejected":')
_TIMESTAMP = octets_of(b',"source":"consensus","timestamp":')
_NEWEST = octets_of(b',"newest_timestamp":')
_DISAGREEMENT = octets_of(b',"status":"fresh","disagreement_bps":')
_EXCHANGES = octets_of(b',"exchanges":[')
_END_OF_EXCHANGES = octets_of(b"]}")
_BID, _ASK, _LAST = (octets_of(f'"{name}":'.encode()) for name in ("bid", "ask", "last"))
_VENUE_TIMESTAMP = octets_of(b'","timestamp":')
_FRESH = octets_of(b',"status":"fresh"}')
_COMMA = ord(",")


@compiled
def publish_consensus(tables: TableWords, state: np.void, number: int) -> bool:
    """Write the asset's consensus answer where it is another than before; whether it is."""
    asset, bench, answer = state["assets"][number], state["bench"], state["answer"]
    row = number * (1 + state["exchanges"])
    take_last_good(tables.answers, row, tables.answer)
    voters, listed = 0, 0
    asset["used"] = 0
    for exchange in range(ROWS):
        listed += asset["listed"] >> exchange & 1
        if asset["verdicts"][exchange] == VERDICT_USED:
            voters += 1
            asset["used"] |= 1 << exchange
    is_good = asset["state"] == _GOOD
    answer["state"], answer["valid_until_ns"] = asset["state"], asset["valid_until_ns"]
    answer["confidence"] = asset["confidence"]
    answer["confidence_milli_bps"] = bench["confidence_milli_bps"]
    answer["disagreement_milli_bps"] = bench["disagreement_milli_bps"]
    answer["sources"] = voters if is_good else 0
    answer["rejected"] = listed - voters
    answer["sources_required"], answer["voters"] = bench["required"], voters
    is_split = asset["state"] == _DISAGREE and bench["has_window"] == 0
    answer["majority"] = bench["needed"] if is_split else 0
    answer["head_length"], answer["body_length"] = 0, 0
    if is_good:
        _keep_price(tables, state, asset["price"], asset["places"], bench["received_at_ns"], bench["received_wall_ns"])
        _finish(tables, state, _write_consensus(tables, state, number, voters, listed - voters))
    return publish_if_new(tables.answers, row, tables.answer)


@compiled
def publish_venue(tables: TableWords, state: np.void, number: int, exchange: int) -> bool:
    """Write an exchange's own answer where it is another than before; whether it is."""
    answer, row_number = state["answer"], number * ROWS + exchange
    row, quote = state["rows"][row_number], state["quotes"][row_number]
    place = number * (1 + state["exchanges"]) + 1 + exchange
    take_last_good(tables.answers, place, tables.answer)
    answer["valid_until_ns"], answer["confidence"], answer["confidence_milli_bps"] = 0, 0, 0
    answer["disagreement_milli_bps"], answer["rejected"], answer["majority"] = 0, 0, 0
    answer["sources"], answer["voters"], answer["sources_required"] = 0, 0, 1
    answer["head_length"], answer["body_length"] = 0, 0
    if state["assets"][number]["listed"] >> exchange & 1 == 0:
        answer["state"] = _NOT_LISTED
    elif row["has_quote"] == 0:
        answer["state"] = _EMPTY
    elif row["verdict"] != 0:
        answer["state"] = _STALE
    else:
        answer["state"] = _GOOD
        places = row["digits"] + (1 if row["double_price"] < 2 * POWERS[DIGITS_MAX - 1] else 0)
        price, confidence = _price_and_width(row, state["assets"][number]["floor_bps"], places)
        answer["sources"], answer["voters"] = 1, 1
        answer["valid_until_ns"], answer["confidence"] = row["fresh_until_ns"] + 1, confidence
        width = rounded_up(widen(confidence) * widen(MILLI_BPS), widen(price))
        answer["confidence_milli_bps"] = min(width, MILLI_BPS_MAX)
        _keep_price(tables, state, price, places, row["received_at_ns"], row["received_wall_ns"])
        _finish(tables, state, _write_venue(tables, state, number, exchange, signed(quote["via"])))
    return publish_if_new(tables.answers, place, tables.answer)


@compiled
def _price_and_width(row: np.void, floor_bps: int, places: int) -> tuple[int, int]:
    """An exchange's own price, half to even, and its half width, rounded up, as integers of 10**-places."""
    finer = 10 if places > row["digits"] else 1
    if row["is_traded"] != 0:
        double_width = widen(row["double_price"]) * widen(floor_bps)
        tick = widen(2 * BPS)
        double_width = tick if double_width < tick else double_width
        width = rounded_up(double_width * widen(finer), tick)
    else:
        width = rounded_up(widen(row["double_width"]) * widen(finer), widen(2))
    if finer == 10:
        return 5 * row["double_price"], width
    price = row["double_price"] // 2
    if row["double_price"] % 2 == 1 and price % 2 == 1:
        price += 1
    return price, width


@compiled
def _keep_price(
    tables: TableWords, state: np.void, price: int, places: int, received_at_ns: int, received_wall_ns: int
) -> None:
    """The row's price, which is also its last good one from now on."""
    answer, octets = state["answer"], tables.octets
    for i in range(answer["price_text_length"]):
        octets[PRICE_TEXT_AT + i] = 0
    answer["price"], answer["scale"], answer["has_last_good"] = price, places, 1
    answer["received_at_ns"], answer["timestamp_ms"] = received_at_ns, received_wall_ns // NS_PER_MS
    answer["price_text_length"] = append_decimal(price, places, octets, PRICE_TEXT_AT) - PRICE_TEXT_AT


@compiled
def _finish(tables: TableWords, state: np.void, end: int) -> None:
    """The body ends at `end`: its length, and the head that says so."""
    answer, octets = state["answer"], tables.octets
    answer["body_length"] = end - BODY_AT
    at = append_octets(_HEAD_START, octets, HEAD_AT)
    at = append_integer(end - BODY_AT, octets, at)
    answer["head_length"] = append_octets(_HEAD_END, octets, at) - HEAD_AT


@compiled
def _write_consensus(tables: TableWords, state: np.void, number: int, voters: int, rejected: int) -> int:
    """The body of a consensus answer; where it ends."""
    asset, bench, out = state["assets"][number], state["bench"], tables.octets
    texts, bounds = state["texts"], state["bounds"]
    at = append_packed(texts, bounds, number * TEXTS_AN_ASSET, out, BODY_AT)
    at = append_decimal(asset["price"], asset["places"], out, at)
    at = append_octets(_CONFIDENCE, out, at)
    at = append_decimal(asset["confidence"], asset["places"], out, at)
    at = append_integer(voters, out, append_octets(_SOURCES, out, at))
    at = append_integer(rejected, out, append_octets(_REJECTED, out, at))
    at = append_integer(bench["received_wall_ns"] // NS_PER_MS, out, append_octets(_TIMESTAMP, out, at))
    at = append_integer(bench["newest_wall_ns"] // NS_PER_MS, out, append_octets(_NEWEST, out, at))
    at = append_decimal(bench["disagreement_milli_bps"], 3, out, append_octets(_DISAGREEMENT, out, at))
    at = append_octets(_EXCHANGES, out, at)
    names = state["count"] * TEXTS_AN_ASSET
    is_first = True
    for exchange in range(ROWS):
        if asset["used"] >> exchange & 1:
            at = at if is_first else append_byte(_COMMA, out, at)
            at = append_packed(texts, bounds, names + exchange, out, at)
            is_first = False
    return append_octets(_END_OF_EXCHANGES, out, at)


@compiled
def _write_venue(tables: TableWords, state: np.void, number: int, exchange: int, via: int) -> int:
    """The body of an exchange's own answer; where it ends."""
    answer, row, out = state["answer"], state["rows"][number * ROWS + exchange], tables.octets
    texts, bounds = state["texts"], state["bounds"]
    own = number * TEXTS_AN_ASSET + 1 + 2 * exchange
    at = append_packed(texts, bounds, number * TEXTS_AN_ASSET, out, BODY_AT)
    at = append_decimal(answer["price"], signed(answer["scale"]), out, at)
    at = append_packed(texts, bounds, own, out, at)
    at = _write_side(tables, row, BID, _BID, at)
    at = _write_side(tables, row, ASK, _ASK, at)
    at = _write_side(tables, row, LAST, _LAST, at)
    at = append_packed(texts, bounds, own + 1, out, at)
    at = append_packed(texts, bounds, state["count"] * TEXTS_AN_ASSET + ROWS + via, out, at)
    at = append_integer(answer["timestamp_ms"], out, append_octets(_VENUE_TIMESTAMP, out, at))
    return append_octets(_FRESH, out, at)


@compiled
def _write_side(tables: TableWords, row: np.void, side: int, name: Octets, at: int) -> int:
    """One side where it counts, with a comma."""
    if row["counted"] >> side & 1 == 0:
        return at
    out = tables.octets
    at = append_decimal(row["price"][side], row["digits"], out, append_octets(name, out, at))
    return append_byte(_COMMA, out, at)
