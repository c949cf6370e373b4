"""Parameters: what is read, what is refused, and that refusals name the field."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.base.parameters import NAMES_MAX, read_moment, read_names, read_period, read_span, read_zone
from workers.api.base.problems import ProblemError

UTC_ZONE = ZoneInfo("UTC")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-01-31T12:00:00Z", "UTC", NOON),
        ("2026-01-31T13:00:00+01:00", "UTC", NOON),
        ("2026-01-31 13:00", "Europe/Berlin", NOON),
        ("2026-01-31", "Asia/Kolkata", datetime(2026, 1, 30, 18, 30, tzinfo=UTC)),
        (str(int(NOON.timestamp())), "Europe/Berlin", NOON),
        (str(int(NOON.timestamp()) * 1000), "UTC", NOON),
    ],
)
def test_a_moment_may_be_written_in_several_ways(text: str, zone: str, moment: datetime) -> None:
    """ISO 8601 with and without an offset, seconds and milliseconds since 1970."""
    assert read_moment(text, "from", ZoneInfo(zone)) == moment


@given(st.one_of(st.text(), st.from_regex(r"\A[0-9TZ:+. -]{1,45}\Z"), st.integers().map(str)))
def test_any_text_is_a_moment_of_this_century_or_refused_by_name(text: str) -> None:
    """Nothing else comes out, and nothing else is raised."""
    refusal = None
    try:
        moment = read_moment(text, "to", UTC_ZONE)
    except ProblemError as error:
        refusal = error
    if refusal is not None:
        assert (refusal.status, refusal.code, refusal.field) == (400, "bad_parameter", "to")
    else:
        assert 2000 <= moment.year <= 2100
        assert moment.utcoffset() == timedelta()


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        ("2026-02-01", "2026-01-01", "to"),
        ("2026-02-01", "2026-02-01", "to"),
        ("2026-07-01", None, "from"),
        ("2020-01-01", "2026-01-01", "from"),
        ("1; DROP TABLE usage_log", None, "from"),
        (None, "2026-02-30", "to"),
        ("9" * 400, None, "from"),
        ("٣٣٣٣", None, "from"),
    ],
)
def test_wrong_spans_are_refused_by_name(start: str | None, end: str | None, field: str) -> None:
    """Reversed, empty, too long, not a time."""
    with pytest.raises(ProblemError) as caught:
        read_span(start, end, "UTC", NOW)
    assert caught.value.field == field


def test_a_span_without_borders_is_the_last_day() -> None:
    """Until now, and a day back from the end."""
    assert read_span(None, None, "UTC", NOW)[:2] == (NOW - timedelta(days=1), NOW)


@pytest.mark.parametrize("name", ["", "utc", "Mars/Base", "../../etc/passwd", "Europe/Berlin'--", "localtime"])
def test_a_zone_is_a_name_of_the_iana_database(name: str) -> None:
    """Nothing else, so no path and no SQL."""
    with pytest.raises(ProblemError, match="IANA") as caught:
        read_zone(name)
    assert caught.value.field == "tz"


@given(st.text())
def test_any_text_is_a_period_or_refused(text: str) -> None:
    """Between a minute and 100 days."""
    refusal = None
    try:
        assert timedelta() < read_period(text, "period") <= timedelta(days=100)
    except ProblemError as error:
        refusal = error
    assert refusal is None or refusal.field == "period"


def test_names_are_few_and_plain() -> None:
    """Upper case; 10,000 of them are refused, and so is what no asset is called."""
    assert read_names("btc,ETH", "asset") == ["BTC", "ETH"]
    assert read_names(None, "asset") is None
    with pytest.raises(ProblemError, match="too_many_assets"):
        read_names(",".join(["BTC"] * (NAMES_MAX + 1)), "asset")
    with pytest.raises(ProblemError, match="too_many_assets"):
        read_names("BTC," * 10_000, "asset")
    for text in ("", ",", "BTC,", "B'TC", "x" * 17, "Ü"):
        with pytest.raises(ProblemError):
            read_names(text, "asset")
