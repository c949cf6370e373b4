"""Stablecoins as measured: legs, majority, and how long a coin has been off."""

from decimal import Decimal

import pytest

from feeds.consensus.decimals.rules import Source
from feeds.consensus.decimals.stablecoins import (
    INDEX_QUANTUM,
    USDC,
    USDT,
    Held,
    Leg,
    Measured,
    Peg,
    follow,
    measure,
    required_of,
    settle,
    usable,
    watch,
)
from tests.feeds.consensus.cases import NOW_NS, quote_of, source_of
from trinity.clock import NS_PER_SECOND
from trinity.limits import DEPEG_WARN_NS, INDEX_HOLD_NS, JUMP_HOLD_NS

D = Decimal


def direct(*prices: str) -> list[Source]:
    return [source_of(i, quote_of(price)) for i, price in enumerate(prices)]


def crossed(*prices: str, usd: str | None = "1") -> list[Source]:
    """USDC sources: one in USD on exchange 2, the rest USDC/USDT on exchanges 3 and up."""
    legs = [source_of(2, quote_of(usd))] if usd is not None else []
    return legs + [source_of(3 + i, quote_of(price), "USDT") for i, price in enumerate(prices)]


def test_the_index_is_the_median_of_direct_and_inverted_legs() -> None:
    """1.0002, 0.9998, 1.0001 and 1/1.0003 give 0.99995."""
    index = measure(direct("1.0002", "0.9998", "1.0001"), crossed("1.0003"), 1, NOW_NS)[USDT]

    assert [leg.exchanges for leg in index.legs] == [(2, 3), (1,), (2,), (0,)]
    assert round(index.legs[0].usd, 8) == round(1 / D("1.0003"), 8)
    assert index.usd == D("0.99995")


def test_usdc_is_measured_like_usdt() -> None:
    """Its direct leg, and USDC/USDT through the direct legs of USDT."""
    index = measure(direct("0.9990", "0.9990"), crossed("1.0020", usd="1.0005"), 0, NOW_NS)[USDC]

    assert index.legs == (Leg((2,), D("1.0005")), Leg((0, 3), D("1.000998")), Leg((1, 3), D("1.000998")))
    assert index.usd == D("1.000749")


@pytest.mark.parametrize(
    ("usdt", "usdc"),
    [
        ([], []),
        (direct("1.0001"), []),
        (direct("1.0001"), crossed("1.0003", usd=None)),
        ([], crossed("1.0003", "1.0002")),
        (direct("1.0001", "1.1"), []),
    ],
)
def test_fewer_than_two_agreeing_legs_are_no_index(usdt: list[Source], usdc: list[Source]) -> None:
    """One leg, or two that disagree: no index, never 1.00."""
    indexes, held = follow(usdt, usdc, 0, {}, NOW_NS)

    assert (indexes[USDT].usd, indexes[USDT].state) == (None, "refused")
    assert USDT not in usable(indexes)
    assert held[USDT] == Held()


def test_one_exchange_that_is_wrong_in_all_its_legs_does_not_move_the_index() -> None:
    """Kraken 10 % off in USDT/USD and in USDC/USD tilts two legs of five, however many exchanges trade USDC/USDT."""
    index = measure(
        [*direct("1.0001", "1.0002"), source_of(2, quote_of("1.1")), source_of(4, quote_of("1.0000"))],
        crossed("1.0001", "1.0002", "1.0001", usd="1.1"),
        2,
        NOW_NS,
    )[USDT]

    assert index.usd == D("1.0001")
    assert index.agreeing == (Leg((4,), D("1.0000")), Leg((0,), D("1.0001")), Leg((1,), D("1.0002")))


def test_stale_legs_do_not_count() -> None:
    """A leg ages like any other quote."""
    old = source_of(0, quote_of("1.0001", at_ns=NOW_NS - 11 * NS_PER_SECOND))

    assert measure([old, *direct("1")], [], 0, NOW_NS)[USDT].usd is None


def test_crossed_legs_through_two_exchanges_count_as_two() -> None:
    """Direct legs of Kraken and Crypto.com, and one over OKX and Kraken: three legs, touched by two exchanges."""
    usdt = [source_of(2, quote_of("1")), source_of(4, quote_of("1"))]
    usdc = [source_of(2, quote_of("1")), source_of(5, quote_of("1"), "USDT")]

    allowed, refused = (measure(usdt, usdc, faulty, NOW_NS)[USDT] for faulty in (1, 2))

    assert [leg.exchanges for leg in allowed.agreeing] == [(2,), (2, 5), (4,)]
    assert (allowed.independent, allowed.needed, allowed.usd) == (2, 2, D(1))
    assert (refused.independent, refused.needed, refused.usd) == (2, 3, None)


def test_legs_further_apart_than_the_window_do_not_agree() -> None:
    """Four legs, two and two, 26 bps apart: neither set counts when one may lie too many; 25 bps are one set."""
    apart = measure(direct("1", "1", "1.0026", "1.0026"), [], 2, NOW_NS)[USDT]
    near = measure(direct("1", "1", "1.0025", "1.0025"), [], 2, NOW_NS)[USDT]

    assert (apart.independent, apart.usd) == (2, None)
    assert (near.independent, near.usd) == (4, D("1.00125"))


def measured_of(*prices: str, needed: int = 3) -> Measured:
    return measure(direct(*prices), [], needed - 1, NOW_NS)[USDT]


def test_what_cannot_be_measured_is_held_while_more_stand_by_it() -> None:
    """Two by it and one against it: held up to the bound and not a moment longer; one and one: not at all."""
    held = Held(D(1), NOW_NS)
    lost, split = measured_of("1", "1.0001", "0.95"), measured_of("1", "0.95")

    for age_ns, state in ((0, "held"), (INDEX_HOLD_NS, "held"), (INDEX_HOLD_NS + 1, "refused")):
        index, after = settle(lost, held, NOW_NS + age_ns)
        assert index.state == state
        assert index.usd == (D(1) if state == "held" else None)
        assert after == held
    assert settle(split, held, NOW_NS)[0].state == "refused"
    assert settle(measured_of(), held, NOW_NS)[0].state == "refused"
    assert settle(lost, Held(), NOW_NS)[0].state == "refused"


def test_an_index_that_jumps_is_none_until_all_show_it_or_the_time_is_over() -> None:
    """15 % down on three of four: no index for JUMP_HOLD_NS, never the old one; on all four at once."""
    some, everybody = measured_of("0.85", "0.85", "0.85", "1"), measured_of("0.85", "0.85", "0.85", "0.85")
    held = Held(D(1), NOW_NS)

    index, waiting = settle(some, held, NOW_NS)
    assert (index.state, index.usd) == ("refused", None)
    assert waiting == Held(D(1), NOW_NS, NOW_NS)
    assert settle(some, waiting, NOW_NS + JUMP_HOLD_NS - 1)[0].state == "refused"
    assert settle(some, waiting, NOW_NS + JUMP_HOLD_NS)[0].usd == D("0.85")
    assert settle(everybody, waiting, NOW_NS + 1) == (
        (D("0.85"), "measured", everybody),
        Held(D("0.85"), NOW_NS + 1),
    )


def test_a_coins_price_needs_more_sources_than_may_lie() -> None:
    """Whatever min_sources says; other assets go by their rules."""
    assert [required_of(USDT, 2, faulty) for faulty in (0, 1, 2, 3)] == [2, 2, 3, 4]
    assert required_of("BTC", 3, 3) == 3


def test_an_index_has_no_more_digits_than_it_can_be_recalled_with() -> None:
    """Means of means are rounded to INDEX_QUANTUM, so that a float in shared memory holds them exactly."""
    usd = measure(direct("1.0002", "0.9998"), crossed("1.0003", "1.0007"), 0, NOW_NS)[USDT].usd

    assert usd is not None
    assert D(repr(float(usd))).quantize(INDEX_QUANTUM) == usd


def test_a_depeg_warns_after_a_minute_and_pages_at_once() -> None:
    """More than 50 bps for 60 s is 1, more than 200 bps is 2; at par the watch starts again."""
    minute = DEPEG_WARN_NS
    history = [
        ("1.0050", 0, 0),
        ("0.9940", 1, 0),
        ("0.9940", minute, 0),
        ("0.9940", minute + 1, 1),
        (None, minute + 2, 1),
        ("0.9700", minute + 3, 2),
        ("0.9940", minute + 4, 1),
        ("0.9960", minute + 5, 0),
        ("0.9940", minute + 6, 0),
    ]
    peg = Peg()
    for usd, age_ns, level in history:
        peg = watch(D(usd) if usd is not None else None, peg, NOW_NS + age_ns)
        assert peg.level == level, (usd, age_ns)
