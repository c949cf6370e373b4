"""Is a price fresh? Four signals for each row (an asset on this exchange), and the verdict on a connection.

1. Age of the last receipt.            2. Age by the exchange's own clock; no time is "unknown", never age 0.
3. Silence against the row's own rate. 4. "The others moved, you did not": a majority, and nothing confirms you.

Rules: pure; time is an argument, no socket, no table. What is judged here some times a second stands in records, which
arrivals.py keeps with each quote. Freshness is measured, not liveness: only a quote counts, a
heartbeat does not. Silence alone proves nothing, a market may be quiet: a silent row is asked for by REST, and REST
arbitrates. The same price with a fresh time says "quiet but alive"; another price contradicts the WebSocket, and the
connection is suspect. Times are monotonic ns, `*_wall_ns` and exchange times are ns since 1970.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from feeds.ingest.arrivals import LAG_WINDOW_NS, LINE_DTYPE, NO_GAP, begin_line, begin_row, is_untimely
from trinity.clock import NS_PER_SECOND
from trinity.memory.price_table import RowState, Via

# Quiet: silent for 8 of its own usual gaps (gaps of trades scatter widely), at least 3 s, and at most half of its
# age limit, so that REST has the other half to answer before the price is too old.
QUIET_GAPS = 8
QUIET_FLOOR_NS = 3 * NS_PER_SECOND
# No WebSocket data flows at all: a row waits this long, not its own quiet time.
DOWN_NS = int(1.5 * NS_PER_SECOND)
# Others moved by the row's outlier floor for 3 s: beyond it the consensus itself would begin to doubt the row. Others
# are more than half of all exchanges that list the asset, present or not, and all of them moved the same way: fewer may
# be lies, and where a market stands still the honest ones are silent, so that those present are soon only the liars.
FROZEN_NS = 3 * NS_PER_SECOND
# REST gave this many new prices while the WebSocket gave none: the subscription is dead, even if nothing else says so.
CONTRADICTIONS_MAX = 5
# Time for REST to arbitrate before a silence counts against the connection.
ARBITRATION_NS = 10 * NS_PER_SECOND
# Looked up once: in Python 3.11 an enum's member takes 0.4 us.
_WS = int(Via.WS)


class RowWatch:
    """Judges one row by its record. `move_limit` is a share of the price (0.001 is 10 bps), `listings` how many
    exchanges have it."""

    def __init__(self, row: np.void, max_age_ns: int, move_limit: float, started_ns: int, listings: int) -> None:
        begin_row(row, max_age_ns, started_ns)
        self._row = row
        self._max_age_ns = max_age_ns
        self._move_limit = move_limit
        self._movers_needed = listings // 2 + 1
        self._connected_at_ns = started_ns
        self._anchor: list[float | None] = []

    @property
    def contradictions(self) -> int:
        """New prices that REST gave since the WebSocket's last."""
        return int(self._row["contradictions"])

    @property
    def agreed(self) -> bool:
        """REST gave the WebSocket's last price again."""
        return bool(self._row["agreed"])

    def on_new_connection(self, now_ns: int) -> None:
        """A new one is not suspect for what the old one did; the time between two is no gap of the row's own rate."""
        self._connected_at_ns = now_ns
        for name in ("has_gap_start", "contradictions", "agreed"):
            self._row[name] = 0

    def judge(self, now_ns: int, now_wall_ns: int, is_flowing: bool, others: Sequence[float | None]) -> RowState:
        """The row's state; `others` are the other exchanges' fresh prices, always in the same order, None for none, in
        the currency of this row.

        `is_flowing`: the WebSocket delivers quotes for some row.
        """
        _, exchange_time_ns, received_at_ns, _, via = self._row["newest"].item()
        if not via:
            return RowState.STARTING
        if self._stands_still(now_ns, others):
            return RowState.FROZEN
        if now_ns - received_at_ns > self._max_age_ns or is_untimely(exchange_time_ns, now_wall_ns, self._max_age_ns):
            return RowState.STALE
        if via == _WS and self.is_ws_silent(now_ns, is_flowing):
            return RowState.QUIET
        return RowState.LIVE

    def is_ws_silent(self, now_ns: int, is_flowing: bool) -> bool:
        """No fresh quote came over the WebSocket for longer than this row may be silent: REST is due."""
        allowed_ns = self.quiet_after_ns if is_flowing else min(DOWN_NS, self.quiet_after_ns)
        return now_ns - int(self._row["ws_at_ns"]) > allowed_ns

    def is_dead(self, now_ns: int) -> bool:
        """The WebSocket's word on this row is refuted: the connection should be replaced."""
        if self.contradictions >= CONTRADICTIONS_MAX:
            return True
        frozen_since_ns = int(self._row["frozen_since_ns"])
        if not frozen_since_ns or self.agreed:
            return False
        suspect_since_ns = max(frozen_since_ns, self._connected_at_ns)
        return self.contradictions > 0 or now_ns - suspect_since_ns > ARBITRATION_NS

    @property
    def quiet_after_ns(self) -> int:
        ceiling_ns = self._max_age_ns // 2
        gap_ns = float(self._row["gap_ns"])
        if gap_ns == NO_GAP:
            return ceiling_ns
        return min(ceiling_ns, max(QUIET_FLOOR_NS, int(QUIET_GAPS * gap_ns)))

    def _is_confirmed(self, now_ns: int) -> bool:
        """For half of its age limit: REST, that is asked more often, has the time to say it again."""
        confirmed_at_ns = int(self._row["confirmed_at_ns"])
        return confirmed_at_ns != 0 and now_ns - confirmed_at_ns <= self._max_age_ns // 2

    def _stands_still(self, now_ns: int, others: Sequence[float | None]) -> bool:
        """Signal 4; the others' prices at this row's own last change are the anchor."""
        row = self._row
        if not row["has_anchor"]:
            self._anchor, row["has_anchor"] = list(others), 1
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
            row["moved_since_ns"] = 0
            return False
        if not row["moved_since_ns"]:
            row["moved_since_ns"] = now_ns
        if now_ns - int(row["moved_since_ns"]) < FROZEN_NS or self._is_confirmed(now_ns):
            return False
        if not row["frozen_since_ns"]:
            row["frozen_since_ns"] = now_ns
        return True


class Evidence(NamedTuple):
    """What the rows say of the connection."""

    rows: int
    contradicted: int  # REST gave another price than the WebSocket's last
    agreed: int  # REST gave the WebSocket's last price again
    frozen: int
    dead: int  # see RowWatch.is_dead


class ConnectionWatch:
    """Judges one connection by the quotes that came over it, which its `line` is told of.

    `serial` is larger for a younger connection.
    """

    def __init__(self, serial: int, silence_seconds: float) -> None:
        self.serial = serial
        self._silence_ns = int(silence_seconds * NS_PER_SECOND)
        self._opened_ns: int | None = None
        self.line = np.zeros(1, dtype=LINE_DTYPE)
        self._record: np.void = self.line[0]
        begin_line(self._record, serial)
        self.frame_at_ns = 0

    @property
    def is_behind(self) -> bool:
        """Quotes arrive ever later after their exchange time."""
        return bool(self._record["is_behind"])

    @property
    def quote_at_ns(self) -> int | None:
        """When the newest fresh quote came."""
        return int(self._record["quote_at_ns"]) or None

    @property
    def first_quote_ns(self) -> int | None:
        return int(self._record["first_quote_ns"]) or None

    def on_open(self, now_ns: int) -> None:
        """The handshake is done: silence counts from here."""
        self._opened_ns = now_ns
        self._record["window_ends_ns"] = now_ns + LAG_WINDOW_NS
        self.frame_at_ns = now_ns

    def is_flowing(self, now_ns: int) -> bool:
        """Quotes come at about the rate that is usual here."""
        if self.quote_at_ns is None or self.is_behind:
            return False
        usual_ns = int(QUIET_GAPS * max(0.0, float(self._record["gap_ns"])))
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
