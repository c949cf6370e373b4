"""The promise over the whole market: while at most floor((n - 1) / 2) of n live exchanges lie, together and in all
their markets, each served price is that of the honest, or it is refused."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from feeds.consensus.decimals.independence import faulty_of
from tests.feeds.consensus.whole_market import (
    ALL,
    COINBASE,
    CRYPTOCOM,
    GATEIO,
    GEMINI,
    KRAKEN,
    OKX,
    Lie,
    WholeMarket,
    lying,
)
from trinity.limits import BACKED_WINDOW_BPS, INDEX_HOLD_NS, LEG_WINDOW_BPS
from trinity.memory.answer_table import AnswerState

D = Decimal
LETTERS = {"C": COINBASE, "G": GEMINI, "K": KRAKEN, "X": CRYPTOCOM, "T": GATEIO, "O": OKX}
FIVE_PERCENT = Lie(D("0.95"))
# Liars who stay within the windows that honest exchanges are allowed cannot be told from them.
OFF_BPS_MAX = LEG_WINDOW_BPS + BACKED_WINDOW_BPS + 1
# Three exchanges list it and three are asked for, so one that is lost takes it along.
THREE_ONLY = {"HBAR"}


def market_of(standing: str) -> WholeMarket:
    """Six letters in the order C G K X T O: h honest, l lies by 0.95 everywhere, - away."""
    market = WholeMarket()
    for letter, state in zip(LETTERS, standing.split(), strict=True):
        if state == "-":
            market.away.add(LETTERS[letter])
        elif state == "l":
            market.lies[LETTERS[letter]] = FIVE_PERCENT
    return market


@pytest.mark.parametrize(
    ("standing", "faulty", "index", "behind", "votes", "needed", "is_served"),
    [
        ("h h h h h h", 2, "measured", 4, 6, 4, True),
        ("h l h h h h", 2, "measured", 3, 6, 4, True),
        ("h l l h h h", 2, "refused", 2, 4, 4, False),
        ("- l l h h h", 2, "refused", 2, 3, 3, False),
        ("h - l h h h", 2, "refused", 2, 3, 3, False),
        ("h h - h h h", 2, "measured", 3, 5, 3, True),
        ("- l - h h h", 1, "refused", 1, 2, 3, False),
        ("h h h h - -", 1, "measured", 4, 4, 3, True),
    ],
)
def test_the_known_standings_have_their_known_results(
    standing: str, faulty: int, index: str, behind: int, votes: int, needed: int, is_served: bool
) -> None:
    """n and f, the index and what stands behind it, the votes for BTC and how many are needed, and the result."""
    market = market_of(standing)

    decision = market.settle()["BTC"]
    usdt = market.rerun.followed(market.decided_at_ns)[0]["USDT"]

    assert decision.asked.faulty == faulty
    assert (usdt.state, usdt.measured.independent, usdt.measured.needed) == (index, behind, faulty + 1)
    assert (len(decision.votes), decision.asked.needed) == (votes, needed)
    assert (decision.state is AnswerState.GOOD) is is_served
    for asset, price in market.served().items():
        assert market.honest(asset).off_bps(price) == 0, asset


def test_a_held_index_is_used_no_longer_than_it_may_be() -> None:
    """Gemini goes and Kraken lies: what was measured goes on for INDEX_HOLD_NS, at the honest price, then no more."""
    market = market_of("h - h h h h")
    market.settle()
    market.lies[KRAKEN] = FIVE_PERCENT
    began_ns, states = market.now_ns, []
    while market.now_ns - began_ns <= INDEX_HOLD_NS + 2_000_000_000:
        states.append(market.turn(0.5)["BTC"].state)
        for asset, price in market.served().items():
            assert market.honest(asset).off_bps(price) == 0, asset

    assert states[:20] == [AnswerState.GOOD] * 20
    assert states[-2:] == [AnswerState.SOURCES_DISAGREE] * 2


def test_an_even_split_of_the_legs_holds_nothing() -> None:
    """Two legs stand by the last index and two against it: nobody knows which, so it is not used at all."""
    market = market_of("h h h h h h")
    market.settle()
    market.lies = lying((GEMINI, KRAKEN), FIVE_PERCENT)
    market.settle()

    assert market.rerun.followed(market.decided_at_ns)[0]["USDT"].state == "refused"
    assert market.decisions["BTC"].state is AnswerState.SOURCES_DISAGREE


def test_a_restart_makes_a_held_index_no_younger() -> None:
    """The process is killed again and again while the index is held: it ends when it would have ended."""
    market = market_of("h - h h h h")
    market.settle()
    market.lies[KRAKEN] = FIVE_PERCENT
    began_ns, states = market.now_ns, []
    while market.now_ns - began_ns <= INDEX_HOLD_NS + 2_000_000_000:
        states.append(market.turn(0.5)["BTC"].state)
        market.restart()

    assert states[10] is AnswerState.GOOD
    assert states[-1] is AnswerState.SOURCES_DISAGREE


def test_with_all_honest_everything_is_served() -> None:
    """All six are up and nobody lies."""
    market = WholeMarket()
    market.settle()

    assert market.refused() == set()


@pytest.mark.parametrize("liar", sorted(ALL))
@pytest.mark.parametrize("scale", ["0.5", "0.95", "0.99", "0.997", "1.003", "1.05", "20"])
def test_with_one_liar_of_six_everything_else_is_served(liar: int, scale: str) -> None:
    """One exchange lies everywhere: all but what three exchanges list and three must agree on, from the first turn."""
    market = WholeMarket()
    market.settle()
    market.lies[liar] = Lie(D(scale))
    for _ in range(3):
        market.turn()
        assert market.refused() <= THREE_ONLY
        for asset, price in market.served().items():
            assert market.honest(asset).off_bps(price) == 0, asset


def test_a_true_depeg_is_followed_while_nobody_lies() -> None:
    """USDT at 0.85 within a moment: no price is wrong for a turn, and all are served again at once, but for the one
    that cannot spare OKX until it was stable for a time."""
    market = WholeMarket()
    market.settle()
    market.prices["USDT"] = D("0.85")
    for _ in range(2):
        market.turn()
        for asset, price in market.served().items():
            assert market.honest(asset).off_bps(price) == 0, asset

    assert market.refused() <= THREE_ONLY


def test_a_liar_that_lives_in_the_coins_alone_counts_as_live() -> None:
    """Coinbase is heard in USDT/USD only: it is one of n, so that two liars of five are reckoned with."""
    market = market_of("h l l h h -")
    market._rows = [row for row in market._rows if row[0] != COINBASE or market.catalog.assets[row[1]].name == "USDT"]

    decision = market.settle()["BTC"]

    assert decision.asked.faulty == 2
    for asset, price in market.served().items():
        assert market.honest(asset).off_bps(price) == 0, asset


@pytest.mark.parametrize(
    ("standing", "scale", "coin_scale"),
    [
        ("l h h l h h", "0.9815", "1"),
        ("l h h l h h", "1.012", "1"),
        ("h l l h h h", "1.0045", "1.0024"),
        ("- l l h h h", "1.0045", "1.0024"),
        ("- l l h h h", "0.9955", "0.9976"),
    ],
)
def test_liars_within_the_windows_move_a_price_by_less_than_50_bps(standing: str, scale: str, coin_scale: str) -> None:
    """Half of an asset's exchanges within its majority's window, and an index that is tilted as far as it can be."""
    market = market_of(standing)
    coins = {"USDT": D(coin_scale), "USDC": D(coin_scale)}
    market.lies = lying(market.lies, Lie(D(scale), coins))
    for _ in range(3):
        market.turn()
        at_most(market, OFF_BPS_MAX)
    assert OFF_BPS_MAX < 50


# --- any liars ---------------------------------------------------------------------------------------------

far = st.one_of(st.integers(1, 9_940), st.integers(10_060, 100_000)).map(lambda bps: D(bps) / 10_000)
near = st.integers(9_900, 10_100).map(lambda bps: D(bps) / 10_000)
assets = [asset.name for asset in WholeMarket().catalog.assets]
standings = st.permutations(sorted(ALL)).flatmap(
    lambda order: st.integers(1, 6).flatmap(
        lambda up: st.integers(0, faulty_of(up)).map(lambda liars: (order[:liars], order[up:]))
    )
)
lies = st.builds(
    Lie,
    st.one_of(far, near, st.just(D(1))),
    st.dictionaries(st.sampled_from([*assets, "USDT", "USDC"]), st.one_of(far, near), max_size=8),
)


def at_most(market: WholeMarket, off_bps: int) -> None:
    for asset, price in market.served().items():
        assert market.honest(asset).off_bps(price) <= off_bps, asset


@settings(max_examples=60, deadline=None)
@given(standing=standings, scale=far)
def test_a_minority_that_scales_everything_moves_no_price_at_all(
    standing: tuple[list[int], list[int]], scale: Decimal
) -> None:
    """From the start, and after a time of honesty: in the range of the honest, or refused."""
    liars, away = standing
    for honest_before in (False, True):
        market = WholeMarket()
        market.away = set(away)
        if honest_before:
            market.settle()
        market.lies = lying(liars, Lie(scale))
        for _ in range(2):
            market.turn()
            at_most(market, 0)


@settings(max_examples=100, deadline=None)
@given(standing=standings, data=st.data())
def test_no_minority_moves_any_price_far(standing: tuple[list[int], list[int]], data: st.DataObject) -> None:
    """Each lies in its own way, legs and prices separately, near and far: never further than the windows allow."""
    liars, away = standing
    market = WholeMarket()
    market.away = set(away)
    if data.draw(st.booleans()):
        market.settle()
    together = data.draw(st.booleans())
    lie = data.draw(lies)
    market.lies = {liar: lie if together else data.draw(lies) for liar in liars}
    for _ in range(2):
        market.turn()
        at_most(market, OFF_BPS_MAX)


class Histories(RuleBasedStateMachine):
    """Liars start and stop, exchanges go and return, prices move, the process is killed."""

    def __init__(self) -> None:
        super().__init__()
        self.market = WholeMarket()
        self.market.settle()

    def is_allowed(self, liars: set[int], away: set[int]) -> bool:
        """Counted over those that are surely live: who is up."""
        return len(liars) <= faulty_of(len(ALL - away))

    @rule(exchange=st.sampled_from(sorted(ALL)), lie=st.one_of(lies, st.builds(Lie, near), st.builds(Lie, far)))
    def lie(self, exchange: int, lie: Lie) -> None:
        if exchange not in self.market.away and self.is_allowed(self.market.lying() | {exchange}, self.market.away):
            self.market.lies[exchange] = lie

    @rule(lie=st.one_of(lies, st.builds(Lie, near), st.builds(Lie, far)))
    def all_liars_agree(self, lie: Lie) -> None:
        self.market.lies = dict.fromkeys(self.market.lies, lie)

    @rule(exchange=st.sampled_from(sorted(ALL)))
    def tell_the_truth(self, exchange: int) -> None:
        self.market.lies.pop(exchange, None)

    @rule(exchange=st.sampled_from(sorted(ALL)))
    def go(self, exchange: int) -> None:
        if self.is_allowed(self.market.lying(), self.market.away | {exchange}):
            self.market.away.add(exchange)

    @rule(exchange=st.sampled_from(sorted(ALL)))
    def come_back(self, exchange: int) -> None:
        self.market.away.discard(exchange)

    @rule(percent=st.integers(-30, 30))
    def move(self, percent: int) -> None:
        """Everything but the coins; what is away keeps its old price until that is too old."""
        for asset in self.market.prices:
            if asset not in ("USDT", "USDC"):
                self.market.prices[asset] *= 1 + D(percent) / 100

    @rule()
    def kill(self) -> None:
        self.market.restart()

    @rule(seconds=st.sampled_from([0.1, 0.5, 3.0, 6.0, 11.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.market.turn(seconds)

    @invariant()
    def no_price_is_wrong(self) -> None:
        self.market.turn(0.2)
        at_most(self.market, OFF_BPS_MAX)


def test_no_history_of_liars_and_outages_makes_a_price_wrong() -> None:
    """Hold-outs, jump guard, held indexes and restarts: carried never helps the liars."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Histories, settings=settings(max_examples=25, stateful_step_count=20, deadline=None)
    )
