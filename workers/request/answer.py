"""A request's answer out of shared memory: freshness and quality checked, rendered bytes copied. Pure, compiled.

HTTP and UDP are two skins over this file. How a skin uses it, for asset number `asset`:

    asset = find_name(assets, buffer, start, end)              -1: unknown; any case, aliases too
    exchange = find_name(exchanges, buffer, start, end)        -1: unknown
    row = row_of(exchanges, asset, exchange)                   exchange CONSENSUS (-1): the consensus price
    read_answer(table_words, row, record)                      copy the newest record into the scratch record
    verdict = judge(record, now_ns, max_age_ms, min_sources, max_conf_milli_bps)     GOOD, or why not
    at = write_price(record, verdict, assets, asset, now_ns, out, at)                the JSON object, good or error
    VERDICT_STATUS[verdict]                                    the HTTP status of that object when it stands alone
    VERDICT_LOOKUPS[verdict]                                   what it costs, for gate.charge

    count = parse_assets(assets, buffer, start, end, wanted)   "BTC,ETH"; -1: an empty name or too many
    prices.py goes on with it, and beyond.py with a name that no asset of the catalog has

Python side: `make_names` for `assets` and `exchanges`, `make_record` for the scratch record, both made once per worker.
`record.fields["price"]` and so on are the numbers of ANSWER_DTYPE, `record.octets` its texts.
Byte helpers (append_slice, append_integer, parse_integer, parse_decimal ...) are in octets.py.

Rules: now_ns is CLOCK_MONOTONIC. A limit <= 0 is not stated. A price whose `valid_until_ns` has passed is stale
whatever its state says, so a dead consensus process gives `stale_price` and never an old number.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.access.charge import MISTAKE
from trinity.clock import NS_PER_MS
from trinity.compiled import compiled, compiled_inline
from trinity.limits import ALIASES_MAX, ASSET_NAME_BYTES_MAX, ASSETS_MAX
from trinity.memory.answer_table import (
    ANSWER_DTYPE,
    BODY_AT,
    BODY_BYTES,
    ERROR_CODES,
    PRICE_TEXT_AT,
    PRICE_TEXT_BYTES,
    ROW_WORDS,
    SLOT_WORDS,
    AnswerState,
)
from trinity.memory.atomics import Words
from trinity.memory.cell import snapshot
from trinity.native.octets import (
    Octets,
    append_byte,
    append_integer,
    append_octets,
    append_packed,
    append_slice,
    byte_at,
    folded,
    octets_of,
    pack_texts,
)
from trinity.vocabulary import KEY_START, Problem, problem_for

UNKNOWN = -1
CONSENSUS = -1


# --- verdicts: why a price is or is not given -----------------------------------------------------------------

_VERDICTS = (
    Problem(200, "fresh", ""),
    problem_for("stale_price"),
    problem_for("too_few_sources"),
    problem_for("sources_disagree"),
    problem_for("unknown_market"),
    problem_for("price_too_old"),
    problem_for("too_few_sources", "min_sources"),
    problem_for("confidence_too_wide"),
    problem_for("unknown_asset"),
    problem_for("asset_resolving"),
    problem_for("miss_budget_exceeded"),
)
(
    GOOD,
    STALE_PRICE,
    TOO_FEW_SOURCES,
    SOURCES_DISAGREE,
    UNKNOWN_MARKET,
    PRICE_TOO_OLD,
    FEWER_THAN_MIN_SOURCES,
    CONFIDENCE_TOO_WIDE,
    UNKNOWN_ASSET,
    ASSET_RESOLVING,
    MISS_BUDGET_EXCEEDED,
) = range(len(_VERDICTS))

VERDICT_CODES = tuple(verdict.code for verdict in _VERDICTS)
VERDICT_STATUS = np.array([verdict.status for verdict in _VERDICTS], dtype=np.int64)
# What is refused for the client's own limits costs as well: the node has the price, and gives it as the last good one.
# That the node has none costs nobody anything.
VERDICT_LOOKUPS = np.zeros(len(_VERDICTS), dtype=np.int64)
for _verdict in (GOOD, PRICE_TOO_OLD, FEWER_THAN_MIN_SOURCES, CONFIDENCE_TOO_WIDE):
    VERDICT_LOOKUPS[_verdict] = 1
for _verdict in (UNKNOWN_MARKET, UNKNOWN_ASSET):
    VERDICT_LOOKUPS[_verdict] = MISTAKE
# Answers by AnswerState, for a state that is not GOOD; an unknown state is as good as none.
_OF_STATE = np.full(len(AnswerState), STALE_PRICE, dtype=np.int64)
_OF_STATE[AnswerState.GOOD] = GOOD
for _state, _code in ERROR_CODES.items():
    _OF_STATE[_state] = VERDICT_CODES.index(_code)

_ERRORS, _ERROR_BOUNDS = pack_texts(
    [f'{{"error":{{{verdict.members}}},"status":"{verdict.code}","asset":"'.encode() for verdict in _VERDICTS]
)
_LAST_PRICE = octets_of(b'","last_price":')
_LAST_TIMESTAMP = octets_of(b',"last_timestamp":')
_AGE = octets_of(b',"age_ms":')
_END_OF_NAME = octets_of(b'"}')
_COMMA, _BRACE, _QUESTION_MARK = b",}?"
_KEY_START = octets_of(KEY_START.encode())

# One price as an element of a list, with its comma. An error is shorter: texts of some 150 bytes, a name, numbers.
PRICE_BYTES_MAX = BODY_BYTES + 1


# --- names ----------------------------------------------------------------------------------------------------


_NAMES_MAX = ASSETS_MAX + ALIASES_MAX
# Three slots a name and more: nearly every name is found at the first look.
_SLOTS = 4 * ASSETS_MAX
# Assets or exchanges by index, aliases behind them, and a hash table to find them: position of a name or UNKNOWN, by
# the hash of the folded name, open addressing. A record and not a tuple of arrays: compiled code passes one pointer.
NAMES_DTYPE = np.dtype(
    [
        ("count", np.int64),  # without aliases
        ("lengths", np.int64, _NAMES_MAX),
        ("meanings", np.int64, _NAMES_MAX),  # the index that a name means: an alias that of its asset
        ("slots", np.int64, _SLOTS),
        ("text", np.uint8, (_NAMES_MAX, ASSET_NAME_BYTES_MAX)),  # as in the catalog
    ],
    align=True,
)
Names = np.void


def make_names(names: Sequence[str], aliases: Mapping[str, int] | None = None) -> Names:
    """One NAMES_DTYPE record; `aliases` are further names with the index of the name that they stand for.

    ValueError for a name that is too long or there twice (case tells no names apart).
    """
    table: Names = np.zeros(1, dtype=NAMES_DTYPE)[0]
    table["slots"] = UNKNOWN
    meanings = [*((name, index) for index, name in enumerate(names)), *(aliases or {}).items()]
    for position, (name, meaning) in enumerate(meanings):
        octets = octets_of(name.encode("ascii"))
        if not 1 <= octets.size <= ASSET_NAME_BYTES_MAX or find_name(table, octets, 0, octets.size) != UNKNOWN:
            raise ValueError(f"name {name!r} is too long or there twice")
        table["text"][position, : octets.size] = octets
        table["lengths"][position] = octets.size
        table["meanings"][position] = meaning
        slot = int(_hash_of(octets, 0, octets.size)) % _SLOTS
        while table["slots"][slot] != UNKNOWN:
            slot = (slot + 1) % _SLOTS
        table["slots"][slot] = position
    table["count"] = len(names)
    return table


@compiled
def _hash_of(buffer: Octets, start: int, end: int) -> int:
    """FNV-1a of the folded bytes in 32 bits; the product stays below 2**57."""
    value = 2166136261
    for i in range(start, end):
        value = ((value ^ folded(byte_at(buffer, i))) * 16777619) & 0xFFFFFFFF
    return value ^ (value >> 15)


@compiled_inline
def find_name(names: Names, buffer: Octets, start: int, end: int) -> int:
    """What the name `buffer[start:end]` in any case means, UNKNOWN when there is none."""
    length = end - start
    if length < 1 or length > ASSET_NAME_BYTES_MAX:
        return UNKNOWN
    slot = _hash_of(buffer, start, end) % _SLOTS
    position: int = names["slots"][slot]
    while position != UNKNOWN:
        if names["lengths"][position] == length:
            i = 0
            while i < length and folded(byte_at(names["text"][position], i)) == folded(byte_at(buffer, start + i)):
                i += 1
            if i == length:
                meaning: int = names["meanings"][position]
                return meaning
        slot = (slot + 1) % _SLOTS
        position = names["slots"][slot]
    return UNKNOWN


@compiled
def append_name(names: Names, index: int, out: Octets, at: int) -> int:
    """Append a name as the catalog writes it."""
    length: int = names["lengths"][index]
    return append_slice(names["text"][index], 0, length, out, at)


# --- one record -----------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """One scratch ANSWER_DTYPE record: its words, and in the same memory its numbers by name and its texts."""

    words: Words
    fields: np.void
    octets: Octets  # texts begin at PRICE_TEXT_AT, HEAD_AT and BODY_AT


def make_record() -> Record:
    words = np.zeros(SLOT_WORDS, dtype=np.uint64)
    return Record(words, words.view(ANSWER_DTYPE)[0], words.view(np.uint8))


@compiled
def row_of(exchanges: Names, asset: int, exchange: int) -> int:
    """Row of an asset's consensus price (exchange CONSENSUS) or of its price on one exchange."""
    columns: int = 1 + exchanges["count"]
    return asset * columns + 1 + exchange


@compiled_inline
def read_answer(table_words: Words, row: int, record: Record) -> bool:
    """Copy the newest record of `row`; False when there is none, and the record then says EMPTY."""
    if snapshot(table_words, row * ROW_WORDS, SLOT_WORDS, record.words):
        return True
    record.fields["state"] = 0
    record.fields["has_last_good"] = 0
    record.fields["body_length"] = 0
    return False


@compiled_inline
def judge(record: Record, now_ns: int, max_age_ms: int, min_sources: int, max_conf_milli_bps: int) -> int:
    """GOOD, or the first reason not to give this price to this caller."""
    state = record.fields["state"]
    if state < 0 or state >= _OF_STATE.size:
        return STALE_PRICE
    verdict: int = _OF_STATE[state]
    if verdict != GOOD:
        return verdict
    if now_ns >= record.fields["valid_until_ns"]:
        return STALE_PRICE
    age_ns = now_ns - record.fields["received_at_ns"]
    if max_age_ms > 0 and (age_ns + NS_PER_MS - 1) // NS_PER_MS > max_age_ms:
        return PRICE_TOO_OLD
    if min_sources > 0 and record.fields["sources"] < min_sources:
        return FEWER_THAN_MIN_SOURCES
    if max_conf_milli_bps > 0 and record.fields["confidence_milli_bps"] > max_conf_milli_bps:
        return CONFIDENCE_TOO_WIDE
    return GOOD


@compiled
def age_ms_of(record: Record, now_ns: int) -> int:
    """Age of the record's price in whole milliseconds."""
    received_at_ns: int = record.fields["received_at_ns"]
    return max(0, now_ns - received_at_ns) // NS_PER_MS


@compiled
def write_price(record: Record, verdict: int, assets: Names, asset: int, now_ns: int, out: Octets, at: int) -> int:
    """Append the JSON object of one price: the rendered body when GOOD, else the error with the last good price."""
    if verdict == GOOD:
        return append_slice(record.octets, BODY_AT, record.fields["body_length"], out, at)
    at = append_packed(_ERRORS, _ERROR_BOUNDS, verdict, out, at)
    return append_last_good(record, now_ns, out, append_name(assets, asset, out, at))


@compiled
def write_named_price(
    record: Record, verdict: int, buffer: Octets, start: int, end: int, now_ns: int, out: Octets, at: int
) -> int:
    """As `write_price`, of an asset that the catalog does not name but the client did."""
    if verdict == GOOD:
        return append_slice(record.octets, BODY_AT, record.fields["body_length"], out, at)
    at = append_packed(_ERRORS, _ERROR_BOUNDS, verdict, out, at)
    return append_last_good(record, now_ns, out, append_shown(buffer, start, end, out, at))


@compiled
def append_last_good(record: Record, now_ns: int, out: Octets, at: int) -> int:
    """Append what follows the name in an error object: the last good price, where there is one."""
    if record.fields["has_last_good"] != 1:
        return append_octets(_END_OF_NAME, out, at)
    at = append_octets(_LAST_PRICE, out, at)
    text_length = min(record.fields["price_text_length"], PRICE_TEXT_BYTES)
    at = append_slice(record.octets, PRICE_TEXT_AT, text_length, out, at)
    at = append_octets(_LAST_TIMESTAMP, out, at)
    at = append_integer(record.fields["timestamp_ms"], out, at)
    at = append_octets(_AGE, out, at)
    at = append_integer(age_ms_of(record, now_ns), out, at)
    return append_byte(_BRACE, out, at)


@compiled
def append_shown(buffer: Octets, start: int, end: int, out: Octets, at: int) -> int:
    """Append a client's own word inside a JSON string, cut to a name's length; bytes that need care become `?`.

    So does what follows `trk_`: a key that went astray does not come back into whatever keeps answers.
    """
    secret = False
    for i in range(start, min(end, start + ASSET_NAME_BYTES_MAX)):
        byte = byte_at(buffer, i)
        secret = secret or (i - start >= _KEY_START.size and _is_key_start(buffer, i - _KEY_START.size))
        plain = 0x20 < byte < 0x7F and byte != 0x22 and byte != 0x5C and not secret  # neither quote nor backslash
        at = append_byte(byte if plain else _QUESTION_MARK, out, at)
    return at


@compiled
def _is_key_start(buffer: Octets, at: int) -> bool:
    for i in range(_KEY_START.size):  # noqa: SIM110 - a generator expression does not compile
        if buffer[at + i] != _KEY_START[i]:
            return False
    return True


@compiled
def write_refused_name(verdict: int, buffer: Octets, start: int, end: int, out: Octets, at: int) -> int:
    """Append the error object of a name that has no row: UNKNOWN_ASSET, or another reason."""
    at = append_packed(_ERRORS, _ERROR_BOUNDS, verdict, out, at)
    at = append_shown(buffer, start, end, out, at)
    return append_octets(_END_OF_NAME, out, at)


# --- several assets -------------------------------------------------------------------------------------------


@compiled
def parse_assets(assets: Names, buffer: Octets, start: int, end: int, wanted: NDArray[np.int64]) -> int:
    """Split `BTC,ETH` into rows of `wanted` (int64[n, 3]: asset or UNKNOWN, start and end of the name).

    Returns how many there are, UNKNOWN when a name is empty or there are more than `wanted` holds.
    """
    count = 0
    name_start = start
    for i in range(start, end + 1):
        if i == end or byte_at(buffer, i) == _COMMA:
            if i == name_start or count >= wanted.shape[0]:
                return UNKNOWN
            wanted[count, 0] = find_name(assets, buffer, name_start, i)
            wanted[count, 1] = name_start
            wanted[count, 2] = i
            count += 1
            name_start = i + 1
    return count
