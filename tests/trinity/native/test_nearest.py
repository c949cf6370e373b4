"""Which path somebody meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.native.nearest import nearest_of

pytestmark = pytest.mark.uncompiled

PATHS = ["/price", "/prices", "/price_at", "/history", "/reports/usage", "/reports/log", "/udf/history", "/ws"]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/price", "/price"),
        ("/PRICE", "/price"),
        ("/pric", "/price"),
        ("/pirce", "/price"),
        ("/pricess", "/prices"),
        ("/price/BTC", "/price"),
        ("/v1/histori", "/history"),
        ("/v1/prices/BTC", "/prices"),
        ("/reports/usag", "/reports/usage"),
        ("/reports/usage/2026/01", "/reports/usage"),
        ("/reports", "/reports/usage"),
        ("/ws/", "/ws"),
        ("/quotes", None),
        ("/x", None),
        ("/", None),
        ("", None),
        ("/v1", None),
        ("/préce", "/price"),
    ],
)
def test_the_nearest_path_is_found(path: str, meant: str | None) -> None:
    """One that it goes on behind, one that is a slip of the hand away, or one that it begins; else none."""
    assert nearest_of(PATHS, path) == meant


@given(st.text())
def test_any_text_is_near_one_or_none(text: str) -> None:
    """Nothing that a client sends raises."""
    assert nearest_of(PATHS, text) in (None, *PATHS)
    assert nearest_of([], text) is None


@given(st.sampled_from([path for path in PATHS if len(path) > 5]), st.integers(1, 4), st.sampled_from("xyz-"))
def test_one_wrong_letter_is_understood(path: str, at: int, letter: str) -> None:
    """Wherever it stands, too many, or in the place of another."""
    for wrong in (path[:at] + letter + path[at:], path[:at] + letter + path[at + 1 :]):
        found = nearest_of(PATHS, wrong)
        assert found is not None
        assert len(set(found) ^ set(path)) <= 3
