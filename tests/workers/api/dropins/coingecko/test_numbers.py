"""Numbers as CoinGecko's clients read them."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.dropins.coingecko.numbers import (
    change_percent,
    iso_time,
    number,
    number_or_null,
    quotient,
    rounded,
)

PRICES = st.decimals("1e-12", "1e9", allow_nan=False, places=12).filter(lambda price: price > 0)


def text_of(raw: object) -> str:
    return bytes(raw).decode()  # type: ignore[call-overload, no-any-return]


@given(PRICES, st.integers(0, 18))
def test_no_precision_turns_a_price_into_0_or_prints_an_exponent(price: Decimal, decimals: int) -> None:
    """What is written is JSON in plain digits, above 0, and at most half of the last decimal or a digit away."""
    text = text_of(number(rounded(price, decimals)))
    assert set(text) <= set("0123456789.")
    assert float(text) == json.loads(text) > 0
    assert abs(Decimal(text) - price) <= max(Decimal(5).scaleb(-decimals - 1), Decimal(0))


@given(PRICES)
def test_without_a_precision_a_price_is_exact(price: Decimal) -> None:
    """And in USD it is never divided."""
    assert Decimal(text_of(number(rounded(price, None)))) == price == quotient(price, Decimal(1))


@given(PRICES, PRICES)
def test_a_quotient_has_twelve_digits(price: Decimal, unit: Decimal) -> None:
    """Near enough to the exact one."""
    assert abs(quotient(price, unit) * unit / price - 1) < Decimal("1e-11")


@pytest.mark.parametrize(
    ("now", "then", "percent"),
    [
        ("110", "100", "10"),
        ("99.99", "100", "-0.01"),
        ("100", "100", "0"),
        ("99.999999999", "100", "0"),
        ("3", "7", "-57.14286"),
    ],
)
def test_a_change_has_five_decimals_and_zero_has_no_sign(now: str, then: str, percent: str) -> None:
    """As CoinGecko's; what is not known is null."""
    raw = change_percent(Decimal(now), Decimal(then))
    assert raw is not None
    assert text_of(raw) == percent
    assert change_percent(None, Decimal(1)) is change_percent(Decimal(1), None) is number_or_null(None) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E+3", "1000"),
        ("100", "100"),
        ("71002.50", "71002.5"),
        ("0.000", "0"),
        ("-0.00", "0"),
        ("1E-9", "0.000000001"),
    ],
)
def test_a_number_has_no_digit_that_means_nothing(value: str, text: str) -> None:
    """No exponent, no zeros behind the point, no sign of a zero."""
    assert text_of(number(Decimal(value))) == text


def test_a_moment_has_milliseconds_and_a_z() -> None:
    """As CoinGecko writes them; the last one of a second is not the next one's."""
    assert iso_time(1_769_860_800_123) == "2026-01-31T12:00:00.123Z"
    assert iso_time(1_769_860_800_999) == "2026-01-31T12:00:00.999Z"
    assert iso_time(1_769_860_801_000) == "2026-01-31T12:00:01.000Z"
    assert iso_time(7) == "1970-01-01T00:00:00.007Z"
