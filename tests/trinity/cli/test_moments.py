"""trinity/cli/moments.py"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.cli.moments import parse_moment
from trinity.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("1767225600", 1_767_225_600_000_000_000),
        ("1767225600.25", 1_767_225_600_250_000_000),
        ("2026-01-01", 1_767_225_600_000_000_000),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000_000_000),
        ("2026-01-01T01:30:00+01:30", 1_767_225_600_000_000_000),
        ("2026-01-01 00:00:00.000001", 1_767_225_600_000_001_000),
    ],
)
def test_moments_are_read_as_people_write_them(text: str, expected_ns: int) -> None:
    """ISO 8601 with and without an offset, and seconds since 1970."""
    assert parse_moment("--at", text) == expected_ns


@given(
    st.integers(min_value=0, max_value=9_200_000_000).map(lambda s: datetime.fromtimestamp(s, UTC).replace(tzinfo=None))
)
def test_any_moment_survives(moment: datetime) -> None:
    """To the microsecond."""
    span = moment.replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC)
    assert parse_moment("--at", moment.isoformat()) == span // timedelta(microseconds=1) * 1000


@given(st.text(max_size=40))
def test_other_text_is_refused_by_the_arguments_name(text: str) -> None:
    """Nothing but an InputError escapes."""
    try:
        parse_moment("--from", text)
    except InputError as error:
        assert str(error).startswith("--from: ")  # noqa: PT017 - some texts are moments


@pytest.mark.parametrize("text", ["1969-12-31", "9" * 12, "2300-01-01", "0x10", "1e9", "-5", "tomorrow", ""])
def test_what_is_no_moment_of_ours_is_refused(text: str) -> None:
    """Before 1970, after 2262, or no time at all."""
    with pytest.raises(InputError):
        parse_moment("--to", text)
