"""Prices of names, of the catalog and beyond it, one or several: decided, read, judged and written. Compiled.

    if decide_names(beyond, gate, address, buffer, wanted, count, now_ns): the request is to wait
    at, lookups = write_prices(table_words, record, assets, exchanges, beyond, buffer, wanted, count, ..., out, at)

Rules: HTTP and UDP are two skins over this file. A name of the catalog pays for none of what names beyond it need. A
row beyond the catalog is looked for anew when it is read: it may have gone to another asset since it was decided.
"""

import numpy as np
from numpy.typing import NDArray

from trinity.access.gate import Gate
from trinity.compiled import compiled
from trinity.memory.atomics import Words
from trinity.native.octets import Octets, append_byte, append_octets, octets_of
from workers.request.answer import (
    ASSET_RESOLVING,
    UNKNOWN,
    VERDICT_LOOKUPS,
    Names,
    Record,
    judge,
    read_answer,
    row_of,
    write_named_price,
    write_price,
    write_refused_name,
)
from workers.request.beyond import (
    NOT_OF_CATALOG,
    Beyond,
    begin_names,
    decide,
    fold_name,
    is_undecided,
    read_spare,
    verdict_of,
)

_PRICES = octets_of(b'{"prices":[')
_END_OF_PRICES = octets_of(b"]}")
(_COMMA,) = b","


@compiled
def decide_names(
    beyond: Beyond, gate: Gate, address: Words, buffer: Octets, wanted: NDArray[np.int64], count: int, now_ns: int
) -> bool:
    """Say in `wanted` what each name is that the catalog does not know; True: the request waits for one of them."""
    first = 0
    while first < count and wanted[first, 0] != UNKNOWN:
        first += 1
    if first == count:
        return False
    begin_names(beyond)
    for i in range(first, count):
        if wanted[i, 0] == UNKNOWN:
            wanted[i, 0] = decide(beyond, gate, address, buffer, wanted[i, 1], wanted[i, 2], now_ns)
    return is_undecided(beyond)


@compiled
def judge_spare(
    table_words: Words,
    record: Record,
    exchanges: Names,
    beyond: Beyond,
    buffer: Octets,
    start: int,
    end: int,
    asset: int,
    exchange: int,
    now_ns: int,
    max_age_ms: int,
    min_sources: int,
    max_conf_milli_bps: int,
) -> int:
    """Read the row of a spare asset that `buffer[start:end]` was decided to be, and say whether its price is good."""
    fold_name(buffer, start, end, beyond.words)
    if not read_spare(beyond, table_words, asset, row_of(exchanges, asset, exchange), record):
        record.fields["has_last_good"] = 0
        record.fields["rejected"] = 0
        return ASSET_RESOLVING
    return judge(record, now_ns, max_age_ms, min_sources, max_conf_milli_bps)


@compiled
def write_prices(
    table_words: Words,
    record: Record,
    assets: Names,
    exchanges: Names,
    beyond: Beyond,
    buffer: Octets,
    wanted: NDArray[np.int64],
    count: int,
    exchange: int,
    now_ns: int,
    max_age_ms: int,
    min_sources: int,
    max_conf_milli_bps: int,
    out: Octets,
    at: int,
) -> tuple[int, int]:
    """Append `{"prices":[...]}` over `count` rows of `wanted`, each good or with its own error; and what they cost.

    `buffer` is only read for names that are not the catalog's. At most PRICE_BYTES_MAX bytes an asset.
    """
    lookups = 0
    at = append_octets(_PRICES, out, at)
    for i in range(count):
        if i > 0:
            at = append_byte(_COMMA, out, at)
        asset = wanted[i, 0]
        if asset < 0:
            at = write_refused_name(verdict_of(asset), buffer, wanted[i, 1], wanted[i, 2], out, at)
        elif asset < assets["count"]:
            read_answer(table_words, row_of(exchanges, asset, exchange), record)
            verdict = judge(record, now_ns, max_age_ms, min_sources, max_conf_milli_bps)
            lookups += max(0, VERDICT_LOOKUPS[verdict])
            at = write_price(record, verdict, assets, asset, now_ns, out, at)
        else:
            verdict = judge_spare(
                table_words, record, exchanges, beyond, buffer, wanted[i, 1], wanted[i, 2], asset, exchange, now_ns,
                max_age_ms, min_sources, max_conf_milli_bps,
            )  # fmt: skip
            lookups += max(0, VERDICT_LOOKUPS[verdict])
            beyond.state[NOT_OF_CATALOG] += max(0, VERDICT_LOOKUPS[verdict])
            at = write_named_price(record, verdict, buffer, wanted[i, 1], wanted[i, 2], now_ns, out, at)
    return append_octets(_END_OF_PRICES, out, at), lookups
