"""Spans cut into kept sums: every minute once, and no sum across the border of a bucket."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.base.parameters import TimeSpan
from workers.api.base.problems import ProblemError
from workers.api.usage.spans import Granularity, Pieces, check, cut

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Etc/GMT+5",
)

_NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)

spans = st.builds(
    lambda start, minutes, zone: TimeSpan(start, start + timedelta(minutes=minutes), ZoneInfo(zone)),
    st.integers(0, 365 * 24 * 60 * 60).map(
        lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    st.integers(1, 6 * 24 * 60),
    st.sampled_from(_ZONES),
)


def _sums_of(pieces: Pieces) -> list[tuple[datetime, timedelta]]:
    """Start and length of every sum that the statements read."""
    sums = []
    for begin, end, unit in (
        (pieces.minute_from, pieces.hour_from, _MINUTE),
        (pieces.hour_from, pieces.day_from, _HOUR),
        (pieces.day_from, pieces.day_to, _DAY),
        (pieces.day_to, pieces.hour_to, _HOUR),
        (pieces.hour_to, pieces.minute_to, _MINUTE),
    ):
        while begin < end:
            sums.append((begin, unit))
            begin += unit
    return sums


def _bucket(moment: datetime, zone: ZoneInfo, granularity: Granularity) -> object:
    local = moment.astimezone(zone)
    return {
        "minute": moment.replace(second=0, microsecond=0),
        "hour": (local.date(), local.hour, local.utcoffset()),
        "day": local.date(),
        "month": (local.year, local.month),
    }[granularity]


@given(spans, st.sampled_from(["minute", "hour", "day", "month", None]))
def test_every_minute_of_a_span_is_counted_once(span: TimeSpan, granularity: Granularity | None) -> None:
    """The pieces adjoin, begin and end with whole minutes, and are made of whole sums."""
    position = span.start.replace(second=0, microsecond=0)
    for start, unit in _sums_of(cut(span, granularity)):
        assert start == position
        assert (start - datetime(1970, 1, 1, tzinfo=UTC)) % unit == timedelta()
        position += unit
    assert position - _MINUTE < span.end <= position


@given(spans, st.sampled_from(["minute", "hour", "day", "month"]))
def test_no_sum_lies_in_two_buckets(span: TimeSpan, granularity: Granularity) -> None:
    """Also where days have 23 or 25 hours, and where hours begin at half past or a quarter to."""
    for start, unit in _sums_of(cut(span, granularity)):
        last = start + unit - _MINUTE
        assert _bucket(start, span.zone, granularity) == _bucket(last, span.zone, granularity)


@pytest.mark.parametrize(
    ("zone", "granularity", "days", "is_of_all", "field"),
    [
        ("Asia/Kolkata", "day", 93, False, "tz"),
        ("Asia/Kolkata", "hour", 9, True, "tz"),
        ("Asia/Kolkata", "day", 31, False, None),
        ("Asia/Kolkata", None, 93, True, None),
        ("UTC", "minute", 93, False, "granularity"),
        ("UTC", "minute", 8, True, None),
        ("Europe/Berlin", "hour", 93, True, None),
        ("UTC", "hour", 101, True, "granularity"),
        ("Europe/Berlin", "month", 365, True, "tz"),
        ("UTC", "month", 3_650, True, None),
        ("UTC", "day", 3_650, True, None),
    ],
)
def test_nothing_scans_all_minutes(
    zone: str, granularity: Granularity | None, days: int, is_of_all: bool, field: str | None
) -> None:
    """What would is refused by the name of the parameter that asks for it."""
    pieces = cut(TimeSpan(_NEW_YEAR, _NEW_YEAR + days * _DAY, ZoneInfo(zone)), granularity)
    if field is None:
        check(pieces, granularity, is_of_all, _NEW_YEAR.date())
    else:
        with pytest.raises(ProblemError) as refused:
            check(pieces, granularity, is_of_all, _NEW_YEAR.date())
        assert (refused.value.code, refused.value.field) == ("range_too_large", field)


@pytest.mark.parametrize(
    ("zone", "granularity", "is_kept"),
    [("UTC", "day", True), ("UTC", "month", True), ("UTC", None, True), ("UTC", "hour", False),
     ("UTC", "minute", False), ("Europe/Berlin", "day", False)],
)  # fmt: skip
def test_what_is_kept_no_more_is_refused(zone: str, granularity: Granularity | None, is_kept: bool) -> None:
    """Of days whose hours are gone there are whole days of UTC; less than there was is never given as all of it."""
    span = TimeSpan(_NEW_YEAR, _NEW_YEAR + 5 * _DAY, ZoneInfo(zone))
    detail_from = (_NEW_YEAR + 3 * _DAY).date()
    if is_kept:
        check(cut(span, granularity), granularity, True, detail_from)
    else:
        with pytest.raises(ProblemError, match="tz=UTC") as refused:
            check(cut(span, granularity), granularity, True, detail_from)
        assert (refused.value.code, refused.value.field) == ("detail_gone", "from")
    ends_within = span._replace(start=_NEW_YEAR + 3 * _DAY)
    check(cut(ends_within, granularity), granularity, True, detail_from)


@pytest.mark.parametrize(("granularity", "sums"), [(None, 91 + 2 * 23), ("day", 91 + 2 * 23), ("hour", 93 * 24 - 2)])
def test_the_coarsest_sums_are_used(granularity: Granularity | None, sums: int) -> None:
    """93 days are read as 91 days and the hours around them, not as 134,000 minutes."""
    start = datetime(2026, 3, 1, 1, tzinfo=UTC)
    pieces = cut(TimeSpan(start, start + 93 * _DAY - 2 * _HOUR, ZoneInfo("UTC")), granularity)
    assert len(_sums_of(pieces)) == sums
