"""trinity/access/months.py"""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.access.months import find_month, start_of_month
from trinity.clock import NS_PER_SECOND

pytestmark = pytest.mark.uncompiled


@given(st.dates(datetime.date(1970, 1, 1), datetime.date(2261, 11, 30)), st.integers(0, 3000 * 12))
def test_months_are_those_of_the_calendar_from_wherever_they_are_looked_for(day: datetime.date, near: int) -> None:
    """UTC, leap years included, forwards and backwards; a month ends where the next one begins."""
    moment = datetime.datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=datetime.UTC)
    month = find_month(near, int(moment.timestamp()) * NS_PER_SECOND)
    assert divmod(month, 12) == (day.year, day.month - 1)
    for number in (month, month + 1):
        first = datetime.datetime(number // 12, number % 12 + 1, 1, tzinfo=datetime.UTC)
        assert start_of_month(number) == int(first.timestamp()) * NS_PER_SECOND


def test_a_time_beyond_the_calendar_is_in_its_last_month() -> None:
    """A broken clock is no error of ours."""
    assert find_month(0, -1) == 1970 * 12
    assert find_month(0, 2**63 - 1) == 2261 * 12 + 10
