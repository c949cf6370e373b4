"""feeds/ingest/guests.py; tests/feeds/resolver/test_hot.py has them on live sockets."""

from feeds.exchanges import kraken
from feeds.ingest.guests import Guests, SubscriptionChanges
from trinity.clock import NS_PER_SECOND
from trinity.markets import Asset, load_catalog
from trinity.memory.asset_table import AssetTable

CATALOG = load_catalog()
KRAKEN = 1 << CATALOG.exchange_index("kraken")


class FakeRows:
    """Rows that remember what they were told."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, int]] = {}
        self.is_full = False

    def add(self, symbol: str, asset_index: int, asset: Asset, row_version: int, now_ns: int) -> bool:
        if self.is_full:
            return False
        self.rows[symbol] = (asset_index, row_version)
        return True

    def remove(self, symbol: str) -> None:
        del self.rows[symbol]


def guests_of(rows: FakeRows, assets: AssetTable) -> Guests:
    return Guests(rows, assets, CATALOG, "kraken", kraken)  # type: ignore[arg-type]


def cell_of(assets: AssetTable, name: str, now_ns: int = 0) -> int:
    cell = assets.reserve(name, now_ns)
    assert cell is not None
    assets.answer(cell, 10**18)
    return cell


def test_only_what_has_this_exchange_s_bit_comes_and_it_goes_with_the_bit() -> None:
    """Under the exchange's own symbol, in the cell's place, for the cell's version."""
    assets, rows = AssetTable.private(8), FakeRows()
    guests, cell = guests_of(rows, assets), cell_of(assets, "ABC")
    assets.set_hot(cell, KRAKEN << 1)
    assert guests.follow(0) == SubscriptionChanges([], [])
    assets.set_hot(cell, KRAKEN)
    assert guests.follow(NS_PER_SECOND) == SubscriptionChanges(["ABC/USD"], [])
    assert rows.rows == {"ABC/USD": (len(CATALOG.assets) + cell, assets.versions()[cell])}
    assets.set_hot(cell, 0)
    assert guests.follow(2 * NS_PER_SECOND) == SubscriptionChanges([], ["ABC/USD"])
    assert rows.rows == {}


def test_a_cell_that_went_to_another_asset_is_another_guest() -> None:
    """The former one goes in the same look."""
    assets, rows = AssetTable.private(1), FakeRows()
    guests, cell = guests_of(rows, assets), cell_of(assets, "ABC")
    assets.set_hot(cell, KRAKEN)
    guests.follow(0)
    assets.free(cell, 0)
    cell_of(assets, "DEF", 10**12)
    assets.set_hot(cell, KRAKEN)
    assert guests.follow(NS_PER_SECOND) == SubscriptionChanges(["DEF/USD"], ["ABC/USD"])


def test_the_table_is_looked_at_once_a_second() -> None:
    """Between two looks nothing is news."""
    assets, rows = AssetTable.private(8), FakeRows()
    guests = guests_of(rows, assets)
    guests.follow(0)
    assets.set_hot(cell_of(assets, "ABC"), KRAKEN)
    assert guests.follow(NS_PER_SECOND - 1) == SubscriptionChanges([], [])
    assert guests.follow(NS_PER_SECOND) == SubscriptionChanges(["ABC/USD"], [])


def test_where_there_is_no_room_nobody_is_subscribed() -> None:
    """It stays with REST."""
    assets, rows = AssetTable.private(8), FakeRows()
    rows.is_full = True
    assets.set_hot(cell_of(assets, "ABC"), KRAKEN)
    assert guests_of(rows, assets).follow(0) == SubscriptionChanges([], [])
