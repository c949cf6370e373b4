"""The figures of docs/consensus.md are what the rules return: each is computed here and looked for there."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from feeds.audit.account import Case, account_of
from feeds.audit.explain import text_of
from feeds.consensus.decimals.rules import ConsensusState, Decision, evaluate
from feeds.consensus.decimals.stablecoins import measure, usable
from tests.feeds.consensus.cases import NOW_NS, RULES, WALL_NS, quote_of, source_of, sources_of
from tests.feeds.consensus.test_whole_market import market_of
from tests.feeds.consensus.whole_market import GEMINI, KRAKEN, Lie, lying
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.memory.answer_table import AnswerState

D = Decimal
DOCS = " ".join((Path(__file__).resolve().parents[3] / "docs" / "consensus.md").read_text().split())
SIX = ("71000", "71005", "70998", "71003", "71010", "71002")
# The same prices as the last trades of books that are 8 to 28 wide.
BOOKS = (
    ("70990", "71010"), ("70997", "71013"), ("70988", "71008"), ("70999", "71007"), ("70996", "71024"),
    ("70994", "71010"),
)  # fmt: skip
CURRENCIES = ("USD", "USD", "USD", "USDT", "USD", "USDT")


def told(prices: Sequence[str]) -> str:
    """The first two columns of an example: six live exchanges, so two may lie."""
    decision, _ = evaluate(sources_of(prices), RULES, {}, ConsensusState(), NOW_NS, 2)
    if decision.price is None or decision.confidence is None:
        return f"| {' '.join(prices)} | `{decision.state.name.lower()}` |"
    bps = f"{D(decision.disagreement_milli_bps) / 1000:.3f}"
    numbers = (
        f"{decision.price.normalize():f}, {len(decision.used)} used, confidence {decision.confidence.normalize():f}"
    )
    return f"| {' '.join(prices)} | {numbers}, disagreement {bps} bps |"


def converted(prices: Sequence[str], indexes: dict[str, Decimal], currencies: Sequence[str] = CURRENCIES) -> Decision:
    sources = [
        source_of(exchange, quote_of(price), currency)
        for exchange, (price, currency) in enumerate(zip(prices, currencies, strict=True))
    ]
    return evaluate(sources, RULES, indexes, ConsensusState(), NOW_NS, 2)[0]


@pytest.mark.parametrize(
    "prices",
    [
        SIX,
        (*SIX[:5], "75000"),
        (*SIX[:4], "75000", "75000"),
        (*SIX[:3], "75000", "75001", "75002"),
        ("95", "95", "100"),
        ("100", "100.3", "100.6", "100.7"),
    ],
)
def test_an_example_of_one_asset_is_told_as_it_comes_out(prices: Sequence[str]) -> None:
    """Sources, and the price or the refusal with its numbers."""
    assert told(prices) in DOCS


def test_the_example_with_books_is_told_as_it_comes_out() -> None:
    """The spread makes the confidence, not the price."""
    sources = [source_of(i, quote_of(*book, SIX[i])) for i, book in enumerate(BOOKS)]
    decision, _ = evaluate(sources, RULES, {}, ConsensusState(), NOW_NS, 2)

    assert decision.price == D("71002.5")
    confidence = f"confidence {decision.confidence}, {D(decision.confidence_milli_bps) / 1000} bps"
    assert f"same {decision.price} and the {confidence}" in DOCS


def test_the_example_of_a_hold_out_is_told_as_it_comes_out() -> None:
    """Out at once, held half a second later, back five seconds after that."""
    _, memory = evaluate(sources_of((*SIX[:5], "75000")), RULES, {}, ConsensusState(), NOW_NS, 2)
    prices = {}
    for half_seconds in (1, 10, 11):
        at_ns = NOW_NS + half_seconds * NS_PER_SECOND // 2
        decision, memory = evaluate(sources_of(SIX, at_ns=at_ns), RULES, {}, memory, at_ns, 2)
        prices[half_seconds] = (f"{decision.price:.1f}", len(decision.used), decision.rejected.get(5))

    assert prices == {1: ("71003.0", 5, "held_out"), 10: ("71003.0", 5, "held_out"), 11: ("71002.5", 6, None)}
    assert (
        "`held_out`, the price stays 71003 of five. Calm since then, it is used again 5 s later: 71002.5 of six" in DOCS
    )


def test_the_example_of_the_jump_guard_is_told_as_it_comes_out() -> None:
    """Five of six wait a minute, six of six do not."""
    _, memory = evaluate(sources_of(["100"] * 6), RULES, {}, ConsensusState(), NOW_NS, 2)
    states = []
    for seconds in (1, 60, 61):
        at_ns = NOW_NS + seconds * NS_PER_SECOND
        decision, memory = evaluate(sources_of([*["115"] * 5, "100"], at_ns=at_ns), RULES, {}, memory, at_ns, 2)
        states.append(decision.state)
    at_once, _ = evaluate(sources_of(["115"] * 6), RULES, {}, ConsensusState(last_price=D(100)), NOW_NS, 2)

    assert states == [AnswerState.SOURCES_DISAGREE, AnswerState.SOURCES_DISAGREE, AnswerState.GOOD]
    assert at_once.price == 115
    assert "five of six say 115, one 100: refused for 60 s, then 115. All six say 115: served at once" in DOCS


def test_the_example_of_the_index_is_told_as_it_comes_out() -> None:
    """Four legs that three exchanges touch, and the prices that the index makes."""
    usdt = [source_of(0, quote_of("1.0002")), source_of(2, quote_of("0.9998")), source_of(4, quote_of("1.0001"))]
    usdc = [source_of(5, quote_of("1.0003"), "USDT"), source_of(2, quote_of("1.0000"))]
    measured = measure(usdt, usdc, 2, NOW_NS)["USDT"]
    assert measured.usd is not None
    decision = converted(("71002.1", "70995.0", "71000.0", "70990.5", "70998.0", "70991.2"), {"USDT": measured.usd})
    usd = {vote.exchange: vote.price for vote in decision.votes}

    assert (len(measured.legs), measured.independent, measured.needed) == (4, 3, 3)
    assert f"1 / 1.0003 = {measured.legs[0].usd:.6f}" in DOCS
    assert f"Median **{measured.usd.normalize()}**" in DOCS
    assert f"becomes {usd[3]:.6f}, OKX's 70991.2 becomes {usd[5]:.6f}" in DOCS
    assert f"**{decision.price}**, all within {D(decision.disagreement_milli_bps) / 1000} bps" in DOCS


def test_the_example_of_a_coin_off_its_peg_is_told_as_it_comes_out() -> None:
    """Converted they agree, taken for dollars they do not."""
    usd = D("0.97")
    at_usdt = [str((D(price) / usd).quantize(D("0.1"))) for price in ("71000", "71000.4")]
    prices = ("71000.0", "71001.0", "71000.5", at_usdt[0], "70999.5", at_usdt[1])
    right, wrong = converted(prices, {"USDT": usd}), converted(prices, {}, ["USD"] * 6)

    assert f"{at_usdt[0]} and {at_usdt[1]}" in DOCS
    assert f"{right.price}, all within {D(right.disagreement_milli_bps) / 1000} bps" in DOCS
    assert len(right.used) == 6
    assert len(wrong.used) == 4
    assert f"two outliers, {D(wrong.disagreement_milli_bps) / 1000} bps apart" in DOCS


def test_the_examples_of_ages_are_told_as_they_come_out() -> None:
    """A price is as old as the middle of its median."""

    def aged(ages_ms: Sequence[int]) -> Decision:
        aged_sources = [
            source_of(i, quote_of(price, at_ns=NOW_NS - age_ms * NS_PER_MS))
            for i, (price, age_ms) in enumerate(zip(SIX, ages_ms, strict=True))
        ]
        return evaluate(aged_sources, RULES, {}, ConsensusState(), NOW_NS, 2)[0]

    mixed, old = aged((120, 40, 900, 300, 2500, 60)), aged((9_900, 9_900, 9_900, 9_900, 9_900, 0))

    newest_ms = (WALL_NS - mixed.newest_received_wall_ns) // NS_PER_MS
    age_ms = (NOW_NS - mixed.received_at_ns) // NS_PER_MS
    assert f"so the price is **{age_ms} ms** old, the newest quote {newest_ms} ms" in DOCS
    left_ms = (old.valid_until_ns - NOW_NS) // NS_PER_MS
    assert (
        f"the price is {(NOW_NS - old.received_at_ns) // NS_PER_MS:,} ms old and good for another {left_ms} ms" in DOCS
    )


STANDINGS = (
    "h h h h h h", "h l h h h h", "h l l h h h", "l l h h h h", "h l h h l h", "h h h h l l", "- l l h h h",
    "h - l h h h", "h h - h h h", "- l - h h h", "h h h h - -", "h h h - - -", "l l l h h h",
)  # fmt: skip


@pytest.mark.parametrize("standing", STANDINGS)
def test_a_row_of_liars_is_told_as_it_comes_out(standing: str) -> None:
    """Who lies and who is away: index, votes, BTC, and how many assets are served, none of them wrong but beyond f."""
    market = market_of(standing)
    decision = market.settle()["BTC"]
    live, faulty = 6 - standing.count("-"), decision.asked.faulty
    index = market.rerun.followed(market.decided_at_ns)[0]["USDT"]
    served = market.served()

    asked = decision.asked
    row = f"| {standing} | {live}, {faulty} | {index.state}, {index.measured.independent} of {index.measured.needed} "
    result = "served" if decision.state is AnswerState.GOOD else decision.state.name.lower()
    row += f"| {len(decision.votes)}, {asked.needed} of {asked.fresh} | {result} | {len(served)} |"
    assert row in DOCS
    is_wrong = any(market.honest(asset).off_bps(price) for asset, price in served.items())
    assert is_wrong is (standing.count("l") > faulty)


def test_two_liars_of_four_carry_the_price_as_it_is_told() -> None:
    """Beyond the promise: the two that make the index, with two that quote in the coin."""
    market = market_of("- l l - h h")
    decision = market.settle()["BTC"]

    assert decision.asked.faulty == 1
    assert decision.price is not None
    assert market.honest("BTC").off_bps(decision.price) > 490
    assert "so do two of four" in DOCS


def test_the_worst_small_lie_that_was_found_is_told_as_it_comes_out() -> None:
    """Two of five, within the windows."""
    market = market_of("- h h h h h")
    market.settle()
    coins = dict.fromkeys(("USDT", "USDC"), D("1.0025"))
    market.lies = lying((GEMINI, KRAKEN), Lie(D("1.0039"), coins))
    for _ in range(2):
        market.turn()
    worst, asset = max((market.honest(asset).off_bps(price), asset) for asset, price in market.served().items())

    listing = [known for known in market.catalog.markets if known.asset == asset]
    assert (
        f"found is {worst:.1f}: Coinbase away, Gemini and Kraken 39 bps off in their prices and 25 in the coins" in DOCS
    )
    assert len(listing) == 5


def test_the_lines_of_explain_are_told_as_they_come_out() -> None:
    """What `/explain` says of the row with one liar, word by word."""
    market = market_of("h l h h h h")
    market.prices["BTC"] = D(71_000)
    market.settle()
    rerun, now_ns, asset = market.rerun, market.decided_at_ns, market.catalog.asset_index("BTC")
    indexes, _ = rerun.followed(now_ns)
    decision, _ = rerun.decide(asset, usable(indexes), now_ns)
    case = Case(
        market.catalog.assets[asset], market.catalog.exchanges, rerun.rows(asset), rerun.live(now_ns), indexes,
        rerun.carried(asset), decision, rerun.served(asset, now_ns), now_ns, now_ns - NOW_NS + WALL_NS,
    )  # fmt: skip

    lines = text_of(account_of(case)).splitlines()
    shown = [line for line in lines if " ".join(line.split()) in DOCS]
    assert [line.split()[0] for line in shown] == ["0", "3", "the", "4", "->", "6", "left"]
