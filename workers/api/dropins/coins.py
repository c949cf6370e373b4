"""What other price services call our assets and exchanges: CoinGecko's ids and names, Pyth's feed ids.

Rules: the lists are those that CoinGecko and Pyth publish. An asset that is not in them (an operator's own) has its
lower-case ticker as CoinGecko id. Every asset also has a feed id of our own, SHA-256 of "Crypto.<asset>/USD", so that
a feed can be named without any list; where Pyth's is known, both are understood and Pyth's is answered. How many
decimals a feed or a chart has is fixed for an asset, because clients read it once: it never follows a price.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple


class Coin(NamedTuple):
    """One asset's names elsewhere, and its fixed decimals; `pyth_id` is empty where Pyth's is not known."""

    name: str
    coingecko_id: str
    pyth_id: str = ""
    # Of an operator's own asset, which may cost a millionth of a cent; up to 9 million USD fit into 64 bits.
    feed_decimals: int = 12
    chart_decimals: int = 8


# As in Pyth's own feeds, so that an exponent that a client has written down stays right.
_FEED_DECIMALS = {"PEPE": 10, "SHIB": 10}
_FEED_DECIMALS_USUAL = 8
# As fine as the exchanges' ticks, for people's eyes.
_CHART_DECIMALS = dict.fromkeys(("AAVE", "BCH", "BNB", "BTC", "ETH", "LTC", "SOL"), 2) | {"PEPE": 10, "SHIB": 10}
_CHART_DECIMALS_USUAL = 5

_KNOWN: Mapping[str, Coin] = {
    asset: Coin(
        name,
        coingecko_id,
        pyth_id,
        _FEED_DECIMALS.get(asset, _FEED_DECIMALS_USUAL),
        _CHART_DECIMALS.get(asset, _CHART_DECIMALS_USUAL),
    )
    for asset, name, coingecko_id, pyth_id in (
        ("AAVE", "Aave", "aave", "2b9ab1e972a281585084148ba1389800799bd4be63b957507db1349314e47445"),
        ("ADA", "Cardano", "cardano", "2a01deaec9e51a579277b34b122399984d0bbf57e2458a7e42fecd2829867a0d"),
        ("ARB", "Arbitrum", "arbitrum", "3fa4252848f9f0a1480be62745a4629d9eb1322aebab8a791e344b3b9c1adcf5"),
        ("ATOM", "Cosmos Hub", "cosmos", "b00b60f88b03a6a625a8d1c048c3f66653edf217439983d037e7222c4e612819"),
        ("AVAX", "Avalanche", "avalanche-2", "93da3352f9f1d105fdfe4971cfa80e9dd777bfc5d0f683ebb6e1294b92137bb7"),
        ("BCH", "Bitcoin Cash", "bitcoin-cash", "3dd2b63686a450ec7290df3a1e0b583c0481f651351edfa7636f39aed55cf8a3"),
        ("BNB", "BNB", "binancecoin", "2f95862b045670cd22bee3114c39763a4a08beeb663b145d283c31d7d1101c4f"),
        ("BTC", "Bitcoin", "bitcoin", "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"),
        ("CRV", "Curve DAO", "curve-dao-token", "a19d04ac696c7a6616d291c7e5d1377cc8be437c327b75adb5dc1bad745fcae8"),
        ("DOGE", "Dogecoin", "dogecoin", "dcef50dd0a4cd2dcc17e45df1676dcb336a11a61c69df7a0299b0150c672d25c"),
        ("DOT", "Polkadot", "polkadot", "ca3eed9b267293f6595901c734c7525ce8ef49adafe8284606ceb307afa2ca5b"),
        ("ETH", "Ethereum", "ethereum", "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace"),
        ("FET", "Artificial Superintelligence Alliance", "fetch-ai",
         "7da003ada32eabbac855af3d22fcf0fe692cc589f0cfd5ced63cf0bdcc742efe"),
        ("FIL", "Filecoin", "filecoin", "150ac9b959aee0051e4091f0ef5216d941f590e1c5e7f91cf7635b5c11628c0e"),
        ("GRAM", "Gram", "the-open-network", ""),
        ("HBAR", "Hedera", "hedera-hashgraph", "3728e591097635310e6341af53db8b7ee42da9b3a8d918f9463ce9cca886dfbd"),
        ("HYPE", "Hyperliquid", "hyperliquid", "4279e31cc369bbcc2faf022b382b080e32a8e689ff20fbc530d2a603eb6cd98b"),
        ("INJ", "Injective", "injective-protocol", "7a5bc1d2b56ad029048cd63964b3ad2776eadf812edc1a43a31406cb54bff592"),
        ("LINK", "Chainlink", "chainlink", "8ac0c70fff57e9aefdf5edf44b51d62c2d433653cbb2cf5cc06bb115af04d221"),
        ("LTC", "Litecoin", "litecoin", "6e3f3fa8253588df9326580180233eb791e03b443a3ba7a1d892e73874e19a54"),
        ("NEAR", "NEAR Protocol", "near", "c415de8d2eba7db216527dff4b60e8f3a5311c740dadb233e13e12547e226750"),
        ("PEPE", "Pepe", "pepe", "d69731a2e74ac1ce884fc3890f7ee324b6deb66147055249568869ed700882e4"),
        ("POL", "POL (ex-MATIC)", "polygon-ecosystem-token",
         "ffd11c5a1cfd42f80afb2df4d9f264c15f956d68153335374ec10722edd70472"),
        ("SHIB", "Shiba Inu", "shiba-inu", "f0d57deca57b3da2fe63a493f4c25925fdfd8edf834b20f93e1f84dbd1504d4a"),
        ("SOL", "Solana", "solana", "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d"),
        ("SUI", "Sui", "sui", "23d7315113f5b1d3ba7a83604c44b94d79f4fd69af77f804fc7f920a6dc65744"),
        ("TRX", "TRON", "tron", "67aed5a24fdad045475e7195c98a98aea119c763f272d4523f5bac93a4f33c2b"),
        ("UNI", "Uniswap", "uniswap", "78d185a741d07edb3412b09008b7c5cfb9bbbd7d568bf00ba737b456ba171501"),
        ("USDC", "USDC", "usd-coin", "eaa020c61cc479712813461ce153894a96a6c00b21ed0cfc2798d1f9a9e9c94a"),
        ("USDT", "Tether", "tether", "2b89b9dc8fdf9f34709a5b106b472f0f39bb6ca9ce04b0fd7f2e971688e2e53b"),
        ("XRP", "XRP", "ripple", "ec5d399846a9209f3fe5881d70aae9268c94339ff9817e8d18ff19fa05eea1c8"),
    )
}  # fmt: skip


class ExchangeNames(NamedTuple):
    """An exchange's name, and its id at CoinGecko."""

    name: str
    coingecko_id: str


EXCHANGES: Mapping[str, ExchangeNames] = {
    "coinbase": ExchangeNames("Coinbase Exchange", "gdax"),
    "gemini": ExchangeNames("Gemini", "gemini"),
    "kraken": ExchangeNames("Kraken", "kraken"),
    "gateio": ExchangeNames("Gate", "gate"),
    "cryptocom": ExchangeNames("Crypto.com Exchange", "crypto_com"),
    "okx": ExchangeNames("OKX", "okex"),
}


def coin_of(asset: str) -> Coin:
    """The asset's names elsewhere."""
    return _KNOWN.get(asset) or Coin(asset, asset.lower())


def pyth_symbol_of(asset: str) -> str:
    """What Pyth calls the pair."""
    return f"Crypto.{asset}/USD"


def own_feed_id_of(asset: str) -> str:
    """The feed id that needs no list."""
    return hashlib.sha256(pyth_symbol_of(asset).encode()).hexdigest()


def feed_id_of(asset: str) -> str:
    """The feed id that is answered: Pyth's where it is known."""
    return coin_of(asset).pyth_id or own_feed_id_of(asset)
