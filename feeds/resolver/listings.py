"""Which exchange lists which asset, in the currency that the catalog has for the exchange; kept on disk.

Rules: a list is asked for once a day and at the start, and asked first: an exchange whose list lacks an asset is not
asked for it. It fails open: an exchange without a list, or whose list cannot be had, may have anything. A file that is
damaged, or of other exchanges, is no list.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from feeds.exchanges.contract import Listed
from trinity.clock import NS_PER_SECOND
from trinity.files import Durability, write_whole
from trinity.limits import LISTING_AGAIN_SECONDS, LISTING_SECONDS
from trinity.markets import Catalog

FILE_NAME = "listings.json"
_BYTES_MAX = 4 * 1024 * 1024


class _List(msgspec.Struct):
    """One exchange's: when it was heard (wall clock), in which currency, and the assets in it."""

    heard_wall_ns: int
    currency: str
    assets: list[str]


class Where(NamedTuple):
    """The exchanges (by index, with their currency) that may have an asset; `is_sure` when all of them have a list."""

    currencies: Mapping[int, str]
    is_sure: bool


_FILE = msgspec.json.Decoder(dict[str, _List])


class Listings:
    """The newest list of each exchange of the catalog."""

    def __init__(self, catalog: Catalog, data_dir: Path) -> None:
        self._exchanges = catalog.exchanges
        self._currencies = {market.exchange: market.quote for market in catalog.markets}
        self._path = data_dir / FILE_NAME
        self._lists: dict[str, frozenset[str]] = {}
        self._heard_wall_ns: dict[str, int] = {}
        self._again_wall_ns: dict[str, int] = {}
        self._read()

    def where(self, asset: str) -> Where:
        """Who is to be asked for an asset."""
        found = {
            index: self._currencies[name]
            for index, name in enumerate(self._exchanges)
            if name in self._currencies and (name not in self._lists or asset in self._lists[name])
        }
        return Where(found, all(name in self._lists for name in self._currencies))

    def has(self, exchange: str) -> bool:
        """Whether this process has heard an exchange's list."""
        return self._heard_wall_ns.get(exchange, 0) > 0 and exchange in self._again_wall_ns

    def due(self, wall_ns: int) -> list[str]:
        """Exchanges whose list is to be asked for now."""
        return [name for name in self._currencies if wall_ns >= self._again_wall_ns.get(name, 0)]

    def put(self, exchange: str, listed: Listed, wall_ns: int) -> None:
        """A new list; OSError when the disk does not take it, and it counts all the same."""
        currency = self._currencies[exchange]
        self._lists[exchange] = frozenset(asset for asset, quote in listed.markets if quote == currency)
        self._heard_wall_ns[exchange] = wall_ns
        self._again_wall_ns[exchange] = wall_ns + LISTING_SECONDS * NS_PER_SECOND
        self._write()

    def put_off(self, exchange: str, wall_ns: int) -> None:
        """It could not be had: what is known stays, and it is asked for again before long."""
        self._again_wall_ns[exchange] = wall_ns + LISTING_AGAIN_SECONDS * NS_PER_SECOND

    def age_seconds(self, exchange: str, wall_ns: int) -> float:
        """How old an exchange's list is, -1 without one."""
        heard_wall_ns = self._heard_wall_ns.get(exchange)
        return -1.0 if heard_wall_ns is None else max(0.0, (wall_ns - heard_wall_ns) / NS_PER_SECOND)

    def _read(self) -> None:
        """What the last process kept; every list is asked for anew at the start, whatever its age."""
        try:
            if self._path.stat().st_size > _BYTES_MAX:
                return
            lists = _FILE.decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        for name, found in lists.items():
            if self._currencies.get(name) == found.currency and found.assets:
                self._lists[name] = frozenset(found.assets)
                self._heard_wall_ns[name] = found.heard_wall_ns

    def _write(self) -> None:
        lists = {
            name: _List(self._heard_wall_ns[name], self._currencies[name], sorted(assets))
            for name, assets in self._lists.items()
        }
        write_whole(self._path, [msgspec.json.encode(lists)], Durability.RENAMED)
