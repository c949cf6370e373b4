"""The body of a message: joined from the prices' pieces, which all messages share.

    {"type":"price.update","timestamp":"...Z","data":{"subscription":12,"sequence":4294967297,"reason":"interval",
     "expires_at":"...Z","prices":[{"asset":"BTC","price":"71000.5",...},{"asset":"ETH","error":"stale_price"}]}}

Rules: pure. Nothing is encoded as JSON here: names are letters and digits, numbers are numbers. A price that is older
or stands on fewer exchanges than the subscription asks for is refused with the code that a lookup gets. The id is the
same on every try of a message, and has no dot (Standard Webhooks 1.0).
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from trinity.clock import NS_PER_MS
from workers.push.moves import Assets
from workers.push.prices import CurrentPrices, refusal

_TOO_OLD, _TOO_FEW_SOURCES, _UNKNOWN = "price_too_old", "too_few_sources", "unknown_asset"
_SIMULATED = {True: b',"simulated":true', False: b""}


class Recipe(NamedTuple):
    """What is always the same in a subscription's messages; `assets` are those of its that the node has."""

    subscription: int
    names: tuple[str, ...]
    places: tuple[int | None, ...]  # of each name in the prices; None: this node has no such asset
    assets: Assets
    pick: Callable[[Sequence[bytes]], tuple[bytes, ...]] | None  # of the pieces, where nothing is to be looked at
    max_age_ns: int
    min_sources: int
    middle: bytes  # between the two times


def make_recipe(
    subscription: int,
    names: Sequence[str],
    index_of: Callable[[str], int | None],
    max_age_ms: int,
    min_sources: int,
    *,
    is_simulated: bool,
) -> Recipe:
    """Look its assets up once."""
    places = tuple(index_of(name) for name in names)
    known = [place for place in places if place is not None]
    is_plain = len(known) == len(places) > 1 and not max_age_ms and not min_sources
    return Recipe(
        subscription,
        tuple(names),
        places,
        np.array(known, dtype=np.int64),
        itemgetter(*known) if is_plain else None,
        max_age_ms * NS_PER_MS,
        min_sources,
        _SIMULATED[is_simulated] + b',"prices":[',
    )


def message_id(subscription: int, sequence: int) -> str:
    """What a receiver knows a message by."""
    return f"msg_{subscription}_{sequence}"


def render(
    recipe: Recipe,
    prices: CurrentPrices,
    now_ns: int,
    sequence: int,
    reason: str,
    made_at: bytes,
    expires_at: bytes,
    *,
    extra: bytes = b"",
) -> bytes:
    """The body with the newest prices; the times are texts (prices.time_text). `extra` are more fields of it."""
    pieces = recipe.pick(prices.pieces) if recipe.pick is not None else _chosen(recipe, prices, now_ns)
    return (
        b'{"type":"price.update","timestamp":"%b","data":{"subscription":%d,"sequence":%d,"reason":"%b"%b,"expires_at":"%b"%b'
        % (made_at, recipe.subscription, sequence, reason.encode(), extra, expires_at, recipe.middle)
        + b",".join(pieces)
        + b"]}}"
    )


def _chosen(recipe: Recipe, prices: CurrentPrices, now_ns: int) -> list[bytes]:
    """Each price, or why it is not given to this subscription."""
    chosen = []
    for name, place in zip(recipe.names, recipe.places, strict=True):
        if place is None:
            chosen.append(refusal(name, _UNKNOWN))
        elif np.isnan(prices.values[place]):
            chosen.append(prices.pieces[place])
        elif recipe.max_age_ns and now_ns - prices.received_ns[place] > recipe.max_age_ns:
            chosen.append(refusal(name, _TOO_OLD))
        elif prices.sources[place] < recipe.min_sources:
            chosen.append(refusal(name, _TOO_FEW_SOURCES))
        else:
            chosen.append(prices.pieces[place])
    return chosen
