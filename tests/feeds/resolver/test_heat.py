"""feeds/resolver/heat.py"""

from feeds.resolver.heat import Heat
from trinity.clock import NS_PER_SECOND
from trinity.memory.asset_table import AssetCell, SpareState


def cell(name: str, asked: int, asked_at: float, version: int = 2) -> AssetCell:
    """Cell 0 as it was looked up so often, last then (seconds)."""
    return AssetCell(0, version, name, SpareState.ANSWERED, 0, 0, round(asked_at * NS_PER_SECOND), asked)


def at(seconds: float) -> int:
    return round(seconds * NS_PER_SECOND)


def test_ten_lookups_in_ten_seconds_are_hot_and_nine_are_not() -> None:
    heat = Heat()
    assert heat.follow([cell("A", 0, 0)], at(0)) == set()
    assert heat.follow([cell("A", 9, 5)], at(5)) == set()
    assert heat.follow([cell("A", 10, 6)], at(6)) == {"A"}


def test_ten_lookups_in_a_minute_are_not() -> None:
    heat = Heat()
    for second in range(60):
        assert heat.follow([cell("A", second // 6, second)], at(second)) == set()


def test_it_is_hot_until_nobody_asked_for_a_minute() -> None:
    heat = Heat()
    heat.follow([cell("A", 0, 0)], at(0))
    for second in range(1, 60):
        assert heat.follow([cell("A", 20, 1)], at(second)) == {"A"}
    assert heat.follow([cell("A", 20, 1)], at(62)) == set()


def test_another_asset_in_the_same_cell_begins_cold() -> None:
    heat = Heat()
    heat.follow([cell("A", 0, 0)], at(0))
    assert heat.follow([cell("A", 50, 1)], at(1)) == {"A"}
    assert heat.follow([cell("B", 3, 2, version=6)], at(2)) == set()
