"""trinity/markets.py"""

from collections import Counter
from pathlib import Path

import pytest

from trinity.errors import ConfigError
from trinity.markets import load_catalog
from trinity.vocabulary import EXCHANGES

DEFAULTS = """
[defaults]
max_age_ms = 30000
min_sources = 3
majority_window_bps = 100
outlier_floor_bps = 10
max_spread_bps = 200
"""


def test_the_default_catalog_has_26_assets_an_exchange() -> None:
    """156 rows beside the stablecoin legs, and at least 15 assets on four exchanges or more."""
    catalog = load_catalog()
    assert catalog.exchanges == EXCHANGES
    coins = {"USDT", "USDC"}
    rows = [market for market in catalog.markets if market.asset not in coins]
    assert Counter(market.exchange for market in rows) == dict.fromkeys(EXCHANGES, 26)
    listed = Counter(market.asset for market in rows)
    assert sum(1 for count in listed.values() if count >= 4) >= 15
    for asset in catalog.assets:
        sources = sum(1 for market in catalog.markets if market.asset == asset.name)
        assert sources >= asset.rules.min_sources, f"{asset.name} could never have a price"


def test_positions_are_the_indexes_of_the_tables() -> None:
    """Names and indexes go both ways; an unknown name raises."""
    catalog = load_catalog()
    for position, asset in enumerate(catalog.assets):
        assert catalog.asset_index(asset.name) == position
    assert catalog.exchange_index("gemini") == 1
    assert {market.exchange for market in catalog.markets_of("okx")} == {"okx"}
    with pytest.raises(ValueError):
        catalog.asset_index("NOPE")


def test_a_users_file_can_name_assets_symbols_and_rules(tmp_path: Path) -> None:
    """An exchange's own symbol and an asset's own limits override the rule."""
    file = tmp_path / "markets.toml"
    file.write_text(
        DEFAULTS
        + '[exchanges.kraken]\nquote = "USD"\nassets = ["RENDER"]\nsymbols = { RENDER = "RNDR/USD" }\n'
        + '[exchanges.okx]\nquote = "USDT"\nassets = ["RENDER"]\nlegs = ["USDC/USDT"]\n'
        + "[assets]\nRENDER = { max_age_ms = 60000 }\n"
    )
    catalog = load_catalog(file)
    assert catalog.markets[0].symbol == "RNDR/USD"
    assert [(market.asset, market.quote) for market in catalog.markets_of("okx")] == [
        ("RENDER", "USDT"),
        ("USDC", "USDT"),
    ]
    assert catalog.assets[0].rules.max_age_ms == 60000
    assert catalog.assets[0].rules.min_sources == 3


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[exchanges.binance]\nquote='USD'\nassets=['BTC']\n", "exchanges.binance"),
        ("[exchanges.kraken]\nquote='EUR'\nassets=['BTC']\n", "exchanges.kraken.quote"),
        ("[exchanges.kraken]\nquote='USD'\nassets=['btc']\n", "exchanges.kraken.assets"),
        ("[exchanges.kraken]\nquote='USD'\nassets=['BTC','BTC']\n", "markets.toml"),
        ("[exchanges.kraken]\nquote='USD'\nassets=[]\n", "markets.toml"),
        ("[exchanges.kraken]\nquote='USD'\nassets=['BTC']\nlegs=['USDT']\n", "exchanges.kraken.legs"),
        ("[exchanges.kraken]\nquote='USD'\nassets=['BTC']\nsymbols={ETH='X'}\n", "exchanges.kraken.symbols"),
        ("[exchanges.kraken]\nquote='USD'\nassets=['BTC']\n[assets]\nETH={min_sources=1}\n", "assets.ETH"),
        ("[exchanges.kraken]\nquote='USD'\nassets=['BTC']\n[assets]\nBTC={min_source=1}\n", "assets.BTC"),
        ("[exchanges.kraken]\nquote='USD'\nassets=['BTC']\n[assets]\nBTC={max_age_ms=0}\n", "assets.BTC.max_age_ms"),
        ("[exchanges.kraken]\nassets=['BTC']\n", "markets.toml"),
        ("[[[", "markets.toml"),
    ],
)
def test_a_wrong_file_names_the_key(tmp_path: Path, text: str, key: str) -> None:
    """A typo never becomes a market, and the message says where it is."""
    file = tmp_path / "markets.toml"
    file.write_text(DEFAULTS + text)
    with pytest.raises(ConfigError) as caught:
        load_catalog(file)
    assert caught.value.key == key


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    """The message names the path."""
    with pytest.raises(ConfigError, match="does not exist"):
        load_catalog(tmp_path / "nowhere.toml")


def test_toncoins_old_name_means_gram() -> None:
    """In any case; no asset of its own, and what is no name means nothing."""
    catalog = load_catalog()
    gram = catalog.asset_index("GRAM")
    assert catalog.find_asset("TON") == catalog.find_asset("ton") == catalog.find_asset("Gram") == gram
    assert catalog.find_asset("NOPE") is catalog.find_asset("") is catalog.find_asset("\u212aTON") is None
    assert catalog.assets[gram].aliases == ("TON",)
    assert "TON" not in [asset.name for asset in catalog.assets]
    assert catalog.names()["TON"] == gram


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        ('["ETH"]', "'ETH' is also the name"),
        ('["XBT", "XBT"]', "'XBT' is also the name"),
        ('["xbt"]', "'xbt' is not 1 to 16"),
        ("[5]", "Expected `str`"),
        ("7", "Expected `array`"),
    ],
)
def test_an_alias_that_could_mean_two_assets_is_refused(tmp_path: Path, aliases: str, said: str) -> None:
    """So is what no request could say."""
    file = tmp_path / "markets.toml"
    exchange = '[exchanges.kraken]\nquote = "USD"\nassets = ["BTC", "ETH"]\n'
    file.write_text(DEFAULTS + exchange + f"[assets]\nBTC = {{ aliases = {aliases}, min_sources = 2 }}\n")
    with pytest.raises(ConfigError, match=said):
        load_catalog(file)
    file.write_text(DEFAULTS + exchange + '[assets]\nBTC = { aliases = ["XBT"], min_sources = 2 }\n')
    assert load_catalog(file).assets[0].rules.min_sources == 2
