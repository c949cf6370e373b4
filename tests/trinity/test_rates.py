"""trinity/rates.py"""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.limits import RATE_REQUESTS_MAX, RATE_SECONDS_MAX
from trinity.rates import RATE_BITS, rate_of, rate_text, read_rate, requests_of, seconds_of

pytestmark = pytest.mark.uncompiled

READ = [
    ("0", (0, 1)), ("0.0", (0, 1)), ("0/5s", (0, 1)), ("200", (200, 1)), ("0.2", (1, 5)), ("1/5s", (1, 5)),
    ("1.5", (3, 2)), ("90/m", (90, 60)), ("1/h", (1, 3600)), ("2/30m", (2, 1800)), ("1000000", (1_000_000, 1)),
    ("0.001", (1, 1000)), ("7/s", (7, 1)),
]  # fmt: skip
REFUSED = [
    "", "-1", "+1", "1e3", "nan", ".5", "1.", "1/5", "1/0s", "1/2h", "1/9999s", "1000001", "9999999999", "0.0001",
    "0.3333333", "\u0661", " 1", "1\n", "1/5s ", "/5s", "1//s", "1/5d", "1" * 1000,
]  # fmt: skip


def test_what_people_write_is_read_exactly() -> None:
    """A decimal is the fraction that it is."""
    for text, expected in READ:
        rate = read_rate(text)
        assert (requests_of(rate), seconds_of(rate)) == expected, text


def test_anything_else_is_refused_with_its_reason() -> None:
    """Also what would have to be rounded."""
    for text in REFUSED:
        with pytest.raises(ValueError, match=r"not|exactly"):
            read_rate(text)


@given(st.integers(1, RATE_REQUESTS_MAX), st.integers(1, RATE_SECONDS_MAX))
def test_a_rate_is_one_number_of_32_bits_and_is_read_as_it_is_shown(requests: int, seconds: int) -> None:
    """None of them is -1 in 32 bits, which says that there is none."""
    rate = rate_of(requests, seconds)
    assert 0 < rate < RATE_BITS
    assert (requests_of(rate), seconds_of(rate)) == (requests, seconds)
    assert read_rate(rate_text(requests, seconds)) == rate


@given(st.text(max_size=12))
def test_whatever_is_written_is_a_rate_or_a_value_error(text: str) -> None:
    """And a rate means what the text says."""
    try:
        rate = read_rate(text)
    except ValueError:
        return
    if "/" not in text:
        assert Fraction(text) == Fraction(requests_of(rate), seconds_of(rate))
