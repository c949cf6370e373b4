"""The nine steps with their known results, and what must hold for all inputs."""

from decimal import Decimal

import msgspec
import pytest

from feeds.consensus.decimals.rules import ConsensusState, Source, evaluate, refusal_of
from feeds.consensus.decimals.venue import judge_quote
from tests.feeds.consensus.cases import NOW_NS, RULES, WALL_NS, decide, quote_of, source_of, sources_of
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.limits import EXCHANGE_CLOCK_ALLOWANCE_NS, JUMP_HOLD_NS, REENTRY_NS
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import RowState

SIX = ["71000", "71005", "70998", "71003", "71010", "71002"]
D = Decimal


# --- known results -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prices", "price", "kept", "disagreement_bps"),
    [
        (SIX, "71002.5", 6, "1.690"),
        (["71000", "71005", "70998", "71003", "71010", "75000"], "71003", 5, None),
        (["71000", "71005", "70998", "71003", "75000", "75000"], "71001.5", 4, None),
        (["100"] * 6, "100", 6, "0"),
        (["100"] * 5 + ["100.0001"], "100", 6, "0.010"),
        (["99.99", "100", "100.01", "100.02", "150"], "100.005", 4, None),
    ],
)
def test_known_sets_give_their_known_price(
    prices: list[str], price: str, kept: int, disagreement_bps: str | None
) -> None:
    """The composite's published examples: price, how many are kept, and how far all are apart."""
    decision, _ = decide(prices)

    assert decision.state is AnswerState.GOOD
    assert decision.price == D(price)
    assert len(decision.used) == kept
    assert len(decision.used) + len(decision.rejected) == len(prices)
    if disagreement_bps is not None:
        assert decision.disagreement_milli_bps == D(disagreement_bps) * 1000


@pytest.mark.parametrize(
    ("prices", "min_sources", "state"),
    [
        (["71000", "71005", "70998", "75000", "75001", "75002"], 3, AnswerState.SOURCES_DISAGREE),
        (["100", "100.01", "100.02", "150", "150", "150"], 3, AnswerState.SOURCES_DISAGREE),
        (["71000", "75000"], 2, AnswerState.SOURCES_DISAGREE),
        (["100", "100.01", "150"], 3, AnswerState.TOO_FEW_SOURCES),
        (["100", "100.01"], 3, AnswerState.TOO_FEW_SOURCES),
        ([], 3, AnswerState.EMPTY),
    ],
)
def test_known_sets_fail_closed(prices: list[str], min_sources: int, state: AnswerState) -> None:
    """No majority, too few, or too few after the cut: a state, and no price."""
    decision, _ = decide(prices, msgspec.structs.replace(RULES, min_sources=min_sources))

    assert decision.state is state
    assert decision.price is None
    assert decision.confidence is None
    assert decision.valid_until_ns == 0


def test_usdt_quotes_are_converted_by_the_measured_index() -> None:
    """The published conversion: Gate.io and OKX through 0.99995, median 70996.5, and 1.345 bps from the furthest."""
    sources = sources_of(["71002.1", "70995.0", "71000.0"])
    sources.append(source_of(3, quote_of("70990.5"), "USDT"))
    sources.append(source_of(4, quote_of("70998.0")))
    sources.append(source_of(5, quote_of("70991.2"), "USDT"))

    decision, _ = evaluate(sources, RULES, {"USDT": D("0.99995")}, ConsensusState(), NOW_NS)

    converted = {vote.exchange: vote.price for vote in decision.votes if vote.converted}
    assert converted == {3: D("70986.950475"), 5: D("70987.650440")}
    assert decision.price == D("70996.5")
    furthest = max(abs(vote.price - decision.price) for vote in decision.votes)
    assert round(furthest / decision.price * 10_000, 3) == D("1.345")


def test_a_depeg_of_three_percent_is_not_hidden() -> None:
    """USDT at 0.97: converted, all six agree at 71000; taken as 1.00 they would look 3 % apart."""
    sources = sources_of(["71000", "71001", "70999"])
    sources += [source_of(i, quote_of("73195.88"), "USDT") for i in (3, 4, 5)]

    decision, _ = evaluate(sources, RULES, {"USDT": D("0.97")}, ConsensusState(), NOW_NS)

    assert len(decision.used) == 6
    assert abs(decision.price - 71000) < D("0.01")  # type: ignore[operator]
    assert decision.disagreement_milli_bps < 1_000


# --- step 1: venue price -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quote", "price", "half_width"),
    [
        (quote_of("100", "101"), "100.5", "1"),
        (quote_of("100.0", "100.8", "100.2"), "100.2", "0.4"),
        (quote_of("100.0", "100.8", "101.2"), "100.8", "0.4"),
        (quote_of("100.0", "100.8", "107"), "100.4", "0.4"),
        (quote_of("100.01", "100.01"), "100.01", "0.01"),
    ],
)
def test_a_sound_book_gives_the_median_of_bid_ask_and_last(quote: object, price: str, half_width: str) -> None:
    """The last price moves the price within the book only, and far outside of it not at all; at least a tick wide."""
    venue = judge_quote(quote, RULES)  # type: ignore[arg-type]

    assert (venue.price, venue.half_width, venue.refusal) == (D(price), D(half_width), None)


def test_a_last_price_without_a_book_has_the_width_of_agreement() -> None:
    """An unknown spread is not a spread of zero: 10 bps of 2000 are 2."""
    venue = judge_quote(quote_of(None, None, "2000.5"), RULES)

    assert (venue.price, venue.half_width) == (D("2000.5"), D("2.0005"))


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        (quote_of("101", "100"), "crossed_book"),
        (quote_of("100", "102.1"), "wide_spread"),
        (quote_of("0", "1"), "nonpositive_price"),
        (quote_of("-1", "1"), "nonpositive_price"),
        (quote_of("100", "101", "0"), "nonpositive_price"),
        (quote_of(None, None, None), "no_quote"),
        (quote_of("100", behind_ns=-EXCHANGE_CLOCK_ALLOWANCE_NS - 1), "future_exchange_time"),
    ],
)
def test_an_unsound_quote_is_refused_with_its_reason(quote: object, reason: str) -> None:
    """Crossed, too wide, not above zero, from the future: no price at all."""
    venue = judge_quote(quote, RULES)  # type: ignore[arg-type]

    assert (venue.price, venue.half_width, venue.refusal) == (None, None, reason)


# --- step 2: freshness -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind_ns", "age_ns", "reason"),
    [
        (None, 10_000 * NS_PER_MS, None),
        (None, 10_000 * NS_PER_MS + 1, "stale"),
        (0, 10_000 * NS_PER_MS, None),
        (0, 10_000 * NS_PER_MS + 1, "stale"),
        (EXCHANGE_CLOCK_ALLOWANCE_NS, 10_000 * NS_PER_MS, None),
        (8 * NS_PER_SECOND, 7_000 * NS_PER_MS, None),
        (8 * NS_PER_SECOND, 7_000 * NS_PER_MS + 1, "stale_exchange_time"),
        (16 * NS_PER_SECOND, 0, "stale_exchange_time"),
        (-EXCHANGE_CLOCK_ALLOWANCE_NS, 0, None),
    ],
)
def test_a_quote_ages_by_receipt_and_by_the_exchanges_own_time(
    behind_ns: int | None, age_ns: int, reason: str | None
) -> None:
    """The limits are inclusive; an absent exchange time leaves the age by receipt, which is never zero by default."""
    source = source_of(0, quote_of("100", at_ns=NOW_NS - age_ns, behind_ns=behind_ns))

    assert refusal_of(source, NOW_NS) == reason


def test_a_frozen_row_is_left_out_although_it_is_fresh() -> None:
    """The feed's word that the others moved while this one did not counts at once."""
    sources = sources_of(SIX)
    sources[2] = sources[2]._replace(state=RowState.FROZEN)

    decision, _ = evaluate(sources, RULES, {}, ConsensusState(), NOW_NS)

    assert decision.rejected == {2: "frozen"}


def test_old_quotes_alone_are_stale_and_not_too_few() -> None:
    """Nothing fresh at all is a stale price; a single fresh source is one too few."""
    old = NOW_NS - 11 * NS_PER_SECOND
    sources = sources_of(SIX, at_ns=old)

    assert evaluate(sources, RULES, {}, ConsensusState(), NOW_NS)[0].state is AnswerState.STALE
    sources[0] = source_of(0, quote_of("71000"))
    assert evaluate(sources, RULES, {}, ConsensusState(), NOW_NS)[0].state is AnswerState.TOO_FEW_SOURCES


def test_a_quote_without_an_index_is_left_out() -> None:
    """A coin that could not be measured is not taken as 1.00."""
    sources = [*sources_of(SIX[:5]), source_of(5, quote_of("71002"), "USDT")]

    decision, _ = evaluate(sources, RULES, {"USDC": D(1)}, ConsensusState(), NOW_NS)

    assert decision.rejected == {5: "no_index"}
    assert decision.state is AnswerState.GOOD


def test_a_price_does_not_outlive_its_required_sources() -> None:
    """Valid until the moment at which fewer than min_sources of the used quotes are fresh."""
    ages_s = [1, 9, 8, 2, 7, 3]  # the median is of the two youngest but one: 71002 and 71003
    sources = [
        source_of(i, quote_of(price, at_ns=NOW_NS - age * NS_PER_SECOND))
        for i, (price, age) in enumerate(zip(SIX, ages_s, strict=True))
    ]

    decision, _ = evaluate(sources, RULES, {}, ConsensusState(), NOW_NS)

    assert decision.received_at_ns == NOW_NS - 3 * NS_PER_SECOND
    assert decision.newest_received_wall_ns == WALL_NS - 1 * NS_PER_SECOND
    assert decision.valid_until_ns == NOW_NS + 7 * NS_PER_SECOND + 1
    just_before, _ = evaluate(sources, RULES, {}, ConsensusState(), decision.valid_until_ns - 1)
    then, _ = evaluate(sources, RULES, {}, ConsensusState(), decision.valid_until_ns)
    assert just_before.state is AnswerState.GOOD
    assert then.state is AnswerState.TOO_FEW_SOURCES


def aged(prices: list[str], ages_s: list[float], currencies: dict[int, str] | None = None) -> list[Source]:
    """Sources of these prices and ages in seconds; USD but for those named."""
    return [
        source_of(i, quote_of(price, at_ns=NOW_NS - int(age * NS_PER_SECOND)), (currencies or {}).get(i, "USD"))
        for i, (price, age) in enumerate(zip(prices, ages_s, strict=True))
    ]


@pytest.mark.parametrize("fresh", range(6))
@pytest.mark.parametrize("prices", [SIX, ["71000"] * 6, ["71000"] * 3 + ["71001"] * 3])
def test_one_fresh_quote_does_not_make_five_old_ones_young(prices: list[str], fresh: int) -> None:
    """Five quotes of 9.9 s and one of now: the price is 9.9 s old and good for 0.1 s, whoever is fresh."""
    ages = [0.0 if i == fresh else 9.9 for i in range(6)]

    decision, _ = evaluate(aged(prices, ages), RULES, {}, ConsensusState(), NOW_NS)

    assert decision.price is not None
    assert NOW_NS - decision.received_at_ns == 9.9 * NS_PER_SECOND
    assert WALL_NS - decision.received_wall_ns == 9.9 * NS_PER_SECOND
    assert decision.newest_received_wall_ns == WALL_NS
    assert decision.valid_until_ns == NOW_NS + NS_PER_SECOND // 10 + 1


def test_a_price_ends_with_a_source_that_its_median_stands_on() -> None:
    """The other five are fresh: the price of before is not served any longer, and theirs is there at that moment."""
    ages = [0.0, 0.0, 0.0, 0.0, 0.0, 9.0]  # 71002, the lower middle one

    decision, carried = evaluate(aged(SIX, ages), RULES, {}, ConsensusState(), NOW_NS)
    after, _ = evaluate(aged(SIX, ages), RULES, {}, carried, decision.valid_until_ns)

    assert decision.valid_until_ns == NOW_NS + NS_PER_SECOND + 1
    assert after.state is AnswerState.GOOD
    assert after.received_at_ns == NOW_NS


def test_a_converted_quote_is_as_old_as_itself() -> None:
    """What the index was measured from has an age limit of its own and does not make the price older."""
    ages = [0.0, 0.0, 0.0, 4.0, 0.0, 5.0]
    sources = aged(["71000", "71005", "70998", "71003", "71010", "71002"], ages, {3: "USDT", 5: "USDT"})

    decision, _ = evaluate(sources, RULES, {"USDT": D(1)}, ConsensusState(), NOW_NS)

    assert NOW_NS - decision.received_at_ns == 5 * NS_PER_SECOND


# --- steps 7 and 9 -----------------------------------------------------------------------------------------


def test_an_outlier_comes_back_only_after_it_was_calm() -> None:
    """Cut, then held out within half the limit until REENTRY_NS have passed without a break."""
    carried = ConsensusState()
    near, half, far = "71002", "71050", "71200"
    history = [
        (0, far, "outlier"),
        (1, near, "held_out"),
        (3, half, "held_out"),
        (4, near, "held_out"),
        (4 + REENTRY_NS // NS_PER_SECOND - 1, near, "held_out"),
        (4 + REENTRY_NS // NS_PER_SECOND, near, None),
        (5 + REENTRY_NS // NS_PER_SECOND, half, None),
    ]
    for second, price, expected in history:
        now_ns = NOW_NS + second * NS_PER_SECOND
        sources = sources_of([*SIX[:5], price], at_ns=now_ns)
        decision, carried = evaluate(sources, RULES, {}, carried, now_ns)
        assert decision.rejected.get(5) == expected, f"at second {second}"


def test_a_pause_of_a_held_out_source_starts_its_calm_again() -> None:
    """Stale is not stable."""
    _, carried = decide([*SIX[:5], "71200"])
    _, carried = decide(SIX, carried=carried)
    assert carried.held == {5: NOW_NS}

    _, carried = decide(SIX[:5], carried=carried)

    assert carried.held == {5: None}


def test_a_jump_that_not_all_show_is_held_for_a_bounded_time() -> None:
    """20 % up with one source behind: SOURCES_DISAGREE, and after JUMP_HOLD_NS the new price."""
    carried = ConsensusState(last_price=D(71000))
    up = ["85200", "85205", "85198", "85203", "85210", "71002"]
    for age_ns, state in (
        (0, AnswerState.SOURCES_DISAGREE),
        (JUMP_HOLD_NS - 1, AnswerState.SOURCES_DISAGREE),
        (JUMP_HOLD_NS, AnswerState.GOOD),
    ):
        now_ns = NOW_NS + age_ns
        decision, carried = evaluate(sources_of(up, at_ns=now_ns), RULES, {}, carried, now_ns)
        assert decision.state is state
        assert decision.candidate == D("85203")
        assert (decision.price is not None) is (state is AnswerState.GOOD)
    assert carried.last_price == D("85203")


def test_a_jump_that_all_show_passes_at_once() -> None:
    """A real crash is not an outage."""
    decision, carried = decide(["50000", "50001", "50002"], carried=ConsensusState(last_price=D(71000)))

    assert decision.price == D("50001")
    assert carried.last_price == D("50001")


# --- liars over the whole market ---------------------------------------------------------------------------


def test_who_cannot_be_converted_counts_among_those_that_must_agree() -> None:
    """Six fresh quotes, two of them in a coin without an index: four must agree, so two and two are no majority."""
    unconverted = [source_of(i, quote_of("71000"), "USDT") for i in (4, 5)]
    sources = [*sources_of(["71000", "71001", "67450", "67451"]), *unconverted]

    decision, _ = evaluate(sources, RULES, {}, ConsensusState(), NOW_NS)

    assert decision.state is AnswerState.SOURCES_DISAGREE
    assert decision.asked == (0, 6, 4, 3)
    agreeing = [*sources_of(["71000", "71001", "71002", "71003"]), *unconverted]
    assert evaluate(agreeing, RULES, {}, ConsensusState(), NOW_NS)[0].price == D("71001.5")


def test_only_quotes_that_cannot_be_converted_are_too_few() -> None:
    """They are fresh, so the price is not stale: there is nothing to make one of."""
    sources = [source_of(i, quote_of("71000"), "USDT") for i in (4, 5)]

    assert evaluate(sources, RULES, {}, ConsensusState(), NOW_NS)[0].state is AnswerState.TOO_FEW_SOURCES


@pytest.mark.parametrize(
    ("prices", "faulty", "price"),
    [
        (["100", "100", "100.5", "100.5"], 2, None),
        (["100", "100", "100.5", "100.5"], 1, "100.25"),
        (["100", "100.1", "100.2", "100.35"], 2, "100.15"),
        (["100", "100.4", "100.4"], 2, None),
    ],
)
def test_a_price_must_be_backed_by_more_than_may_lie(prices: list[str], faulty: int, price: str | None) -> None:
    """Four votes of which two may lie: three within the window around the median, or it is refused."""
    rules = msgspec.structs.replace(RULES, outlier_floor_bps=100)

    decision, _ = evaluate(sources_of(prices), rules, {}, ConsensusState(), NOW_NS, faulty)

    assert decision.price == (D(price) if price is not None else None)
    assert decision.state is (AnswerState.GOOD if price is not None else AnswerState.SOURCES_DISAGREE)


def test_more_sources_can_be_asked_for_than_the_rules_do() -> None:
    """A stablecoin's price is asked for one more than may lie."""
    two = msgspec.structs.replace(RULES, min_sources=2)

    assert (
        evaluate(sources_of(["1", "1"]), two, {}, ConsensusState(), NOW_NS, 2, 3)[0].state
        is AnswerState.TOO_FEW_SOURCES
    )
    assert evaluate(sources_of(["1", "1", "1"]), two, {}, ConsensusState(), NOW_NS, 2, 3)[0].price == 1
