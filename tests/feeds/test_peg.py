"""Stablecoins as measured: legs, majority, and how long a coin has been off."""

from decimal import Decimal

import pytest

from feeds.consensus import Source
from feeds.peg import USDC, USDT, Leg, Peg, measure, usable, watch
from tests.feeds.consensus_cases import NOW_NS, quote_of, source_of
from trinity.clock import NS_PER_SECOND
from trinity.limits import DEPEG_WARN_NS

D = Decimal


def direct(*prices: str) -> list[Source]:
    return [source_of(i, quote_of(price)) for i, price in enumerate(prices)]


def crossed(*prices: str, usd: str | None = "1") -> list[Source]:
    """USDC sources: one in USD on exchange 2, the rest USDC/USDT on exchanges 3 and up."""
    legs = [source_of(2, quote_of(usd))] if usd is not None else []
    return legs + [source_of(3 + i, quote_of(price), "USDT") for i, price in enumerate(prices)]


def test_the_index_is_the_median_of_direct_and_inverted_legs() -> None:
    """1.0002, 0.9998, 1.0001 and 1/1.0003 give 0.99995."""
    index = measure(direct("1.0002", "0.9998", "1.0001"), crossed("1.0003"), NOW_NS)[USDT]

    assert [leg.exchange for leg in index.legs] == [0, 1, 2, None]
    assert round(index.legs[-1].usd, 8) == round(1 / D("1.0003"), 8)
    assert index.usd == D("0.99995")


def test_usdc_is_measured_like_usdt() -> None:
    """Its direct leg, and USDC/USDT through the direct legs of USDT."""
    index = measure(direct("0.9990", "0.9990"), crossed("1.0020", usd="1.0005"), NOW_NS)[USDC]

    assert index.legs == (Leg(2, D("1.0005")), Leg(None, D("1.000998")))
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
    measured = measure(usdt, usdc, NOW_NS)

    assert measured[USDT].usd is None
    assert USDT not in usable(measured)


def test_one_exchange_that_is_wrong_in_all_its_legs_does_not_move_the_index() -> None:
    """Kraken 10 % off in USDT/USD and in USDC/USD tilts two legs of five, however many exchanges trade USDC/USDT."""
    index = measure(
        [*direct("1.0001", "1.0002"), source_of(2, quote_of("1.1")), source_of(4, quote_of("1.0000"))],
        crossed("1.0001", "1.0002", "1.0001", usd="1.1"),
        NOW_NS,
    )[USDT]

    assert index.usd == D("1.0002")


def test_stale_legs_do_not_count() -> None:
    """A leg ages like any other quote."""
    old = source_of(0, quote_of("1.0001", at_ns=NOW_NS - 11 * NS_PER_SECOND))

    assert measure([old, *direct("1")], [], NOW_NS)[USDT].usd is None


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
