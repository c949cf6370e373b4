"""feeds/resolver/listings.py"""

from pathlib import Path

import pytest

from feeds.exchanges.contract import Listed
from feeds.resolver.listings import FILE_NAME, Listings
from trinity.clock import NS_PER_SECOND
from trinity.limits import LISTING_AGAIN_SECONDS, LISTING_SECONDS
from trinity.markets import load_catalog

CATALOG = load_catalog()
WALL_NS = 1_790_000_000 * NS_PER_SECOND


def lists_of(folder: Path, *assets: str) -> Listings:
    """Every exchange lists these."""
    listings = Listings(CATALOG, folder)
    for name in CATALOG.exchanges:
        quotes = ("USD", "USDT", "USDC")
        listings.put(name, Listed(frozenset((asset, quote) for asset in assets for quote in quotes)), WALL_NS)
    return listings


def test_an_exchange_whose_list_lacks_an_asset_is_not_asked(tmp_path: Path) -> None:
    where = lists_of(tmp_path, "ABC").where("ABC")
    assert where.is_sure
    assert dict(where.currencies) == {0: "USD", 1: "USD", 2: "USD", 3: "USDT", 4: "USD", 5: "USDT"}
    assert lists_of(tmp_path, "ABC").where("DEF").currencies == {}


def test_an_exchange_without_a_list_may_have_anything(tmp_path: Path) -> None:
    where = Listings(CATALOG, tmp_path).where("ABC")
    assert len(where.currencies) == len(CATALOG.exchanges)
    assert not where.is_sure


def test_only_the_currency_of_the_catalog_counts(tmp_path: Path) -> None:
    listings = Listings(CATALOG, tmp_path)
    listings.put("gateio", Listed(frozenset({("ABC", "USD"), ("DEF", "USDT")})), WALL_NS)
    gateio = CATALOG.exchange_index("gateio")
    assert gateio not in listings.where("ABC").currencies
    assert gateio in listings.where("DEF").currencies


def test_the_next_process_knows_them_and_asks_anew_all_the_same(tmp_path: Path) -> None:
    lists_of(tmp_path, "ABC")
    again = Listings(CATALOG, tmp_path)
    assert again.where("DEF").currencies == {}
    assert again.due(WALL_NS) == list(CATALOG.exchanges)
    assert again.age_seconds("kraken", WALL_NS + 7 * NS_PER_SECOND) == 7


def test_a_list_is_asked_for_once_a_day_and_soon_again_where_that_failed(tmp_path: Path) -> None:
    listings = lists_of(tmp_path, "ABC")
    assert listings.due(WALL_NS + (LISTING_SECONDS - 1) * NS_PER_SECOND) == []
    assert listings.due(WALL_NS + LISTING_SECONDS * NS_PER_SECOND) == list(CATALOG.exchanges)
    listings.put_off("okx", WALL_NS)
    assert listings.due(WALL_NS + LISTING_AGAIN_SECONDS * NS_PER_SECOND) == ["okx"]
    assert listings.where("DEF").currencies == {}, "what was known stays"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"kraken":{"heard_wall_ns":1}}', b"\xff" * 100])
def test_a_damaged_file_is_no_list(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert not Listings(CATALOG, tmp_path).where("ABC").is_sure


def test_a_list_in_another_currency_than_the_catalog_s_is_none(tmp_path: Path) -> None:
    content = b'{"kraken":{"heard_wall_ns":1,"currency":"EUR","assets":["ABC"]}}'
    (tmp_path / FILE_NAME).write_bytes(content)
    assert CATALOG.exchange_index("kraken") in Listings(CATALOG, tmp_path).where("DEF").currencies
