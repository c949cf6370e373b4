"""trinity/access/costs.py; tests/workers/api/test_costs.py holds the routes and the documents against it."""

from pathlib import Path

import pytest

from trinity.access.costs import MISTAKES, TABLE, Cost, cost_of
from trinity.limits import FREE_BURST


@pytest.mark.parametrize(
    ("path", "cost"),
    [
        ("/price", Cost.PRICES),
        ("/v1/price", Cost.PRICES),
        ("/reports/usage", Cost.FREE),
        ("/v1/reports/usage", Cost.FREE),
        ("/reportsy", Cost.ANSWER),
        ("/node", Cost.PRICES),
        ("/node/asset", Cost.ANSWER),
        ("/node/inside", Cost.FREE),
        ("/cluster", Cost.FREE),
        ("/api/v3/coins/list", Cost.FREE),
        ("/api/v3/coins/{coin_id:str}/market_chart", Cost.ANSWER),
        ("/v2/updates/price/stream", Cost.STREAM),
        ("", Cost.ANSWER),
        ("unknown", Cost.ANSWER),
    ],
)
def test_the_longest_row_above_a_path_says_what_it_costs(path: str, cost: Cost) -> None:
    """With a version before it as well; what nobody put into the table is not free."""
    assert cost_of(path) is cost


def test_a_path_stands_in_the_table_once() -> None:
    """Two rows would be two answers."""
    paths = [row.path for row in TABLE]
    assert len(paths) == len(set(paths))


def test_the_document_has_the_same_table() -> None:
    """Row by row, in the table's words, and the bound of mistakes."""
    text = (Path(__file__).resolve().parents[3] / "docs/keys.md").read_text()
    for row in TABLE:
        assert f"| `{row.path}` | {row.cost.value} |\n" in text
    assert text.count("| `/") >= len(TABLE)
    assert MISTAKES in text
    assert f"10 a second, {FREE_BURST} at once" in text
