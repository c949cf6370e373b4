"""What an exchange lists: its list of markets, read once a day. Pure; the exchange's file says how its list looks.

Rules: of a list counts what can be traded now, is quoted in a currency that the markets file may have, and is called by
the exchange as `symbol_of` calls it: what we could not ask for by name is as good as not listed. Anything else than a
list with markets in it is a Refusal, and whoever asked goes on without a list.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import msgspec

from feeds.exchanges.contract import BadFieldError, Listed, Refusal
from feeds.exchanges.fields import HTTP_OK, decode_body, refusal
from trinity.limits import ASSET_NAME_BYTES_MAX
from trinity.markets import QUOTES, Market

T = TypeVar("T")
_ASSET_NAME = re.compile(rf"[A-Z0-9]{{1,{ASSET_NAME_BYTES_MAX}}}")


class Pair(NamedTuple):
    """One market of a list; `symbol` is the exchange's own name of it, in the words of `symbol_of`."""

    asset: str
    quote: str
    symbol: str


def read_listing(
    status: int,
    body: bytes,
    decoder: msgspec.json.Decoder[T],
    pairs_of: Callable[[T], Iterable[Pair]],
    symbol_of: Callable[[Market], str],
) -> Listed | Refusal:
    """The markets of an answer; `pairs_of` gives those that can be traded."""
    if status != HTTP_OK:
        return Refusal("exchange_error", f"HTTP {status}: {str(body[:200], 'utf-8', 'replace')}")
    try:
        pairs = pairs_of(decode_body(decoder, body))
    except BadFieldError as error:
        return refusal(error)
    markets = frozenset(
        (asset, quote)
        for asset, quote, symbol in pairs
        if quote in QUOTES and _ASSET_NAME.fullmatch(asset) and symbol_of(Market("", asset, quote)) == symbol
    )
    return Listed(markets) if markets else Refusal("missing_field", "no market in a list of markets")
