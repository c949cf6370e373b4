"""Which asset is traded on which exchange: the catalog, decoded from `markets.toml` or the user's own file.

Rules: the order of exchanges and assets in the catalog is their index in every shared table, fixed for the life of
the node. Names are upper case. A coin that was renamed keeps its old name as an alias: understood wherever a caller
names an asset, and answered, stored and counted under the new one. A wrong file is a ConfigError that names the key.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from trinity.errors import ConfigError
from trinity.limits import ALIASES_MAX, ASSET_NAME_BYTES_MAX, ASSETS_MAX, BPS_MAX
from trinity.vocabulary import EXCHANGES

DEFAULT_PATH = Path(__file__).with_name("markets.toml")
_ASSET_NAME = re.compile(rf"[A-Z0-9]{{1,{ASSET_NAME_BYTES_MAX}}}")
_ALIASES = "aliases"
QUOTES = ("USD", "USDT", "USDC")


class AssetRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How strict the consensus is with one asset. Basis points are 1/10,000 of the price."""

    max_age_ms: int  # a quote older than this is stale
    min_sources: int  # fewer good sources: unavailable
    majority_window_bps: int  # a majority of the sources must lie within this window
    outlier_floor_bps: int  # a source this near to the median is never left out
    max_spread_bps: int  # a book wider than this gives no mid price


# The rules of an asset without any of its own, where a catalog was not read from a file.
DEFAULT_RULES = AssetRules(
    max_age_ms=30_000, min_sources=3, majority_window_bps=200, outlier_floor_bps=10, max_spread_bps=200
)


class Asset(msgspec.Struct, frozen=True):
    """One asset of the catalog."""

    name: str
    rules: AssetRules
    aliases: tuple[str, ...] = ()


class Market(msgspec.Struct, frozen=True):
    """One row: an asset on an exchange, in the currency that it is quoted in there.

    `symbol` is None where the exchange's own naming rule gives it.
    """

    exchange: str
    asset: str
    quote: str
    symbol: str | None = None


class Catalog(msgspec.Struct, frozen=True):
    """All exchanges, assets and markets; positions are the indexes of the shared tables. `defaults` are the rules of
    every asset that has none of its own, and of those beyond the catalog."""

    exchanges: tuple[str, ...]
    assets: tuple[Asset, ...]
    markets: tuple[Market, ...]
    defaults: AssetRules = DEFAULT_RULES

    def exchange_index(self, exchange: str) -> int:
        return self.exchanges.index(exchange)

    def asset_index(self, asset: str) -> int:
        """Position of an asset by its upper-case name; ValueError for an unknown one."""
        return [known.name for known in self.assets].index(asset)

    def find_asset(self, name: str) -> int | None:
        """Position of the asset that a caller calls so, by its name or an alias in any case."""
        return self.names().get(name.upper()) if name.isascii() else None

    def names(self) -> dict[str, int]:
        """Every name of every asset, aliases behind all names, with its position."""
        names = {asset.name: index for index, asset in enumerate(self.assets)}
        return names | {alias: index for index, asset in enumerate(self.assets) for alias in asset.aliases}

    def markets_of(self, exchange: str) -> tuple[Market, ...]:
        return tuple(market for market in self.markets if market.exchange == exchange)


class _ExchangeTable(msgspec.Struct, forbid_unknown_fields=True):
    quote: str
    assets: list[str]
    legs: list[str] = []
    symbols: dict[str, str] = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    defaults: AssetRules
    exchanges: dict[str, _ExchangeTable]
    assets: dict[str, dict[str, Any]] = {}


def load_catalog(path: Path = DEFAULT_PATH) -> Catalog:
    """Read and check a markets file; ConfigError names the file and the key that is wrong."""
    try:
        raw: Mapping[str, Any] = tomllib.loads(path.read_text())
        file = msgspec.convert(raw, _File)
    except FileNotFoundError:
        raise ConfigError("MARKETS_FILE", f"{path} does not exist") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(path.name, str(error)) from None
    markets = [market for name, table in file.exchanges.items() for market in _markets(name, table)]
    rows = {(market.exchange, market.asset) for market in markets}
    if len(rows) < len(markets):
        raise ConfigError(path.name, "an exchange lists the same asset twice")
    names = tuple(dict.fromkeys(market.asset for market in markets))
    if not 1 <= len(names) <= ASSETS_MAX:
        raise ConfigError(path.name, f"{len(names)} assets; between 1 and {ASSETS_MAX} are possible")
    for name in file.assets:
        if name not in names:
            raise ConfigError(f"assets.{name}", "no exchange lists this asset")
    aliases = {name: _aliases(name, file.assets.get(name, {})) for name in names}
    _check_aliases(path, names, [alias for given in aliases.values() for alias in given])
    assets = tuple(Asset(name, _rules(name, file), aliases[name]) for name in names)
    _check_rules("defaults", file.defaults)
    return Catalog(tuple(file.exchanges), assets, tuple(markets), file.defaults)


def _markets(exchange: str, table: _ExchangeTable) -> list[Market]:
    key = f"exchanges.{exchange}"
    if exchange not in EXCHANGES:
        raise ConfigError(key, f"unknown exchange; known are {', '.join(EXCHANGES)}")
    pairs = [(asset, table.quote) for asset in table.assets]
    for leg in table.legs:
        base, slash, quote = leg.partition("/")
        if not slash:
            raise ConfigError(f"{key}.legs", f"{leg!r} is not BASE/QUOTE")
        pairs.append((base, quote))
    for asset, quote in pairs:
        if not _ASSET_NAME.fullmatch(asset):
            raise ConfigError(f"{key}.assets", f"{asset!r} is not 1 to {ASSET_NAME_BYTES_MAX} of A-Z, 0-9")
        if quote not in QUOTES:
            raise ConfigError(f"{key}.quote", f"{quote!r} is not one of {', '.join(QUOTES)}")
    unused = set(table.symbols) - {asset for asset, _ in pairs}
    if unused:
        raise ConfigError(f"{key}.symbols", f"{', '.join(sorted(unused))} not among the assets")
    return [Market(exchange, asset, quote, table.symbols.get(asset)) for asset, quote in pairs]


def _aliases(asset: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return msgspec.convert(fields.get(_ALIASES, ()), tuple[str, ...])
    except msgspec.ValidationError as error:
        raise ConfigError(f"assets.{asset}.{_ALIASES}", str(error)) from None


def _check_aliases(path: Path, names: tuple[str, ...], aliases: list[str]) -> None:
    """Each means one asset and looks like a name; a name that two could mean would give the wrong price."""
    for alias in aliases:
        if not _ASSET_NAME.fullmatch(alias):
            raise ConfigError(f"assets.{_ALIASES}", f"{alias!r} is not 1 to {ASSET_NAME_BYTES_MAX} of A-Z, 0-9")
        if alias in names or aliases.count(alias) > 1:
            raise ConfigError(f"assets.{_ALIASES}", f"{alias!r} is also the name or an alias of another asset")
    if len(aliases) > ALIASES_MAX:
        raise ConfigError(path.name, f"{len(aliases)} aliases; {ALIASES_MAX} are possible")


def _rules(asset: str, file: _File) -> AssetRules:
    own = {field: value for field, value in file.assets.get(asset, {}).items() if field != _ALIASES}
    fields = msgspec.to_builtins(file.defaults) | own
    try:
        rules = msgspec.convert(fields, AssetRules)
    except msgspec.ValidationError as error:
        raise ConfigError(f"assets.{asset}", str(error)) from None
    _check_rules(f"assets.{asset}", rules)
    return rules


def _check_rules(key: str, rules: AssetRules) -> None:
    for field in AssetRules.__struct_fields__:
        if getattr(rules, field) < 1:
            raise ConfigError(f"{key}.{field}", "must be at least 1")
        if field.endswith("_bps") and getattr(rules, field) > BPS_MAX:
            raise ConfigError(f"{key}.{field}", f"must be at most {BPS_MAX:,} basis points, the whole price")
