"""Six quotes of one asset -> one price, or the reason why there is none. Pure: no table, clock, log or metric.

The nine steps, in the order of the code:

    1 venue price     median of bid, ask and last; a book that is crossed or too wide counts for nothing
    2 freshness       by our receipt and by the exchange's own time; a frozen source counts for nothing
    3 conversion      USDT and USDC quotes by the index measured in the previous turn; no index: left out
    4 enough sources  else TOO_FEW_SOURCES
    5 majority        of all of them, before any is left out, within a window; else SOURCES_DISAGREE
    6 robust cut      by the median absolute deviation, with a floor
    7 hold-out        a source that was cut comes back only after it was calm for a time
    8 price           median of the kept; confidence by Pyth's rule; disagreement of all
    9 jump guard      a jump that not all sources show waits, for a bounded time

Steps 1 and 2 depend on the quote alone, so `judge_quote` does them once a quote; `evaluate` does the rest once a
change. What must outlast a turn (hold-outs, last price, a jump that waits) is a `Memory` that goes in and comes out.

Arithmetic is Decimal in the default context: an untouched price has at most 18 digits and a mean of means two more,
so 28 digits keep it exact. A price with converted sources in it is rounded, half to even, to one digit more than
its sources have.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from trinity.clock import NS_PER_MS
from trinity.limits import EXCHANGE_CLOCK_ALLOWANCE_NS, JUMP_HOLD_NS, JUMP_PERCENT_MAX, REENTRY_NS
from trinity.markets import AssetRules
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import SCALE_MAX, RowState, StoredQuote, scale_of

BPS = Decimal(10_000)
MILLI_BPS = 10_000_000
PERCENT = Decimal(100)
# Three standard deviations of a normal distribution, whose deviation is 1.4826 times its MAD.
MADS_MAX = 3 * Decimal("1.4826")
USD = "USD"


class VenuePrice(NamedTuple):
    """What one quote says on its own (steps 1 and 2).

    `price` and `half_width` are in the venue's currency and None when `refusal` is set, one of
    metrics.REJECT_REASONS. The quote is fresh up to and including `fresh_until_ns` (monotonic), afterwards it is
    rejected for `late_reason`. `digits` are those behind the point of the exchange's own numbers.
    """

    price: Decimal | None
    half_width: Decimal | None
    refusal: str | None
    digits: int
    fresh_until_ns: int
    late_reason: str
    received_at_ns: int
    received_wall_ns: int


class Source(NamedTuple):
    """One exchange that lists the asset; `venue` is None before its first quote."""

    exchange: int
    currency: str
    state: RowState
    venue: VenuePrice | None


class Vote(NamedTuple):
    """A source that passed steps 1 to 3, in USD."""

    exchange: int
    price: Decimal
    half_width: Decimal
    venue: VenuePrice
    converted: bool


class Cut(NamedTuple):
    """Step 6: sources further than `limit` from `middle` are left out."""

    middle: Decimal
    mad: Decimal
    limit: Decimal


class Memory(NamedTuple):
    """What one asset carries from turn to turn.

    `held` maps an exchange that was cut to the monotonic time since when it has been calm, None while it is not.
    """

    held: Mapping[int, int | None] = {}
    last_price: Decimal | None = None
    jump_since_ns: int | None = None


class Decision(NamedTuple):
    """One evaluation with every number in between; `price` and `confidence` are set when `state` is GOOD.

    `used` are the exchanges that no step left out, up to the step that ended the evaluation; `rejected` says why
    the others were. `digits` is the scale of price and confidence. `valid_until_ns` (monotonic) is the first moment
    at which a quote that the price stands on (`stands_on`), or one of the required number, would no longer be fresh.
    The receipt times are those of the oldest quote that the price stands on, which is the price's age, and of the
    newest quote used; 0 when there is none.
    """

    state: AnswerState
    used: tuple[int, ...]
    rejected: Mapping[int, str]
    votes: tuple[Vote, ...]
    window: tuple[Decimal, Decimal] | None = None
    cut: Cut | None = None
    candidate: Decimal | None = None
    price: Decimal | None = None
    confidence: Decimal | None = None
    digits: int = 0
    confidence_milli_bps: int = 0
    disagreement_milli_bps: int = 0
    received_at_ns: int = 0
    received_wall_ns: int = 0
    newest_received_wall_ns: int = 0
    valid_until_ns: int = 0


def evaluate(
    sources: Sequence[Source], rules: AssetRules, indexes: Mapping[str, Decimal], memory: Memory, now_ns: int
) -> tuple[Decision, Memory]:
    """One price out of `sources`; `indexes` are USD per coin (no entry: not measured), `now_ns` is monotonic."""
    rejected: dict[int, str] = {}
    votes: list[Vote] = []
    for source in sources:
        vote, reason = admit(source, indexes, now_ns)
        if vote is not None:
            votes.append(vote)
        else:
            rejected[source.exchange] = reason
    votes.sort(key=_price_of)
    prices = [vote.price for vote in votes]
    uneasy = memory._replace(held=dict.fromkeys(memory.held)) if memory.held else memory
    if len(votes) < rules.min_sources:
        return _unavailable(_state_without(votes, sources), votes, rejected), uneasy
    window = majority_window(prices, rules.majority_window_bps)
    if window is None:
        return _unavailable(AnswerState.SOURCES_DISAGREE, votes, rejected), uneasy
    cut = robust_cut(prices, rules.outlier_floor_bps)
    held = _held_out(votes, cut, memory.held, now_ns)
    kept = [vote for vote in votes if vote.exchange not in held] if held else votes
    for vote in votes:
        if vote.exchange in held:
            rejected[vote.exchange] = "outlier" if abs(vote.price - cut.middle) > cut.limit else "held_out"
    if len(kept) < rules.min_sources:
        decision = _unavailable(AnswerState.TOO_FEW_SOURCES, votes, rejected, window, cut)
        return decision, memory._replace(held=held)
    decision = _priced(votes, kept, rejected, rules.min_sources, window, cut)
    return _guard_jump(decision, held, memory, all_agree=len(kept) == len(votes), now_ns=now_ns)


def judge_quote(quote: StoredQuote, rules: AssetRules) -> VenuePrice:
    """Steps 1 and 2 as far as they depend on the quote alone.

    The age by the exchange's own clock is taken from the wall clock at receipt, so a wall clock that jumps later
    changes no verdict. An absent exchange time says nothing: the age by receipt then decides alone.
    """
    price, half_width, refusal, digits = _venue_price(quote, rules)
    max_age_ns = rules.max_age_ms * NS_PER_MS
    fresh_until_ns, late_reason = quote.received_at_ns + max_age_ns, "stale"
    if quote.exchange_time_ns is not None:
        behind_ns = quote.received_wall_ns - quote.exchange_time_ns
        if behind_ns < -EXCHANGE_CLOCK_ALLOWANCE_NS:
            refusal = refusal or "future_exchange_time"
        if behind_ns > EXCHANGE_CLOCK_ALLOWANCE_NS:
            fresh_until_ns += EXCHANGE_CLOCK_ALLOWANCE_NS - behind_ns
            late_reason = "stale_exchange_time"
    if refusal is not None:
        price = half_width = None
    return VenuePrice(
        price,
        half_width,
        refusal,
        digits,
        fresh_until_ns,
        late_reason,
        quote.received_at_ns,
        quote.received_wall_ns,
    )


def refusal_of(source: Source, now_ns: int) -> str | None:
    """Why steps 1 and 2 leave a source out at `now_ns` (monotonic); None when they do not."""
    venue = source.venue
    if venue is None:
        return "no_quote"
    if venue.refusal is not None:
        return venue.refusal
    if now_ns > venue.fresh_until_ns:
        return venue.late_reason
    if source.state is RowState.FROZEN:
        return "frozen"
    return None


def admit(source: Source, indexes: Mapping[str, Decimal], now_ns: int) -> tuple[Vote, str] | tuple[None, str]:
    """Steps 1 to 3: the source's vote in USD, or None and the reason why it has none."""
    reason = refusal_of(source, now_ns)
    venue = source.venue
    if reason is not None or venue is None or venue.price is None or venue.half_width is None:
        return None, reason or "no_quote"
    if source.currency == USD:
        return Vote(source.exchange, venue.price, venue.half_width, venue, converted=False), ""
    index = indexes.get(source.currency)
    if index is None:
        return None, "no_index"
    return Vote(source.exchange, venue.price * index, venue.half_width * index, venue, converted=True), ""


def majority_window(prices: Sequence[Decimal], window_bps: int) -> tuple[Decimal, Decimal] | None:
    """Step 5: the narrowest (low, high) that holds more than half of the sorted prices, None if wider than allowed."""
    reach = len(prices) // 2
    high, low = min(
        ((prices[i + reach], prices[i]) for i in range(len(prices) - reach)),
        key=lambda edge: (edge[0] - edge[1]) / edge[1],
    )
    return (low, high) if (high - low) * BPS <= low * window_bps else None


def robust_cut(prices: Sequence[Decimal], floor_bps: int) -> Cut:
    """Step 6 for sorted prices; without the floor equal prices would have no deviation and throw out all others."""
    middle = median(prices)
    mad = median(sorted(abs(price - middle) for price in prices))
    return Cut(middle, mad, max(MADS_MAX * mad, middle * floor_bps / BPS))


def median(ordered: Sequence[Decimal]) -> Decimal:
    """Middle of sorted values; the mean of the two middle ones of an even number."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def stands_on(ordered: Sequence[Vote]) -> list[Vote]:
    """The votes that the median of sorted votes is made of: the middle one or two, and all that say just the same.

    Which of several equal votes is in the middle is chance, so the price is as old as the oldest of them. A converted
    vote is as old as its own quote: the index is no quote of this asset, and is measured from fresh legs only.
    """
    half = len(ordered) // 2
    low, high = ordered[(len(ordered) - 1) // 2].price, ordered[half].price
    return [vote for vote in ordered if low <= vote.price <= high]


def majority_of(votes: int) -> int:
    """Step 5: how many of so many votes must agree."""
    return votes // 2 + 1


def pyth_price(votes: Sequence[tuple[Decimal, Decimal]]) -> tuple[Decimal, Decimal]:
    """Price and confidence after Pyth's `upd_aggregate`: each (price, half width) votes three times.

    The quartiles of p - c, p and p + c; the confidence is the greater distance of a quartile from the median.
    """
    points = sorted(point for price, width in votes for point in (price - width, price, price + width))
    quarter = len(points) >> 2
    middle = median(points)
    return middle, max(middle - points[quarter], points[-1 - quarter] - middle)


def digits_that_fit(price: Decimal, digits: int) -> int:
    """At most `digits` behind the point: the tables hold 18 in all, so a large price gives up its finest."""
    return max(0, min(digits, SCALE_MAX - 1 - price.adjusted()))


def _price_of(vote: Vote) -> Decimal:
    return vote.price


def _venue_price(quote: StoredQuote, rules: AssetRules) -> tuple[Decimal | None, Decimal | None, str | None, int]:
    """Step 1: price, half width, refusal and digits behind the point.

    A quote has one receipt time for book and last, so the last price is as recent as the book: X is the asset's
    own age limit. It can move the price within the book only. The half width is half the spread, without a taker's
    fee (that is the account's, not the market's), and at least a tick; where there is no book, the distance at
    which sources still count as agreeing, because an unknown spread is not a spread of zero.
    """
    bid, ask, last = quote.bid, quote.ask, quote.last
    present = [price for price in (bid, ask, last) if price is not None]
    if not present:
        return None, None, "no_quote", 0
    digits = max(scale_of(price.normalize()) for price in present)
    if min(present) <= 0:
        return None, None, "nonpositive_price", digits
    tick = Decimal(1).scaleb(-digits)
    if bid is None or ask is None:
        return last, max(present[-1] * rules.outlier_floor_bps / BPS, tick), None, digits
    if bid > ask:
        return None, None, "crossed_book", digits
    if (ask - bid) * BPS > (ask + bid) / 2 * rules.max_spread_bps:
        return None, None, "wide_spread", digits
    return median(sorted(present)), max((ask - bid) / 2, tick), None, digits


def _state_without(votes: Sequence[Vote], sources: Sequence[Source]) -> AnswerState:
    """Step 4: what too few votes mean."""
    if votes:
        return AnswerState.TOO_FEW_SOURCES
    return AnswerState.STALE if any(source.venue is not None for source in sources) else AnswerState.EMPTY


def _held_out(
    votes: Sequence[Vote], cut: Cut, before: Mapping[int, int | None], now_ns: int
) -> Mapping[int, int | None]:
    """Step 7: who is out now, with the time since when it has been calm."""
    calm: dict[int, int | None] = dict.fromkeys(before)
    for vote in votes:
        distance = abs(vote.price - cut.middle)
        if distance > cut.limit:
            calm[vote.exchange] = None
        elif vote.exchange in before and distance * 2 < cut.limit:
            since_ns = before[vote.exchange]
            calm[vote.exchange] = now_ns if since_ns is None else since_ns
            if since_ns is not None and now_ns - since_ns >= REENTRY_NS:
                del calm[vote.exchange]
    return calm


def _unavailable(
    state: AnswerState,
    votes: Sequence[Vote],
    rejected: Mapping[int, str],
    window: tuple[Decimal, Decimal] | None = None,
    cut: Cut | None = None,
) -> Decision:
    used = tuple(sorted(vote.exchange for vote in votes if vote.exchange not in rejected))
    spread = votes[-1].price - votes[0].price if votes else Decimal(0)
    middle = median([vote.price for vote in votes]) if votes else Decimal(1)
    disagreement = _milli_bps(spread, middle, ROUND_HALF_EVEN)
    return Decision(state, used, rejected, tuple(votes), window, cut, disagreement_milli_bps=disagreement)


def _priced(
    votes: Sequence[Vote],
    kept: Sequence[Vote],
    rejected: Mapping[int, str],
    min_sources: int,
    window: tuple[Decimal, Decimal],
    cut: Cut,
) -> Decision:
    """Step 8: the price of the kept votes (sorted), its confidence and how long it may be served."""
    exact = median([vote.price for vote in kept])
    digits = max(vote.venue.digits for vote in kept) + 1
    if not any(vote.converted for vote in kept):
        digits = max(digits, scale_of(exact.normalize()))
    digits = digits_that_fit(exact, digits)
    quantum = Decimal(1).scaleb(-digits)
    price = exact.quantize(quantum, ROUND_HALF_EVEN)
    _, width = pyth_price([(vote.price, vote.half_width) for vote in kept])
    confidence = width.quantize(quantum, ROUND_CEILING)
    middle = [vote.venue for vote in stands_on(kept)]
    oldest = min(middle, key=lambda venue: venue.received_at_ns)
    ends = sorted((vote.venue.fresh_until_ns for vote in kept), reverse=True)
    return Decision(
        AnswerState.GOOD,
        tuple(sorted(vote.exchange for vote in kept)),
        rejected,
        tuple(votes),
        window,
        cut,
        price,
        price,
        confidence,
        digits,
        _milli_bps(confidence, price, ROUND_CEILING),
        _milli_bps(votes[-1].price - votes[0].price, price, ROUND_HALF_EVEN),
        oldest.received_at_ns,
        oldest.received_wall_ns,
        max(vote.venue.received_wall_ns for vote in kept),
        min(ends[min_sources - 1], *(venue.fresh_until_ns for venue in middle)) + 1,
    )


def _guard_jump(
    decision: Decision, held: Mapping[int, int | None], before: Memory, *, all_agree: bool, now_ns: int
) -> tuple[Decision, Memory]:
    """Step 9: hold a jump that only some sources show, as SOURCES_DISAGREE, for a bounded time."""
    price, last = decision.price, before.last_price
    assert price is not None
    if all_agree or last is None or abs(price - last) * PERCENT <= last * JUMP_PERCENT_MAX:
        return decision, Memory(held, price)
    since_ns = now_ns if before.jump_since_ns is None else before.jump_since_ns
    if now_ns - since_ns >= JUMP_HOLD_NS:
        return decision, Memory(held, price)
    waiting = decision._replace(
        state=AnswerState.SOURCES_DISAGREE, price=None, confidence=None, confidence_milli_bps=0, valid_until_ns=0
    )
    return waiting, Memory(held, last, since_ns)


def _milli_bps(part: Decimal, whole: Decimal, rounding: str) -> int:
    return int((part * MILLI_BPS / whole).to_integral_value(rounding))
