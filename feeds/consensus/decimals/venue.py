"""One exchange's quote on its own: what it is worth now, and what of it stops counting when. Pure.

Steps 1 and 2 of the consensus (feeds/consensus/decimals/rules.py) as far as they depend on the quote alone:

    each side     bid, ask and last age by themselves, by our receipt and by the exchange's own time
    venue price   median of bid, ask and last, those of them that count; a book counts only when it is whole

Rules: a quote is judged once, into phases. In a phase the same sides are fresh; it ends when the first of them is too
old, and `later` is what the rest says from then on. A last price far outside its own book does not count: the book
stays. Nothing here knows what time it is: `phase_at` is asked with it.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, Optional

from trinity.book import is_off_book
from trinity.clock import NS_PER_MS
from trinity.limits import EXCHANGE_CLOCK_ALLOWANCE_NS
from trinity.markets import AssetRules
from trinity.memory.price_table import Side, StoredQuote, scale_of

_BPS = Decimal(10_000)
LAST_OFF_BOOK = "last_off_book"


class VenuePrice(NamedTuple):
    """What one quote says while the same of its sides are fresh.

    `price` and `half_width` are in the venue's currency and None when `refusal` is set, one of
    vocabulary.REJECT_REASONS. It holds up to and including `fresh_until_ns` (monotonic); afterwards `later` does, and
    without one the quote is rejected for `late_reason`. `digits` are those behind the point of the exchange's own
    numbers. The receipt is that of the side that the price is: of the older one where it lies between two.
    `bid`, `ask` and `last` are the prices that count, `left_out` says why another does not.
    """

    price: Decimal | None
    half_width: Decimal | None
    refusal: str | None
    digits: int
    fresh_until_ns: int
    late_reason: str
    received_at_ns: int
    received_wall_ns: int
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    later: Optional["VenuePrice"] = None
    heard_at_ns: int = 0  # the newest receipt of any side, whether it counts or not


class _Fresh(NamedTuple):
    """Up to when a side counts, and what it is refused for afterwards; `refusal` is set when it never counts."""

    name: str
    side: Side
    until_ns: int
    late_reason: str
    refusal: str | None


def judge_quote(quote: StoredQuote, rules: AssetRules) -> VenuePrice:
    """The quote's first phase.

    The age by the exchange's own clock is taken from the wall clock at receipt, so a wall clock that jumps later
    changes no verdict. An absent exchange time says nothing: the age by receipt then decides alone.
    """
    named = (("bid", quote.bid), ("ask", quote.ask), ("last", quote.last))
    sides = [_freshness(name, side, rules) for name, side in named if side is not None]
    ends = sorted({fresh.until_ns for fresh in sides}) or [0]
    phase: VenuePrice | None = None
    for end_ns in reversed(ends):
        phase = _phase(sides, end_ns, rules, phase)
    assert phase is not None, "there is at least one end"
    return phase


def phase_at(venue: VenuePrice, now_ns: int) -> VenuePrice:
    """What a quote that was judged says at `now_ns` (monotonic); its last phase when all of it is too old."""
    while venue.later is not None and now_ns > venue.fresh_until_ns:
        venue = venue.later
    return venue


def _freshness(name: str, side: Side, rules: AssetRules) -> _Fresh:
    until_ns, late_reason, refusal = side.received_at_ns + rules.max_age_ms * NS_PER_MS, "stale", None
    if side.exchange_time_ns is not None:
        behind_ns = side.received_wall_ns - side.exchange_time_ns
        if behind_ns < -EXCHANGE_CLOCK_ALLOWANCE_NS:
            refusal = "future_exchange_time"
        if behind_ns > EXCHANGE_CLOCK_ALLOWANCE_NS:
            until_ns += EXCHANGE_CLOCK_ALLOWANCE_NS - behind_ns
            late_reason = "stale_exchange_time"
    return _Fresh(name, side, until_ns, late_reason, refusal)


def _phase(sides: Sequence[_Fresh], end_ns: int, rules: AssetRules, later: VenuePrice | None) -> VenuePrice:
    """The phase that ends at `end_ns`."""
    digits = max((scale_of(fresh.side.price.normalize()) for fresh in sides), default=0)
    left_out: dict[str, str] = {}
    counted: dict[str, Side] = {}
    for fresh in sides:
        if fresh.refusal is not None or fresh.until_ns < end_ns:
            left_out[fresh.name] = fresh.refusal or fresh.late_reason
        else:
            counted[fresh.name] = fresh.side
    refusal = _refusal(counted, left_out, rules)
    late_reason = next((fresh.late_reason for fresh in sides if fresh.until_ns == end_ns), "stale")
    whole = (counted["bid"].price, counted["ask"].price) if "bid" in counted and "ask" in counted else None
    traded = counted.get("last")
    if refusal is None and whole and traded and is_off_book(*whole, traded.price, rules.max_spread_bps):
        left_out["last"] = LAST_OFF_BOOK
        del counted["last"]
    price, half_width, middle = _price(counted, whole, digits, rules) if refusal is None else (None, None, None)
    oldest = middle or min((fresh.side for fresh in sides), key=lambda side: side.received_at_ns, default=None)
    bid, ask, last = counted.get("bid"), counted.get("ask"), counted.get("last")
    return VenuePrice(
        price,
        half_width,
        refusal,
        digits,
        end_ns,
        late_reason,
        oldest.received_at_ns if oldest is not None else 0,
        oldest.received_wall_ns if oldest is not None else 0,
        bid.price if bid is not None else None,
        ask.price if ask is not None else None,
        last.price if last is not None else None,
        tuple(left_out.items()),
        later,
        max((fresh.side.received_at_ns for fresh in sides), default=0),
    )


def _refusal(counted: dict[str, Side], left_out: dict[str, str], rules: AssetRules) -> str | None:
    """Why the sides that are fresh give no price."""
    if not counted:
        return next(iter(left_out.values()), "no_quote")
    if min(side.price for side in counted.values()) <= 0:
        return "nonpositive_price"
    bid, ask = counted.get("bid"), counted.get("ask")
    if bid is None or ask is None:
        return None if "last" in counted else next(iter(left_out.values()), "one_sided_book")
    if bid.price > ask.price:
        return "crossed_book"
    if (ask.price - bid.price) * _BPS > (ask.price + bid.price) / 2 * rules.max_spread_bps:
        return "wide_spread"
    return None


def _price(
    counted: dict[str, Side], whole: tuple[Decimal, Decimal] | None, digits: int, rules: AssetRules
) -> tuple[Decimal, Decimal, Side]:
    """The median, its half width, and the side whose receipt is its own.

    The last trade moves the price within the book only. The half width is half the spread, without a taker's fee
    (that is the account's, not the market's), and at least a tick; where there is no book, the distance at which
    sources still count as agreeing, because an unknown spread is not a spread of zero.
    """
    tick = Decimal(1).scaleb(-digits)
    if whole is None:
        last = counted["last"]
        return last.price, max(last.price * rules.outlier_floor_bps / _BPS, tick), last
    half_width = max((whole[1] - whole[0]) / 2, tick)
    if "last" not in counted:
        older = min(counted.values(), key=lambda side: side.received_at_ns)
        return (whole[0] + whole[1]) / 2, half_width, older
    middle = sorted(side.price for side in counted.values())[1]
    at_middle = [side for side in counted.values() if side.price == middle]
    return middle, half_width, max(at_middle, key=lambda side: side.received_at_ns)
