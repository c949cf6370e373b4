"""Months and the columns of their bill; the bill itself: test_billing.py."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.usage.bill import COLUMNS, read_month

NOW = datetime(2026, 11, 29, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end", "complete"),
    [("2026-11", "2026-11-01", "2026-12-01", False), ("2025-12", "2025-12-01", "2026-01-01", True)],
)
def test_a_month_is_one_of_utc(text: str, start: str, end: str, complete: bool) -> None:
    """From its first moment to the next one's; one that runs is not complete."""
    month = read_month(text, NOW, 36)
    assert (f"{month.start:%Y-%m-%d}", f"{month.end:%Y-%m-%d}", month.file) == (start, end, f"trinity-bill-{text}")
    assert month.head(NOW)["complete"] is complete


@given(st.text(max_size=8))
def test_nothing_else_is_a_month(text: str) -> None:
    """What is wrong is said in words."""
    with pytest.raises(ValueError, match=r"month|kept"):
        read_month(text + "-", NOW, 36)


@pytest.mark.parametrize(("text", "reason"), [("2026-12", "not begun"), ("2023-10", "36 months")])
def test_a_month_without_sums_has_no_bill(text: str, reason: str) -> None:
    """Those to come, and those whose sums are gone."""
    with pytest.raises(ValueError, match=reason):
        read_month(text, NOW, 36)
    assert read_month("2023-11", NOW, 36).text == "2023-11"


def test_no_column_stands_twice() -> None:
    """A file has them by name."""
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
