"""feeds/resolver/deciding.py"""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from feeds.consensus.decimals.rules import ConsensusState
from feeds.resolver.deciding import DecisionInput, Offer, decide, faulty_among, is_settled, records
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


def test_a_price_is_settled_when_more_than_half_of_all_that_list_the_asset_agree_already() -> None:
    """Three of five are; three of six are not: the other three may be of one mind, and of another."""
    decided = decide(case(offer("1"), offer("1"), offer("1"), offer(None), offer(None)), DEFAULT_RULES)
    assert is_settled(decided, DEFAULT_RULES, 5)
    assert not is_settled(decided, DEFAULT_RULES, 6)


def test_two_assets_of_one_name_are_never_settled_by_the_half_that_answers_first() -> None:
    """Three exchanges have one, three the other: there is a price before all have answered, and none afterwards."""
    first = [offer("1"), offer("1"), offer("1")]
    early = decide(case(*first, *[offer(None)] * 3, live=frozenset(range(6))), DEFAULT_RULES)
    assert early.is_good
    assert not is_settled(early, DEFAULT_RULES, 6)
    whole = decide(case(*first, *[offer("9")] * 3), DEFAULT_RULES)
    assert whole.decision.state is AnswerState.SOURCES_DISAGREE


_PRICES = st.sampled_from(["1.000", "1.001", "1.002", "1.019", "1.2", "9"])


@given(st.lists(_PRICES, min_size=3, max_size=6), st.lists(_PRICES, max_size=3))
def test_what_is_settled_keeps_its_majority_whatever_the_others_say(answered: list[str], late: list[str]) -> None:
    """The window of those who agree is there afterwards as before."""
    listing = len(answered) + len(late)
    early = decide(
        case(*map(offer, answered), *[offer(None)] * len(late), live=frozenset(range(listing))), DEFAULT_RULES
    )
    if is_settled(early, DEFAULT_RULES, listing):
        assert decide(case(*map(offer, [*answered, *late])), DEFAULT_RULES).decision.window is not None
