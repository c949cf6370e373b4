"""feeds/resolver/deciding.py"""

from decimal import Decimal

from feeds.consensus.decimals.rules import ConsensusState
from feeds.resolver.deciding import DecisionInput, Offer, decide, faulty_among, records
from tests.support.quotes import stored_quote
from trinity.markets import DEFAULT_RULES
from trinity.memory.answer_table import AnswerState

NOW_NS = 10**15
NAMES = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")


def offer(price: str | None, currency: str = "USD", age_seconds: float = 0.0) -> Offer:
    if price is None:
        return Offer(currency, None)
    value, at_ns = Decimal(price), NOW_NS - round(age_seconds * 1e9)
    return Offer(currency, stored_quote(value, value, value, None, at_ns, at_ns))


def case(*offers: Offer, live: frozenset[int] = frozenset(), usdt: str | None = None) -> DecisionInput:
    indexes = {"USDT": Decimal(usdt)} if usdt is not None else {}
    return DecisionInput("ABC", dict(enumerate(offers)), live, indexes, ConsensusState(), NOW_NS)


def test_three_that_agree_are_a_price_as_for_every_asset() -> None:
    """The age is that of the oldest quote that the price stands on."""
    decided = decide(case(offer("1.00"), offer("1.00", age_seconds=7), offer("1.00")), DEFAULT_RULES)
    assert decided.is_good
    assert decided.decision.price == Decimal("1.00")
    assert decided.decision.received_at_ns == NOW_NS - 7 * 10**9


def test_old_quotes_are_no_sources() -> None:
    """One beyond the age limit leaves two of three."""
    decided = decide(case(offer("1"), offer("1"), offer("1", age_seconds=31)), DEFAULT_RULES)
    assert decided.decision.state is AnswerState.TOO_FEW_SOURCES
    assert decided.decision.rejected[2] == "stale"


def test_a_quote_in_a_coin_without_an_index_counts_among_those_who_must_agree_and_has_no_vote() -> None:
    """With the index it has one."""
    offers = [offer("1.00"), offer("1.00"), offer("1.00"), offer("1.00", "USDT")]
    assert decide(case(*offers), DEFAULT_RULES).decision.rejected == {3: "no_index"}
    assert decide(case(*offers, usdt="0.9997"), DEFAULT_RULES).decision.used == (0, 1, 2, 3)


def test_who_answers_counts_among_the_exchanges_that_may_lie() -> None:
    """Six in all, two of them may: three scattered quotes are no price, although three are enough."""
    quotes = [offer("1.000"), offer("1.005"), offer("1.010")]
    assert faulty_among(frozenset({3, 4, 5}), dict(enumerate(quotes))) == 2
    assert decide(case(*quotes), DEFAULT_RULES).is_good
    refused = decide(case(*quotes, live=frozenset({3, 4, 5})), DEFAULT_RULES)
    assert refused.decision.state is AnswerState.SOURCES_DISAGREE


def test_there_is_a_record_for_the_consensus_and_each_exchange() -> None:
    """Each says what it knows: a price, nothing yet, or that it lists no such asset."""
    found = case(offer("1"), offer("1"), offer("1"), offer(None))
    made = records(found, decide(found, DEFAULT_RULES), NAMES, {}, simulated=False)
    states = {column: AnswerState(int(record["state"][0])) for column, record in made.items()}
    assert states == {
        None: AnswerState.GOOD, 0: AnswerState.GOOD, 1: AnswerState.GOOD, 2: AnswerState.GOOD,
        3: AnswerState.EMPTY, 4: AnswerState.NOT_LISTED, 5: AnswerState.NOT_LISTED,
    }  # fmt: skip
