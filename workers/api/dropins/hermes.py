"""The parsed half of Pyth's Hermes, for its clients: change the base URL and go on.

    GET /v2/price_feeds                 the feeds of this node
    GET /v2/updates/price/latest        ids[]=..., the newest prices
    GET /v2/updates/price/stream        the same as server-sent events, as they change

Rules: a price is an integer, an exponent and a confidence. The exponent is fixed for a feed (coins.py): a price with
more digits is rounded half to even, and a confidence up, so that it never claims too much. `binary` is empty, because
nothing here is signed: what needs a signature for a blockchain cannot come from this node, and `parsed=false` is
refused. A price that is not fresh is left out, never sent with an old publish time; when none of those asked for is
fresh, the answer is a 503.
"""

import functools
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from trinity.limits import ASSETS_MAX
from workers.api.base.auth import ApiCaller, charge
from workers.api.base.context import Parts
from workers.api.base.prices import Price, Prices
from workers.api.base.problems import ProblemError, bad_parameter
from workers.api.dropins.coins import coin_of, feed_id_of, own_feed_id_of, pyth_symbol_of
from workers.api.history.averages import Averages
from workers.api.history.history import History
from workers.api.streams.board import StreamEncoder
from workers.api.streams.events import EVENT_STREAM, Streams, open_stream
from workers.api.streams.fanout import StreamOrder

# Both ids of every asset.
IDS_MAX = 2 * ASSETS_MAX
_NOTE = "unsigned: prices of this node, for reading; there is no payload for a blockchain"
# Pyth's words for a market without closing hours.
_ALWAYS_OPEN = "America/New_York;O,O,O,O,O,O,O;"
_FOREIGN = {"any_parameters": True}

Ids = Annotated[list[str], QueryParameter(name="ids[]", description="feed ids, 64 hexadecimal digits each")]
Flag = bool | None


def parsed_of(price: Price, ema: tuple[Decimal, Decimal]) -> dict[str, Any]:
    """One feed as Hermes writes it."""
    decimals = coin_of(price.asset).feed_decimals
    publish_time = price.timestamp_ms // 1000

    def rpc_price(value: Decimal, confidence: Decimal) -> dict[str, Any]:
        return {
            "price": str(round(value.scaleb(decimals))),
            "conf": str(math.ceil(confidence.scaleb(decimals))),
            "expo": -decimals,
            "publish_time": publish_time,
        }

    return {
        "id": feed_id_of(price.asset),
        "price": rpc_price(price.usd, Decimal(price.confidence).scaleb(-price.scale)),
        "ema_price": rpc_price(*ema),
        "metadata": {"slot": None, "proof_available_time": publish_time, "prev_publish_time": None},
    }


def _update(parsed: bytes) -> bytes:
    return b'{"binary":{"encoding":"hex","data":[]},"parsed":[%s],"note":"%s"}' % (parsed, _NOTE.encode())


def stream_encoder(averages: Averages) -> StreamEncoder:
    """Hermes' words for streams; what is not fresh is not said."""

    def encode_item(price: Price) -> bytes:
        return msgspec.json.encode(parsed_of(price, averages.known(price))) if price.is_fresh else b""

    def frame(cursor: str, items: Sequence[bytes]) -> bytes:
        return b"id: %s\ndata: %s\n\n" % (cursor.encode(), _update(b",".join(items)))

    return StreamEncoder("hermes", frame, encode_item)


@functools.cache
def _feeds(assets: tuple[str, ...], aliases: tuple[tuple[str, int], ...]) -> dict[str, int]:
    """Both ids of every asset, and our own ones of its aliases."""
    own = {own_feed_id_of(alias): index for alias, index in aliases}
    own |= {own_feed_id_of(asset): index for index, asset in enumerate(assets)}
    return own | {feed_id_of(asset): index for index, asset in enumerate(assets)}


def find_feeds(prices: Prices, ids: Sequence[str], ignore_unknown: bool) -> tuple[int, ...]:
    """Indexes of the assets in the order asked for, without repetitions."""
    if not 0 < len(ids) <= IDS_MAX:
        raise bad_parameter("ids[]", f"between 1 and {IDS_MAX} feed ids, not {len(ids)}")
    feeds = _feeds(prices.assets, prices.aliases)
    wanted = {id_: feeds.get(id_.lower().removeprefix("0x")) for id_ in ids}
    unknown = [id_[:66] for id_, asset in wanted.items() if asset is None]
    if unknown and not ignore_unknown:
        raise ProblemError(404, "unknown_price_id", f"Price ids not found: {', '.join(unknown[:10])}", "ids[]")
    return tuple(dict.fromkeys(asset for asset in wanted.values() if asset is not None))


def _check(parsed: Flag, encoding: str) -> None:
    if parsed is False:
        raise bad_parameter("parsed", "false leaves nothing: this node signs no payload")
    if encoding not in ("hex", "base64"):
        raise bad_parameter("encoding", f"{encoding[:16]!r} is neither hex nor base64")


@get("/v2/price_feeds", opt=_FOREIGN, tags=["hermes"], sync_to_thread=False)
def price_feeds(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    text: Annotated[str, QueryParameter(name="query", description="part of a symbol or a name")] = "",
    asset_type: Annotated[str, QueryParameter(description="crypto; this node has no others")] = "crypto",
) -> list[dict[str, Any]]:
    """The feeds of this node, as Hermes lists them."""
    if asset_type.lower() != "crypto":
        return []
    feeds = []
    for asset in parts.prices.assets:
        attributes = {
            "asset_type": "Crypto",
            "base": asset,
            "description": f"{coin_of(asset).name.upper()} / US DOLLAR",
            "display_symbol": f"{asset}/USD",
            "generic_symbol": f"{asset}USD",
            "quote_currency": "USD",
            "schedule": _ALWAYS_OPEN,
            "symbol": pyth_symbol_of(asset),
        }
        if text.lower() in f"{attributes['symbol']} {coin_of(asset).name} {parts.prices.called(asset)}".lower():
            feeds.append({"id": feed_id_of(asset), "attributes": attributes})
    return feeds


@get("/v2/updates/price/latest", opt=_FOREIGN, tags=["hermes"])
async def latest_prices(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    history: NamedDependency[History],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    ids: Ids,
    parsed: FromQuery[Flag] = None,
    encoding: FromQuery[str] = "hex",
    ignore_invalid_price_ids: FromQuery[bool] = False,
) -> Response[bytes]:
    """The newest prices, as Hermes answers them; `binary` is empty, because nothing is signed."""
    _check(parsed, encoding)
    prices, clock = parts.prices, parts.context.clock
    now_ns = clock.monotonic_ns()
    wanted = find_feeds(prices, ids, ignore_invalid_price_ids)
    read = [prices.read(asset, now_ns) for asset in wanted]
    fresh = [price for price in read if price.is_fresh]
    if read and not fresh:
        names = ", ".join(f"{price.asset} ({price.code})" for price in read[:10])
        raise ProblemError(503, read[0].code, f"no fresh price of {names}", "ids[]", {"Retry-After": "1"})
    charge(parts, request.scope, len(fresh))
    averages = await history.averages.of(fresh, clock.wall_ns())
    body = b",".join(msgspec.json.encode(parsed_of(price, averages[price.asset])) for price in fresh)
    return Response(_update(body), media_type="application/json", headers={"Cache-Control": "no-store"})


@get("/v2/updates/price/stream", opt=_FOREIGN, media_type=EVENT_STREAM, tags=["hermes"])
async def stream_updates(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    streams: NamedDependency[Streams],
    history: NamedDependency[History],
    caller: NamedDependency[ApiCaller],
    ids: Ids,
    parsed: FromQuery[Flag] = None,
    encoding: FromQuery[str] = "hex",
    ignore_invalid_price_ids: FromQuery[bool] = False,
) -> Stream:
    """The same as server-sent events, as prices change."""
    _check(parsed, encoding)
    prices, clock = parts.prices, parts.context.clock
    wanted = tuple(sorted(find_feeds(prices, ids, ignore_invalid_price_ids)))
    now_ns = clock.monotonic_ns()
    await history.averages.of([prices.read(asset, now_ns) for asset in wanted], clock.wall_ns())
    seen = streams.board.seen_by(request.headers.get("last-event-id"), wanted)
    order = StreamOrder(stream_encoder(history.averages), wanted)
    return await open_stream(request, parts, streams, caller, streams.fanout, order, seen)
