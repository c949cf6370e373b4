"""Six quotes of one asset -> one price, or the reason why there is none. Pure: no table, clock, log or metric.

The nine steps, in the order of the code:

    1 venue price     median of bid, ask and last; a book that is crossed or too wide counts for nothing, nor does a
                      last price that is far outside its own book
    2 freshness       of each side, by our receipt and by the exchange's own time; a frozen source counts for nothing
    3 conversion      USDT and USDC quotes by the index measured in the previous turn; no index: left out
    4 enough sources  else TOO_FEW_SOURCES
    5 majority        of all fresh ones, convertible or not, within a window; else SOURCES_DISAGREE
    6 robust cut      by the median absolute deviation, with a floor
    7 hold-out        a source that was cut comes back only after it was stable for a time
    8 price           median of the kept, backed by more of them than may lie (independence.py), else
                      SOURCES_DISAGREE; confidence by Pyth's rule; disagreement of all
    9 jump guard      a jump that not all sources show waits, for a bounded time

Steps 1 and 2 depend on the quote alone, so `judge_quote` (venue.py) does them once per quote; `evaluate` does the
rest once per change. What must outlast a turn (hold-outs, last price, a jump that waits) is a `ConsensusState` that
goes in and comes out.

Arithmetic is Decimal and exact: EXACT has more digits than any product here. A price with converted sources in it is
rounded, half to even, to one digit more than its sources have. The process decides by the same rules in integers
(votes.py); these here explain, replay, and are what those are compared with.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import NamedTuple

from feeds.consensus.decimals.independence import is_backed
from feeds.consensus.decimals.robust import Cut, majority_window, median, pyth_price, robust_cut
from feeds.consensus.decimals.venue import VenuePrice, phase_at
from trinity.limits import JUMP_HOLD_NS, JUMP_PERCENT_MAX, REENTRY_NS
from trinity.markets import AssetRules
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import SCALE_MAX, RowState, scale_of

MILLI_BPS = 10_000_000
# What is said of a distance that is beyond all sense: a liar may name 18 digits beside a price of a millionth.
MILLI_BPS_MAX = 10**15
PERCENT = Decimal(100)
# A price has 18 digits, the mean of means two more, an index 13 and a window's bounds five: products stay below 50.
EXACT = Context(prec=64)
USD = "USD"


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


class ConsensusState(NamedTuple):
    """What one asset carries from turn to turn.

    `held` maps an exchange that was cut to the monotonic time since when it has been stable, None while it is not.
    """

    held: Mapping[int, int | None] = {}
    last_price: Decimal | None = None
    jump_since_ns: int | None = None


class Asked(NamedTuple):
    """What was asked of one evaluation: of `fresh` exchanges with a fresh quote, convertible or not, `needed` must
    agree and `required` be used, while `faulty` exchanges of the whole market may lie."""

    faulty: int = 0
    fresh: int = 0
    needed: int = 0
    required: int = 0


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
    asked: Asked = Asked()


def evaluate(
    sources: Sequence[Source],
    rules: AssetRules,
    indexes: Mapping[str, Decimal],
    carried: ConsensusState,
    now_ns: int,
    faulty: int = 0,
    required: int = 0,
) -> tuple[Decision, ConsensusState]:
    """One price out of `sources`; `indexes` are USD per coin (no entry: not measured), `now_ns` is monotonic.

    `faulty` exchanges of the whole market may lie (0: what the asset's own quotes can bear); `required` are needed
    where that is more than the rules' min_sources.
    """
    with localcontext(EXACT):
        return _evaluate(sources, rules, indexes, carried, now_ns, faulty, required)


def _evaluate(
    sources: Sequence[Source],
    rules: AssetRules,
    indexes: Mapping[str, Decimal],
    carried: ConsensusState,
    now_ns: int,
    faulty: int,
    required: int,
) -> tuple[Decision, ConsensusState]:
    rejected: dict[int, str] = {}
    votes: list[Vote] = []
    for source in sources:
        vote, reason = admit(source, indexes, now_ns)
        if vote is not None:
            votes.append(vote)
        else:
            rejected[source.exchange] = reason
    votes.sort(key=_price_of)
    # Who cannot be converted has no vote, but counts among those of whom more than half must agree.
    fresh = len(votes) + sum(reason == "no_index" for reason in rejected.values())
    asked = Asked(faulty, fresh, fresh // 2 + 1, max(required, rules.min_sources))
    if fresh:
        decision, carried = _decide(votes, rejected, rules, asked, carried, now_ns)
    else:
        state = AnswerState.STALE if any(source.venue is not None for source in sources) else AnswerState.EMPTY
        decision, carried = _unavailable(state, votes, rejected), _unstable(carried)
    return decision._replace(asked=asked), carried


def refusal_of(source: Source, now_ns: int) -> str | None:
    """Why steps 1 and 2 leave a source out at `now_ns` (monotonic); None when they do not."""
    if source.venue is None:
        return "no_quote"
    venue = phase_at(source.venue, now_ns)
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
    venue = phase_at(source.venue, now_ns) if source.venue is not None else None
    if reason is not None or venue is None or venue.price is None or venue.half_width is None:
        return None, reason or "no_quote"
    if source.currency == USD:
        return Vote(source.exchange, venue.price, venue.half_width, venue, converted=False), ""
    index = indexes.get(source.currency)
    if index is None:
        return None, "no_index"
    return Vote(source.exchange, venue.price * index, venue.half_width * index, venue, converted=True), ""


def stands_on(ordered: Sequence[Vote]) -> list[Vote]:
    """The votes that the median of sorted votes is made of: the middle one or two, and all that say just the same.

    Which of several equal votes is in the middle is chance, so the price is as old as the oldest of them. A converted
    vote is as old as its own quote: the index is no quote of this asset, and is measured from fresh legs only.
    """
    half = len(ordered) // 2
    low, high = ordered[(len(ordered) - 1) // 2].price, ordered[half].price
    return [vote for vote in ordered if low <= vote.price <= high]


def digits_that_fit(price: Decimal, digits: int) -> int:
    """At most `digits` behind the point: the tables hold 18 in all, so a large price gives up its finest."""
    return max(0, min(digits, SCALE_MAX - 1 - price.adjusted()))


def _decide(
    votes: Sequence[Vote],
    rejected: dict[int, str],
    rules: AssetRules,
    asked: Asked,
    carried: ConsensusState,
    now_ns: int,
) -> tuple[Decision, ConsensusState]:
    """Steps 4 to 9 for the sorted votes; who is left out on the way is added to `rejected`."""
    prices = [vote.price for vote in votes]
    if len(votes) < asked.required:
        return _unavailable(AnswerState.TOO_FEW_SOURCES, votes, rejected), _unstable(carried)
    window = majority_window(prices, rules.majority_window_bps, asked.needed)
    if window is None:
        return _unavailable(AnswerState.SOURCES_DISAGREE, votes, rejected), _unstable(carried)
    cut = robust_cut(prices, rules.outlier_floor_bps)
    held = _held_out(votes, cut, carried.held, now_ns)
    kept = [vote for vote in votes if vote.exchange not in held] if held else votes
    for vote in votes:
        if vote.exchange in held:
            rejected[vote.exchange] = "outlier" if abs(vote.price - cut.middle) > cut.limit else "held_out"
    if len(kept) < asked.required:
        decision = _unavailable(AnswerState.TOO_FEW_SOURCES, votes, rejected, window, cut)
        return decision, carried._replace(held=held)
    decision = _priced(votes, kept, rejected, asked.required, window, cut)
    if not is_backed([vote.price for vote in kept], median([vote.price for vote in kept]), asked.faulty):
        decision = _unavailable(AnswerState.SOURCES_DISAGREE, votes, rejected, window, cut)
        return decision, carried._replace(held=held)
    return _guard_jump(decision, held, carried, all_agree=len(kept) == len(votes), now_ns=now_ns)


def _unstable(carried: ConsensusState) -> ConsensusState:
    """The state after a turn without a majority: nobody was stable."""
    return carried._replace(held=dict.fromkeys(carried.held)) if carried.held else carried


def _price_of(vote: Vote) -> Decimal:
    return vote.price


def _held_out(
    votes: Sequence[Vote], cut: Cut, before: Mapping[int, int | None], now_ns: int
) -> Mapping[int, int | None]:
    """Step 7: who is out now, with the time since when it has been stable."""
    stable_since: dict[int, int | None] = dict.fromkeys(before)
    for vote in votes:
        distance = abs(vote.price - cut.middle)
        if distance > cut.limit:
            stable_since[vote.exchange] = None
        elif vote.exchange in before and distance * 2 < cut.limit:
            since_ns = before[vote.exchange]
            stable_since[vote.exchange] = now_ns if since_ns is None else since_ns
            if since_ns is not None and now_ns - since_ns >= REENTRY_NS:
                del stable_since[vote.exchange]
    return stable_since


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
    decision: Decision, held: Mapping[int, int | None], before: ConsensusState, *, all_agree: bool, now_ns: int
) -> tuple[Decision, ConsensusState]:
    """Step 9: hold a jump that only some sources show, as SOURCES_DISAGREE, for a bounded time."""
    price, last = decision.price, before.last_price
    assert price is not None
    if all_agree or last is None or abs(price - last) * PERCENT <= last * JUMP_PERCENT_MAX:
        return decision, ConsensusState(held, price)
    since_ns = now_ns if before.jump_since_ns is None else before.jump_since_ns
    if now_ns - since_ns >= JUMP_HOLD_NS:
        return decision, ConsensusState(held, price)
    waiting = decision._replace(
        state=AnswerState.SOURCES_DISAGREE, price=None, confidence=None, confidence_milli_bps=0, valid_until_ns=0
    )
    return waiting, ConsensusState(held, last, since_ns)


def _milli_bps(part: Decimal, whole: Decimal, rounding: str) -> int:
    return min(int((part * MILLI_BPS / whole).to_integral_value(rounding)), MILLI_BPS_MAX)
