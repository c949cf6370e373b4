"""What holds for all inputs of the consensus: invariance, robustness, and no price without its sources."""

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.consensus.decimals.rules import ConsensusState, evaluate
from tests.feeds.consensus.cases import NOW_NS, RULES, WALL_NS, decide, quote_of, source_of, sources_of
from trinity.clock import NS_PER_MS
from trinity.memory.answer_table import AnswerState

D = Decimal

cents = st.integers(10_000, 10_000_000)
sets_of_prices = st.lists(cents, min_size=1, max_size=6).map(lambda values: [D(v).scaleb(-2) for v in values])
near_sets = st.builds(
    lambda base, steps: [D(base * 10_000 + base * step).scaleb(-6) for step in steps],
    cents,
    st.lists(st.integers(-60, 60), min_size=2, max_size=6),
)


@settings(max_examples=150)
@given(prices=st.one_of(sets_of_prices, near_sets), data=st.data())
def test_the_order_of_the_sources_does_not_matter(prices: list[Decimal], data: st.DataObject) -> None:
    """Permutation invariance: the same price, confidence and rejections for any order."""
    sources = sources_of(prices)
    shuffled = data.draw(st.permutations(sources))

    first, _ = evaluate(sources, RULES, {}, ConsensusState(), NOW_NS)
    second, _ = evaluate(shuffled, RULES, {}, ConsensusState(), NOW_NS)

    assert (first.state, first.price, first.confidence, first.used) == (
        second.state,
        second.price,
        second.confidence,
        second.used,
    )
    assert first.rejected == second.rejected


@settings(max_examples=150)
@given(prices=st.one_of(sets_of_prices, near_sets), power=st.integers(-4, 4))
def test_the_unit_of_the_price_does_not_matter(prices: list[Decimal], power: int) -> None:
    """Scale invariance: prices in another unit give the same decision in that unit."""
    first, _ = decide(prices)
    second, _ = decide([price.scaleb(power) for price in prices])

    assert (first.state, first.used, first.rejected) == (second.state, second.used, second.rejected)
    assert first.disagreement_milli_bps == second.disagreement_milli_bps
    if first.price is not None:
        assert second.price == first.price.scaleb(power)


@settings(max_examples=200)
@given(
    base=cents,
    steps=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    liars=st.lists(st.integers(1, 10**12), max_size=5),
    near_liars=st.lists(st.integers(-500, 500), max_size=5),
)
def test_a_minority_cannot_move_the_price_out_of_the_honest_range(
    base: int, steps: list[int], liars: list[int], near_liars: list[int]
) -> None:
    """Up to floor((n - 1) / 2) sources may say anything while the honest agree within the outlier floor."""
    honest = [D(base * 10_000 + base * step).scaleb(-6) for step in steps]
    lies = [D(value).scaleb(-4) for value in liars] + [D(base * 10_000 + base * step).scaleb(-6) for step in near_liars]
    lies = lies[: len(honest) - 1]

    decision, _ = decide([*honest, *lies], msgspec.structs.replace(RULES, min_sources=1))

    assert decision.price is not None
    assert min(honest) <= decision.price <= max(honest)


@settings(max_examples=200)
@given(
    base=cents,
    steps=st.lists(st.integers(0, 95), min_size=2, max_size=6),
    near_liars=st.lists(st.integers(-500, 500), max_size=5),
)
def test_a_minority_moves_even_scattered_honest_sources_by_the_cut_limit_at_most(
    base: int, steps: list[int], near_liars: list[int]
) -> None:
    """The cut is centred on the median of all, which a minority cannot move out of the honest range."""
    honest = [D(base * 10_000 + base * step).scaleb(-6) for step in steps]
    lies = [D(base * 10_000 + base * step).scaleb(-6) for step in near_liars][: len(honest) - 1]

    decision, _ = decide([*honest, *lies], msgspec.structs.replace(RULES, min_sources=1))

    assert decision.cut is not None
    assert min(honest) <= decision.cut.middle <= max(honest)
    if decision.price is not None:
        assert abs(decision.price - decision.cut.middle) <= decision.cut.limit


@settings(max_examples=200)
@given(prices=st.lists(st.one_of(cents, st.integers(70_000, 70_100)), max_size=6), least=st.integers(1, 6))
def test_no_price_ever_comes_from_fewer_than_the_required_sources(prices: list[int], least: int) -> None:
    """GOOD means at least min_sources used; every source is either used or rejected, never both."""
    decision, _ = decide([D(p).scaleb(-2) for p in prices], msgspec.structs.replace(RULES, min_sources=least))

    assert (decision.state is AnswerState.GOOD) is (decision.price is not None)
    if decision.price is not None:
        assert len(decision.used) >= least
        assert decision.confidence is not None
        assert decision.confidence > 0
    assert sorted([*decision.used, *decision.rejected]) == list(range(len(prices)))


@settings(max_examples=100)
@given(low=cents, gap_bps=st.integers(102, 100_000), half=st.integers(1, 3))
def test_an_even_split_fails_closed(low: int, gap_bps: int, half: int) -> None:
    """Two camps of equal size further apart than the window: nobody is believed."""
    high = D(low) * (10_000 + gap_bps) / 10_000
    rules = msgspec.structs.replace(RULES, min_sources=1)

    decision, _ = decide([D(low)] * half + [high] * half, rules)

    assert decision.state is AnswerState.SOURCES_DISAGREE


@settings(max_examples=150)
@given(prices=near_sets, which=st.integers(0, 5), up_bps=st.integers(1, 40))
def test_a_source_that_rises_never_lowers_the_median_of_all(prices: list[Decimal], which: int, up_bps: int) -> None:
    """Monotone where nothing is cut: a higher quote gives no lower price."""
    rules = msgspec.structs.replace(RULES, min_sources=1, outlier_floor_bps=10_000)
    raised = list(prices)
    raised[which % len(prices)] *= D(10_000 + up_bps) / 10_000

    before, _ = decide(prices, rules)
    after, _ = decide(raised, rules)

    if before.price is not None and after.price is not None:
        assert after.price >= before.price


@settings(max_examples=300)
@given(
    base=cents,
    quotes=st.lists(st.tuples(st.integers(-8, 8), st.integers(0, 9_999)), min_size=1, max_size=6),
    min_sources=st.integers(1, 3),
)
def test_a_price_is_never_younger_than_a_source_that_its_median_stands_on(
    base: int, quotes: list[tuple[int, int]], min_sources: int
) -> None:
    """Its age is that of the oldest of them, and it is served for no longer than each of them is fresh."""
    rules = msgspec.structs.replace(RULES, min_sources=min_sources)
    prices = [D(base * 10_000 + base * step).scaleb(-6) for step, _ in quotes]
    ages_ns = [age_ms * NS_PER_MS for _, age_ms in quotes]
    sources = [
        source_of(i, quote_of(price, at_ns=NOW_NS - age_ns), rules=rules)
        for i, (price, age_ns) in enumerate(zip(prices, ages_ns, strict=True))
    ]

    decision, _ = evaluate(sources, rules, {}, ConsensusState(), NOW_NS)

    if decision.price is None:
        assert (decision.received_at_ns, decision.newest_received_wall_ns) == (0, 0)
        return
    used = sorted(prices[i] for i in decision.used)
    middle = {used[(len(used) - 1) // 2], used[len(used) // 2]}
    stood_on = [ages_ns[i] for i in decision.used if prices[i] in middle]
    assert NOW_NS - decision.received_at_ns == WALL_NS - decision.received_wall_ns == max(stood_on)
    assert WALL_NS - decision.newest_received_wall_ns == min(ages_ns[i] for i in decision.used)
    left_ns = decision.valid_until_ns - NOW_NS
    assert 0 < left_ns <= rules.max_age_ms * NS_PER_MS - max(stood_on) + 1
