"""Names of our assets elsewhere."""

import hashlib

from trinity.markets import load_catalog
from workers.api.dropins.coins import coin_of, feed_id_of, own_feed_id_of


def test_every_asset_of_the_catalog_has_names_and_no_two_have_the_same() -> None:
    """CoinGecko ids and feed ids tell assets apart; feed ids are 32 bytes, Pyth's own or, where Pyth has none, ours."""
    assets = [asset.name for asset in load_catalog().assets]
    feeds = {feed_id_of(asset) for asset in assets}
    assert len({coin_of(asset).coingecko_id for asset in assets}) == len(feeds) == len(assets)
    assert {len(bytes.fromhex(feed)) for feed in feeds} == {32}
    assert [asset for asset in assets if not coin_of(asset).pyth_id] == ["GRAM"]


def test_an_operator_s_own_asset_has_names_as_well() -> None:
    """Its ticker, and the hash of Pyth's symbol."""
    assert coin_of("NEW1").coingecko_id == "new1"
    assert feed_id_of("NEW1") == own_feed_id_of("NEW1") == hashlib.sha256(b"Crypto.NEW1/USD").hexdigest()


def test_decimals_are_fixed_and_fine_enough() -> None:
    """Eight as in Pyth's feeds, ten for the cheapest coins; a bitcoin's chart has cents."""
    assert (coin_of("BTC").feed_decimals, coin_of("BTC").chart_decimals) == (8, 2)
    assert (coin_of("DOGE").feed_decimals, coin_of("DOGE").chart_decimals) == (8, 5)
    assert (coin_of("PEPE").feed_decimals, coin_of("PEPE").chart_decimals) == (10, 10)
    assert (coin_of("NEW1").feed_decimals, coin_of("NEW1").chart_decimals) == (12, 8)
