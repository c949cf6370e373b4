"""Which coins and currencies of this node a caller means, by CoinGecko's ids, names and symbols.

Rules: ids and symbols in any case, and names too. Currencies are `usd` and the assets by their symbols. In a list an
unknown one spoils nothing; a list of currencies without any known one is refused with those that are allowed.
"""

import functools
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from workers.api.base.prices import Price, Prices
from workers.api.base.problems import ProblemError
from workers.api.dropins.coingecko.numbers import ONE, quotient
from workers.api.dropins.coingecko.parameters import read_words
from workers.api.dropins.coins import coin_of
from workers.api.history.past import Past

USD = "usd"


class Currency(NamedTuple):
    """What a price is given in; `asset` is None for USD."""

    name: str
    asset: int | None = None

    def usd(self, prices: Prices, now_ns: int) -> Decimal | None:
        """What one unit costs in USD; None while that is not known."""
        if self.asset is None:
            return ONE
        return usd_of(prices.read(self.asset, now_ns))

    def past(self, prices: Prices, pasts: Mapping[str, Past], asset: int) -> Mapping[str, Decimal]:
        """The asset's past prices in this currency, by window; those that are known."""
        theirs = pasts[prices.assets[asset]].prices
        if self.asset is None:
            return theirs
        units = pasts[prices.assets[self.asset]].prices
        return {window: quotient(usd, units[window]) for window, usd in theirs.items() if units.get(window)}


def usd_of(price: Price) -> Decimal | None:
    """The price in USD; None for one that is not fresh."""
    return price.usd if price.is_fresh and price.mantissa else None


def select_coins(prices: Prices, ids: str | None, names: str | None, symbols: str | None) -> dict[str, int] | None:
    """The known ones among all three lists, by what the answer calls them; None when nothing was asked for."""
    if not (ids or names or symbols):
        return None
    by_id, by_name = coin_ids(prices.assets), _coin_names(prices.assets)
    found = {word.lower(): by_id.get(word.lower()) for word in read_words(ids, "ids")}
    found |= {word: by_name.get(word.lower()) for word in read_words(names, "names")}
    found |= {word.lower(): prices.find(word) for word in read_words(symbols, "symbols")}
    return {word: asset for word, asset in found.items() if asset is not None}


def coin_by_id(prices: Prices, coin_id: str) -> int:
    """The asset of this id; ProblemError for an unknown one."""
    asset = coin_ids(prices.assets).get(coin_id.lower())
    if asset is None:
        raise ProblemError(404, "unknown_coin", "coin not found", "id")
    return asset


def currency_names(prices: Prices) -> list[str]:
    """All that prices are given in."""
    return [USD, *(asset.lower() for asset in prices.assets)]


def all_currencies(prices: Prices) -> list[Currency]:
    """The same as currencies."""
    return [Currency(USD), *(Currency(asset.lower(), index) for index, asset in enumerate(prices.assets))]


def read_currency(prices: Prices, name: str) -> Currency:
    """The one currency of a call; ProblemError for an unknown one."""
    (found,) = _known(prices, (name.strip().lower(),), "vs_currency")
    return found


def read_currencies(prices: Prices, text: str) -> list[Currency]:
    """The known ones of a list; ProblemError when there is none."""
    return _known(prices, dict.fromkeys(word.lower() for word in read_words(text, "vs_currencies")), "vs_currencies")


def _known(prices: Prices, names: Iterable[str], field: str) -> list[Currency]:
    assets = {name: None if name == USD else prices.find(name) for name in names}
    found = [Currency(name, asset) for name, asset in assets.items() if name == USD or asset is not None]
    if not found:
        allowed = ", ".join(currency_names(prices))
        raise ProblemError(422, "unknown_currency", f"invalid {field}: there are {allowed}", field)
    return found


@functools.cache
def coin_ids(assets: tuple[str, ...]) -> Mapping[str, int]:
    """Assets by CoinGecko id."""
    return {coin_of(asset).coingecko_id: index for index, asset in enumerate(assets)}


@functools.cache
def _coin_names(assets: tuple[str, ...]) -> Mapping[str, int]:
    return {coin_of(asset).name.lower(): index for index, asset in enumerate(assets)}
