"""What a quote does to its row and its connection when it arrives, compiled: is it news, and what is remembered of it.

    seen     SEEN_DTYPE   the quote: its price is the mid of the book, else the last trade
    row      ROW_DTYPE    what is known of an asset on this exchange (judged in freshness.py)
    line     LINE_DTYPE   what is known of a connection

Rules: pure; one implementation for what comes over the WebSocket and for what REST answers. Times are monotonic ns,
`wall_ns` and exchange times are ns since 1970; 0 is no time, `via` 0 (Via.NONE) no quote.
"""

import math

import numpy as np

from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled
from trinity.limits import EXCHANGE_CLOCK_ALLOWANCE_NS
from trinity.memory.price_table import RowState, Via

# A quote this much older than the one before it came out of order. Less is the difference between the times of a book
# and of a trade; more than the clock allowance is a clock that was set.
OUT_OF_ORDER_NS = NS_PER_SECOND // 4
# The baseline forgets over some 50 messages: slow beside a burst, fast beside a day.
RATE_WEIGHT = 0.02
# The freshest quote of 5 s is this much older than on the connection's best 5 s: it delivers slower than the exchange
# produces and falls behind (a stream at 82 % of the production rate loses 0.9 s in 5 s).
BEHIND_NS = 3 * NS_PER_SECOND
LAG_WINDOW_NS = 5 * NS_PER_SECOND
LAG_SAMPLES_MIN = 5

NO_GAP = -1.0
_NO_LAG = 2**63 - 1
_WS, _REST = int(Via.WS), int(Via.REST)

SEEN_DTYPE = np.dtype(
    [
        ("price", np.float64),
        ("exchange_time_ns", np.int64),
        ("received_at_ns", np.int64),
        ("received_wall_ns", np.int64),
        ("via", np.int64),
    ],
    align=True,
)

ROW_DTYPE = np.dtype(
    [
        ("max_age_ns", np.int64),
        ("state", np.int64),  # RowState
        ("serial", np.int64),  # of the connection that it belongs to; 0: whoever delivers next
        ("is_left_out", np.int64),  # the WebSocket does not have it, or had not until now
        ("newest", SEEN_DTYPE),
        ("ws_price", np.float64),  # the last one over the WebSocket, NaN before it
        ("ws_at_ns", np.int64),
        ("gap_ns", np.float64),  # the usual one between two quotes of the WebSocket
        ("has_gap_start", np.int64),
        ("has_anchor", np.int64),  # the others' prices were taken down since the price changed
        ("moved_since_ns", np.int64),
        ("confirmed_at_ns", np.int64),
        ("frozen_since_ns", np.int64),
        ("contradictions", np.int64),  # new prices by REST alone
        ("agreed", np.int64),  # REST gave the WebSocket's price again
    ],
    align=True,
)

LINE_DTYPE = np.dtype(
    [
        ("serial", np.int64),
        ("quote_at_ns", np.int64),
        ("first_quote_ns", np.int64),
        ("gap_ns", np.float64),
        ("window_ends_ns", np.int64),
        ("window_samples", np.int64),
        ("window_lag_ns", np.int64),
        ("best_lag_ns", np.int64),
        ("is_behind", np.int64),
    ],
    align=True,
)


def begin_row(row: np.void, max_age_ns: int, now_ns: int) -> None:
    """A row that has received nothing."""
    row["max_age_ns"], row["state"], row["ws_at_ns"] = max_age_ns, RowState.STARTING, now_ns
    row["ws_price"], row["gap_ns"] = math.nan, NO_GAP


def begin_line(line: np.void, serial: int) -> None:
    """A connection over which nothing came."""
    line["serial"], line["gap_ns"], line["best_lag_ns"] = serial, NO_GAP, _NO_LAG


@compiled
def is_newer(row: np.void, seen: np.void, asked_at_ns: int) -> bool:
    """Is this quote newer than what the row has? `asked_at_ns` is when REST was asked for it.

    One WebSocket keeps its own order. Across ways the exchange's times decide, else the order of events here.
    """
    newest = row["newest"]
    if newest["via"] == 0:
        return True
    # A frozen row that repeats itself says nothing new, unless with a later time.
    is_repeated = seen["via"] == _WS and seen["price"] == row["ws_price"]
    if is_repeated and row["frozen_since_ns"] != 0 and not _confirms(row, seen):
        return False
    if seen["via"] == _WS and newest["via"] == _WS:
        return True
    if _has_trusted_time(seen) and _has_trusted_time(newest):
        return bool(seen["exchange_time_ns"] >= newest["exchange_time_ns"])
    return bool(seen["via"] == _WS or newest["via"] == _REST or newest["received_at_ns"] < asked_at_ns)


@compiled
def is_out_of_order(row: np.void, seen: np.void) -> bool:
    """A WebSocket quote from before the newest one, by the exchange's own clock."""
    newest = row["newest"]
    if newest["via"] != _WS or newest["exchange_time_ns"] == 0 or seen["exchange_time_ns"] == 0:
        return False
    late_ns = newest["exchange_time_ns"] - seen["exchange_time_ns"]
    if not OUT_OF_ORDER_NS < late_ns <= EXCHANGE_CLOCK_ALLOWANCE_NS:
        return False
    return _has_trusted_time(seen) and _has_trusted_time(newest)


@compiled
def is_bare_repeat(row: np.void, seen: np.void) -> bool:
    """REST gives the price that the row has, without a newer time: it may be as old as the row itself.

    It may confirm a quiet market, but must not make the row younger, or a frozen REST service would forever.
    """
    newest = row["newest"]
    if newest["via"] == 0 or seen["price"] != newest["price"]:
        return False
    if seen["exchange_time_ns"] == 0:
        return True
    return bool(newest["exchange_time_ns"] != 0 and seen["exchange_time_ns"] <= newest["exchange_time_ns"])


@compiled
def on_rest(row: np.void, seen: np.void) -> None:
    """Remember whether REST agrees with the WebSocket."""
    row["agreed"] = seen["price"] == row["ws_price"]
    is_repeated = row["newest"]["via"] != 0 and seen["price"] == row["newest"]["price"]
    if not math.isnan(row["ws_price"]) and row["agreed"] == 0 and not is_repeated:
        row["contradictions"] += 1


@compiled
def accept(row: np.void, seen: np.void) -> None:
    """This quote, found newer, is the row's now."""
    newest = row["newest"]
    if _confirms(row, seen):
        row["confirmed_at_ns"] = seen["received_at_ns"]
    if seen["via"] == _WS:
        _accept_ws(row, seen)
    else:
        on_rest(row, seen)
    if newest["via"] == 0 or seen["price"] != newest["price"]:
        row["has_anchor"] = row["moved_since_ns"] = row["confirmed_at_ns"] = 0
    newest["price"], newest["exchange_time_ns"] = seen["price"], seen["exchange_time_ns"]
    newest["received_at_ns"], newest["received_wall_ns"] = seen["received_at_ns"], seen["received_wall_ns"]
    newest["via"] = seen["via"]


@compiled
def _accept_ws(row: np.void, seen: np.void) -> None:
    if row["has_gap_start"] != 0:
        gap_ns = float(min(seen["received_at_ns"] - row["ws_at_ns"], row["max_age_ns"]))
        row["gap_ns"] = _usual(row["gap_ns"], gap_ns)
    row["has_gap_start"] = 1
    row["ws_at_ns"], row["ws_price"] = seen["received_at_ns"], seen["price"]
    row["contradictions"] = row["agreed"] = row["frozen_since_ns"] = 0


@compiled
def _usual(known_ns: float, gap_ns: float) -> float:
    return gap_ns if known_ns == NO_GAP else known_ns + RATE_WEIGHT * (gap_ns - known_ns)


@compiled
def _confirms(row: np.void, seen: np.void) -> bool:
    """The exchange itself gives the row's price again, with a time that is fresh and later than before."""
    newest = row["newest"]
    if newest["via"] == 0 or seen["price"] != newest["price"] or seen["exchange_time_ns"] == 0:
        return False
    is_later = newest["exchange_time_ns"] == 0 or seen["exchange_time_ns"] > newest["exchange_time_ns"]
    return is_later and not is_untimely(seen["exchange_time_ns"], seen["received_wall_ns"], row["max_age_ns"])


@compiled
def is_untimely(exchange_time_ns: int, now_wall_ns: int, max_age_ns: int) -> bool:
    """By the exchange's own clock it is too old, or from the future; without a time nobody knows."""
    if exchange_time_ns == 0:
        return False
    age_ns = now_wall_ns - exchange_time_ns
    return not -EXCHANGE_CLOCK_ALLOWANCE_NS <= age_ns <= max_age_ns + EXCHANGE_CLOCK_ALLOWANCE_NS


@compiled
def _has_trusted_time(seen: np.void) -> bool:
    """The exchange's time, unless it lies in the future: such a time would keep every later quote out."""
    time_ns = seen["exchange_time_ns"]
    return bool(time_ns != 0 and time_ns - seen["received_wall_ns"] <= EXCHANGE_CLOCK_ALLOWANCE_NS)


@compiled
def on_quote(line: np.void, seen: np.void, is_fresh: bool) -> None:
    """A quote came over a connection; `is_fresh` False: its row refused it as older than what it has."""
    now_ns = seen["received_at_ns"]
    if seen["exchange_time_ns"] != 0:
        _on_lag(line, now_ns, seen["received_wall_ns"] - seen["exchange_time_ns"])
    if not is_fresh:
        return
    if line["quote_at_ns"] == 0:
        line["first_quote_ns"] = now_ns
    else:
        line["gap_ns"] = _usual(line["gap_ns"], float(now_ns - line["quote_at_ns"]))
    line["quote_at_ns"] = now_ns


@compiled
def _on_lag(line: np.void, now_ns: int, lag_ns: int) -> None:
    line["window_lag_ns"] = lag_ns if line["window_samples"] == 0 else min(line["window_lag_ns"], lag_ns)
    line["window_samples"] += 1
    if now_ns < line["window_ends_ns"]:
        return
    if line["window_samples"] >= LAG_SAMPLES_MIN:
        line["best_lag_ns"] = min(line["best_lag_ns"], line["window_lag_ns"])
        line["is_behind"] = line["window_lag_ns"] - line["best_lag_ns"] > BEHIND_NS
    line["window_samples"] = 0
    line["window_ends_ns"] = now_ns + LAG_WINDOW_NS
