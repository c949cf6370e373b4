"""Names of our assets elsewhere."""

import hashlib

from trinity.markets import load_catalog
from workers.reports.coins import coin_of, feed_id_of, own_feed_id_of


def test_every_asset_of_the_catalog_has_names_and_no_two_have_the_same() -> None:
    """CoinGecko ids and feed ids tell assets apart; all of Pyth's are 32 bytes."""
    assets = [asset.name for asset in load_catalog().assets]
    coins = [coin_of(asset) for asset in assets]
    assert all(coin.pyth_id for coin in coins)
    assert len({coin.coingecko_id for coin in coins}) == len({coin.pyth_id for coin in coins}) == len(assets)
    assert {len(bytes.fromhex(coin.pyth_id)) for coin in coins} == {32}


def test_an_operator_s_own_asset_has_names_as_well() -> None:
    """Its ticker, and the hash of Pyth's symbol."""
    assert coin_of("NEW1").coingecko_id == "new1"
    assert feed_id_of("NEW1") == own_feed_id_of("NEW1") == hashlib.sha256(b"Crypto.NEW1/USD").hexdigest()
