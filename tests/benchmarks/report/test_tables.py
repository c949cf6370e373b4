"""benchmarks/report/tables.py"""

from benchmarks.report.tables import table


def test_the_first_column_is_to_the_left_and_the_others_to_the_right() -> None:
    """As wide as their widest cell."""
    assert table("Title", ("", "count"), [("a", 1), ("longer", 1000)]).splitlines() == [
        "Title",
        "        count",
        "------  -----",
        "a           1",
        "longer  1,000",
    ]
