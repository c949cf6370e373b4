"""What clients of CoinGecko send as text."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.limits import ASSETS_MAX
from workers.api.base.problems import ProblemError
from workers.api.dropins.coingecko.parameters import (
    DAYS_MAX,
    read_date,
    read_days,
    read_decimals,
    read_time,
    read_windows,
    read_words,
)

TODAY = date(2026, 1, 31)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
READERS: tuple[Callable[[str], Any], ...] = (
    lambda text: read_words(text, "ids"),
    read_decimals,
    read_days,
    read_windows,
    lambda text: read_time(text, "from"),
    lambda text: read_date(text, "date", TODAY),
)


def refusal_of(read: Callable[[str], Any], text: str) -> ProblemError | None:
    try:
        read(text)
    except ProblemError as problem:
        return problem
    return None


@given(st.one_of(st.text(), st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{0,12})?([eE][0-9]{1,5})?", fullmatch=True)))
def test_any_text_is_read_or_refused_with_its_field(text: str) -> None:
    """Nothing else ever escapes."""
    for read in READERS:
        refusal = refusal_of(read, text)
        assert refusal is None or (refusal.status == 400 and refusal.field and refusal.detail)


@pytest.mark.parametrize(
    "text",
    ["1769860800", "1769860800.0", "1769860800000", "2026-01-31T12:00", "2026-01-31T12:00Z", "2026-01-31T13:00+01:00"],
)
def test_a_moment_is_seconds_milliseconds_or_a_date(text: str) -> None:
    """All of them the same noon."""
    assert read_time(text, "from") == NOON


def test_a_fraction_counts_and_the_ends_of_time_are_far() -> None:
    """A tenth of a second; what is before 1970 is 1970, as a client may ask for "everything"."""
    assert read_time("1769860800.1", "from") == NOON + timedelta(milliseconds=100)
    assert read_time("-5", "from") == read_time("0", "from") == datetime(1970, 1, 1, tzinfo=UTC)
    assert read_time("99999999999", "to").year == 2100


def test_days_dates_decimals_and_windows() -> None:
    """As CoinGecko's clients write them."""
    assert read_days("0.5") == timedelta(hours=12)
    assert read_days("max") == read_days("365") == timedelta(days=DAYS_MAX)
    assert read_date("30-01-2026", "date", TODAY) == NOON - timedelta(hours=36)
    assert read_date("2026-01-30", "date", TODAY) == NOON - timedelta(hours=36)
    assert (read_decimals("full"), read_decimals("0"), read_decimals("18")) == (None, 0, 18)
    assert read_windows("1h, 7d,1y") == ["1h", "7d", "1y"]
    assert read_words(" Bitcoin, ,eth ", "ids") == ["Bitcoin", "eth"]


@pytest.mark.parametrize(
    ("read", "text", "allowed"),
    [
        (read_days, "0", "max"),
        (read_days, "-1", "max"),
        (read_days, "1e3", "max"),
        (read_decimals, "19", "0 to 18"),
        (read_windows, "2h", "1h, 24h, 7d"),
        (READERS[5], "01-02-2026", "31-01-2026"),
        (READERS[5], "31-02-2026", "31-01-2026"),
        (READERS[4], "yesterday", "2026-01-31"),
        (READERS[0], "x," * ASSETS_MAX, str(ASSETS_MAX)),
    ],
)
def test_a_refusal_says_what_is_allowed(read: Callable[[str], Any], text: str, allowed: str) -> None:
    """In its sentence."""
    with pytest.raises(ProblemError) as refused:
        read(text)
    assert allowed in refused.value.detail
