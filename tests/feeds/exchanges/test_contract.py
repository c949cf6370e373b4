"""feeds/exchanges/contract.py"""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.exchanges.contract import PRICE_DIGITS_MAX, BadFieldError, RefusalReason, parse_price
from trinity.vocabulary import REFUSAL_REASONS


def test_the_reasons_are_those_of_the_metrics() -> None:
    """What a decoder may say, the metrics can count."""
    assert RefusalReason.__args__ == REFUSAL_REASONS  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["70000.170", "0.000009120", "1", "007", "123456789012345678"])
def test_a_price_keeps_its_digits(text: str) -> None:
    """Trailing zeros stay, so that the exchange's own precision is kept."""
    price = parse_price(text.encode())
    assert price.decimal == Decimal(text)
    assert price.decimal.as_tuple().exponent == Decimal(text).as_tuple().exponent
    assert price.at_scale(price.scale + 2) == 100 * price.mantissa


REFUSED = {
    "bad_number": [
        *("", " 1", "1 ", "+1", "1.", ".5", "1,5", "1_000", "0x10", "\u0661", "1\n", "NaN", "nan", "sNaN"),
        *("Infinity", "-Infinity", "inf", "1E+5", "1e-5", "1E+999999999", "1.2.3", "--1"),
        *("1" * 19, "1." + "1" * 19, "1234567890.123456789"),
    ],
    "nonpositive_price": ["0", "0.000", "000", "-0", "-0.0", "-1", "-70000.17"],
}


@pytest.mark.parametrize(("text", "reason"), [(text, reason) for reason, texts in REFUSED.items() for text in texts])
def test_what_is_no_price_is_refused_with_its_reason(text: str, reason: str) -> None:
    """Exponents, names of non-numbers, foreign digits and too many digits are no prices; zero and less are none."""
    with pytest.raises(BadFieldError) as error:
        parse_price(text.encode())
    assert error.value.reason == reason


@settings(deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"-?[0-9]{1,22}(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,9})?"))
def test_a_price_is_always_finite_above_zero_and_fits_a_cell(text: str) -> None:
    """Whatever the text, the result is such a price or a BadFieldError."""
    with contextlib.suppress(BadFieldError):
        price = parse_price(text.encode())
        assert price.decimal == Decimal(text)
        assert price.mantissa > 0
        assert len(str(price.mantissa)) <= PRICE_DIGITS_MAX
        assert 0 <= price.scale <= PRICE_DIGITS_MAX
