"""Is a price fresh? Four signals for each row (an asset on this exchange), and the verdict on a connection.

1. Age of the last receipt.            2. Age by the exchange's own clock; no time is "unknown", never age 0.
3. Silence against the row's own rate. 4. "The others moved, you did not": a majority, and nothing confirms you.

Rules: pure; time is an argument, no socket, no table. Freshness is measured, not liveness: only a quote counts, a
heartbeat does not. Silence alone proves nothing, a market may be quiet: a silent row is asked for by REST, and REST
arbitrates. The same price with a fresh time says "quiet but alive"; another price contradicts the WebSocket, and the
connection is suspect. Times are monotonic ns, `*_wall_ns` and exchange times are ns since 1970.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from trinity.clock import NS_PER_SECOND
from trinity.limits import EXCHANGE_CLOCK_ALLOWANCE_NS
from trinity.memory.price_table import RowState, Via

# Quiet: silent for 8 of its own usual gaps (gaps of trades scatter widely), at least 3 s, and at most half of its
# age limit, so that REST has the other half to answer before the price is too old.
QUIET_GAPS = 8
QUIET_FLOOR_NS = 3 * NS_PER_SECOND
# A quote this much older than the one before it came out of order. Less is the difference between the times of a book
# and of a trade; more than the clock allowance is a clock that was set.
OUT_OF_ORDER_NS = NS_PER_SECOND // 4
# No WebSocket data flows at all: a row waits this long, not its own quiet time.
DOWN_NS = int(1.5 * NS_PER_SECOND)
# The baseline forgets over some 50 messages: slow beside a burst, fast beside a day.
RATE_WEIGHT = 0.02
# Others moved by the row's outlier floor for 3 s: beyond it the consensus itself would begin to doubt the row. Others
# are more than half of all exchanges that list the asset, present or not, and all of them moved the same way: fewer may
# be lies, and where a market stands still the honest ones are silent, so that those present are soon only the liars.
FROZEN_NS = 3 * NS_PER_SECOND
# REST gave this many new prices while the WebSocket gave none: the subscription is dead, even if nothing else says so.
CONTRADICTIONS_MAX = 5
# Time for REST to arbitrate before a silence counts against the connection.
ARBITRATION_NS = 10 * NS_PER_SECOND
# The freshest quote of 5 s is this much older than on the connection's best 5 s: it delivers slower than the exchange
# produces and falls behind (a stream at 82 % of the production rate loses 0.9 s in 5 s).
BEHIND_NS = 3 * NS_PER_SECOND
LAG_WINDOW_NS = 5 * NS_PER_SECOND
LAG_SAMPLES_MIN = 5
_WS, _REST = Via.WS, Via.REST  # looked up once: in Python 3.11 an enum's member takes 0.4 us


class Observation(msgspec.Struct, frozen=True, gc=False):
    """One quote as the watch sees it: the price is the mid of the book, else the last trade."""

    price: float
    exchange_time_ns: int | None
    received_at_ns: int
    received_wall_ns: int
    via: Via


class RowWatch:
    """Judges one row. `move_limit` is a share of the price (0.001 is 10 bps), `listings` how many exchanges have it."""

    def __init__(self, max_age_ns: int, move_limit: float, started_ns: int, listings: int) -> None:
        self._max_age_ns = max_age_ns
        self._move_limit = move_limit
        self._movers_needed = listings // 2 + 1
        self._connected_at_ns = started_ns
        self._ws_at_ns = started_ns
        self._gap_ns: float | None = None
        self._has_gap_start = False
        self._ws_price: float | None = None
        self._anchor: list[float | None] | None = None
        self._moved_since_ns: int | None = None
        self.newest: Observation | None = None
        self._confirmed_at_ns: int | None = None
        self.contradictions = 0
        self.agreed = False
        self.frozen_since_ns: int | None = None

    def is_newer(self, seen: Observation, asked_at_ns: int = 0) -> bool:
        """Is this quote newer than what the row has? `asked_at_ns` is when REST was asked for it."""
        newest = self.newest
        if newest is None:
            return True
        # A frozen row that repeats itself says nothing new, unless with a later time.
        is_repeated = seen.via is _WS and seen.price == self._ws_price
        if is_repeated and self.frozen_since_ns is not None and not self._confirms(seen):
            return False
        return _is_newer(seen, newest, asked_at_ns)

    def is_out_of_order(self, seen: Observation) -> bool:
        """A WebSocket quote from before the newest one, by the exchange's own clock."""
        newest = self.newest
        if newest is None or newest.via is not _WS or newest.exchange_time_ns is None or seen.exchange_time_ns is None:
            return False
        late_ns = newest.exchange_time_ns - seen.exchange_time_ns
        if not OUT_OF_ORDER_NS < late_ns <= EXCHANGE_CLOCK_ALLOWANCE_NS:
            return False
        return _trusted_time(seen) is not None and _trusted_time(newest) is not None

    def is_bare_repeat(self, seen: Observation) -> bool:
        """REST gives the price that the row has, without a newer time: it may be as old as the row itself.

        It may confirm a quiet market, but must not make the row younger, or a frozen REST service would forever.
        """
        newest = self.newest
        if newest is None or seen.price != newest.price:
            return False
        if seen.exchange_time_ns is None:
            return True
        return newest.exchange_time_ns is not None and seen.exchange_time_ns <= newest.exchange_time_ns

    def on_bare_repeat(self, seen: Observation) -> None:
        """Remember whether REST agrees with the WebSocket; the row keeps its age and is not confirmed by it."""
        self._accept_rest(seen)

    def recall(self, newest: Observation) -> None:
        """What the table has of the row from before this process: the next repeat of it is a repeat."""
        self.newest = newest

    def accept(self, seen: Observation) -> None:
        """This quote, found newer, is the row's now."""
        if self._confirms(seen):
            self._confirmed_at_ns = seen.received_at_ns
        if seen.via is _WS:
            self._accept_ws(seen)
        else:
            self._accept_rest(seen)
        if self.newest is None or seen.price != self.newest.price:
            self._anchor = None
            self._moved_since_ns = None
            self._confirmed_at_ns = None
        self.newest = seen

    def on_new_connection(self, now_ns: int) -> None:
        """A new one is not suspect for what the old one did; the time between two is no gap of the row's own rate."""
        self._connected_at_ns = now_ns
        self._has_gap_start = False
        self.contradictions = 0
        self.agreed = False

    def judge(self, now_ns: int, now_wall_ns: int, is_flowing: bool, others: Sequence[float | None]) -> RowState:
        """The row's state; `others` are the other exchanges' fresh prices, always in the same order, None for none, in
        the currency of this row.

        `is_flowing`: the WebSocket delivers quotes for some row.
        """
        newest = self.newest
        if newest is None:
            return RowState.STARTING
        if self._stands_still(now_ns, others):
            return RowState.FROZEN
        if now_ns - newest.received_at_ns > self._max_age_ns or self._is_untimely(newest, now_wall_ns):
            return RowState.STALE
        if newest.via is _WS and self.is_ws_silent(now_ns, is_flowing):
            return RowState.QUIET
        return RowState.LIVE

    def is_ws_silent(self, now_ns: int, is_flowing: bool) -> bool:
        """No fresh quote came over the WebSocket for longer than this row may be silent: REST is due."""
        return now_ns - self._ws_at_ns > (self.quiet_after_ns if is_flowing else min(DOWN_NS, self.quiet_after_ns))

    def is_dead(self, now_ns: int) -> bool:
        """The WebSocket's word on this row is refuted: the connection should be replaced."""
        if self.contradictions >= CONTRADICTIONS_MAX:
            return True
        if self.frozen_since_ns is None or self.agreed:
            return False
        suspect_since_ns = max(self.frozen_since_ns, self._connected_at_ns)
        return self.contradictions > 0 or now_ns - suspect_since_ns > ARBITRATION_NS

    @property
    def quiet_after_ns(self) -> int:
        ceiling_ns = self._max_age_ns // 2
        if self._gap_ns is None:
            return ceiling_ns
        return min(ceiling_ns, max(QUIET_FLOOR_NS, int(QUIET_GAPS * self._gap_ns)))

    def _accept_ws(self, seen: Observation) -> None:
        if self._has_gap_start:
            gap_ns = min(seen.received_at_ns - self._ws_at_ns, self._max_age_ns)
            known_ns = self._gap_ns
            self._gap_ns = gap_ns if known_ns is None else known_ns + RATE_WEIGHT * (gap_ns - known_ns)
        self._has_gap_start = True
        self._ws_at_ns = seen.received_at_ns
        self._ws_price = seen.price
        self.contradictions = 0
        self.agreed = False
        self.frozen_since_ns = None

    def _accept_rest(self, seen: Observation) -> None:
        self.agreed = seen.price == self._ws_price
        is_repeated = self.newest is not None and seen.price == self.newest.price
        if self._ws_price is not None and not self.agreed and not is_repeated:
            self.contradictions += 1

    def _confirms(self, seen: Observation) -> bool:
        """The exchange itself gives the row's price again, with a time that is fresh and later than before."""
        newest, time_ns = self.newest, seen.exchange_time_ns
        if newest is None or seen.price != newest.price or time_ns is None:
            return False
        is_later = newest.exchange_time_ns is None or time_ns > newest.exchange_time_ns
        return is_later and not self._is_untimely(seen, seen.received_wall_ns)

    def _is_confirmed(self, now_ns: int) -> bool:
        """For half of its age limit: REST, that is asked more often, has the time to say it again."""
        return self._confirmed_at_ns is not None and now_ns - self._confirmed_at_ns <= self._max_age_ns // 2

    def _is_untimely(self, seen: Observation, now_wall_ns: int) -> bool:
        """By the exchange's own clock it is too old, or from the future; without a time nobody knows."""
        if seen.exchange_time_ns is None:
            return False
        age_ns = now_wall_ns - seen.exchange_time_ns
        return not -EXCHANGE_CLOCK_ALLOWANCE_NS <= age_ns <= self._max_age_ns + EXCHANGE_CLOCK_ALLOWANCE_NS

    def _stands_still(self, now_ns: int, others: Sequence[float | None]) -> bool:
        """Signal 4; the others' prices at this row's own last change are the anchor."""
        if self._anchor is None:
            self._anchor = list(others)
            return False
        moves = []
        for i, price in enumerate(others):
            then = self._anchor[i]
            if then is None:
                self._anchor[i] = price
            elif price is not None:
                moves.append(price / then - 1)
        up, down = (sum(sign * move > self._move_limit for move in moves) for sign in (1, -1))
        if max(up, down) < self._movers_needed:
            self._moved_since_ns = None
            return False
        if self._moved_since_ns is None:
            self._moved_since_ns = now_ns
        if now_ns - self._moved_since_ns < FROZEN_NS or self._is_confirmed(now_ns):
            return False
        if self.frozen_since_ns is None:
            self.frozen_since_ns = now_ns
        return True


class Evidence(NamedTuple):
    """What the rows say of the connection."""

    rows: int
    contradicted: int  # REST gave another price than the WebSocket's last
    agreed: int  # REST gave the WebSocket's last price again
    frozen: int
    dead: int  # see RowWatch.is_dead


class ConnectionWatch:
    """Judges one connection by the quotes that came over it. `serial` is larger for a younger connection."""

    def __init__(self, serial: int, silence_seconds: float) -> None:
        self.serial = serial
        self._silence_ns = int(silence_seconds * NS_PER_SECOND)
        self._opened_ns: int | None = None
        self._gap_ns: float | None = None
        self._window_ends_ns = 0
        self._window_samples = 0
        self._window_lag_ns = 0
        self._best_lag_ns: int | None = None
        self.is_behind = False
        self.frame_at_ns = 0
        self.quote_at_ns: int | None = None
        self.first_quote_ns: int | None = None

    def on_open(self, now_ns: int) -> None:
        """The handshake is done: silence counts from here."""
        self._opened_ns = now_ns
        self._window_ends_ns = now_ns + LAG_WINDOW_NS
        self.frame_at_ns = now_ns

    def on_quote(self, seen: Observation, is_fresh: bool) -> None:
        """A quote came; `is_fresh` False: its row refused it as older than what it has."""
        now_ns = seen.received_at_ns
        if seen.exchange_time_ns is not None:
            self._on_lag(now_ns, seen.received_wall_ns - seen.exchange_time_ns)
        if not is_fresh:
            return
        if self.quote_at_ns is None:
            self.first_quote_ns = now_ns
        else:
            gap_ns = now_ns - self.quote_at_ns
            self._gap_ns = gap_ns if self._gap_ns is None else self._gap_ns + RATE_WEIGHT * (gap_ns - self._gap_ns)
        self.quote_at_ns = now_ns

    def is_flowing(self, now_ns: int) -> bool:
        """Quotes come at about the rate that is usual here."""
        if self.quote_at_ns is None or self.is_behind:
            return False
        usual_ns = int(QUIET_GAPS * (self._gap_ns or 0))
        return now_ns - self.quote_at_ns <= min(ARBITRATION_NS, max(QUIET_FLOOR_NS, usual_ns))

    def verdict(self, now_ns: int, evidence: Evidence) -> tuple[str, str] | None:
        """Why this connection must be replaced: one of RECONNECT_REASONS and a sentence; None: keep it."""
        if self._opened_ns is None:  # the handshake has its own bound
            return None
        silent_ns = now_ns - self.frame_at_ns
        if silent_ns > self._silence_ns:
            return "silent", f"nothing received for {silent_ns / NS_PER_SECOND:.1f} s"
        if self.is_behind:
            return "stale", "quotes arrive ever later after their exchange time"
        last_ns = self.quote_at_ns if self.quote_at_ns is not None else self._opened_ns
        if not self.is_flowing(now_ns):
            waited = f"no quote for {(now_ns - last_ns) / NS_PER_SECOND:.1f} s"
            if self.quote_at_ns is not None and evidence.contradicted and now_ns - last_ns > QUIET_FLOOR_NS:
                return "stale", f"{waited} while REST has new prices"
            if now_ns - last_ns > ARBITRATION_NS and not evidence.agreed:
                return "stale", f"{waited} and REST does not confirm that the market is quiet"
        if evidence.rows and 2 * evidence.frozen > evidence.rows:
            return "frozen", f"{evidence.frozen} of {evidence.rows} prices stand still while other exchanges move"
        if evidence.dead:
            return "frozen", f"{evidence.dead} of {evidence.rows} subscriptions deliver nothing while prices move"
        return None

    def _on_lag(self, now_ns: int, lag_ns: int) -> None:
        self._window_lag_ns = lag_ns if self._window_samples == 0 else min(self._window_lag_ns, lag_ns)
        self._window_samples += 1
        if now_ns < self._window_ends_ns:
            return
        if self._window_samples >= LAG_SAMPLES_MIN:
            best_ns = self._window_lag_ns if self._best_lag_ns is None else min(self._best_lag_ns, self._window_lag_ns)
            self._best_lag_ns = best_ns
            self.is_behind = self._window_lag_ns - best_ns > BEHIND_NS
        self._window_samples = 0
        self._window_ends_ns = now_ns + LAG_WINDOW_NS


def _is_newer(seen: Observation, newest: Observation, asked_at_ns: int) -> bool:
    """One WebSocket keeps its own order. Across ways the exchange's times decide, else the order of events here."""
    if seen.via is _WS and newest.via is _WS:
        return True
    seen_time, newest_time = _trusted_time(seen), _trusted_time(newest)
    if seen_time is not None and newest_time is not None:
        return seen_time >= newest_time
    return seen.via is _WS or newest.via is _REST or newest.received_at_ns < asked_at_ns


def _trusted_time(seen: Observation) -> int | None:
    """The exchange's time unless it lies in the future: such a time would keep every later quote out."""
    time_ns = seen.exchange_time_ns
    if time_ns is None or time_ns - seen.received_wall_ns > EXCHANGE_CLOCK_ALLOWANCE_NS:
        return None
    return time_ns
