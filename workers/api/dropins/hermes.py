"""The parsed half of Pyth's Hermes, for its clients: change the base URL and go on.

    GET /v2/price_feeds                 the feeds of this node
    GET /v2/updates/price/latest        ids[]=..., the newest prices
    GET /v2/updates/price/stream        the same as server-sent events, as they change

Rules: a price is an integer, an exponent and a confidence. The exponent is fixed for a feed (coins.py): a price with
more digits is rounded half to even, and a confidence up, so that it never claims too much. `binary` is empty, because
nothing here is signed: what needs a signature for a blockchain cannot come from this node, and `parsed=false` is
refused. A price that is not fresh is left out, never sent with an old publish time, and `left_out` says why; when none
of those asked for is fresh, the answer is a 503. As with Pyth, prices want a key and the list of feeds does not. The
past is in hermes_past.py.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from trinity.limits import ASSETS_MAX
from workers.api.base.callers.auth import ApiCaller, charge_prices
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
ID_CHARS_MAX = 66
UNKNOWN = "unknown_price_id"
_NOTE = "unsigned: prices of this node, for reading; there is no payload for a blockchain"
# Pyth's words for a market without closing hours.
_ALWAYS_OPEN = "America/New_York;O,O,O,O,O,O,O;"
FOREIGN = {"any_parameters": True}

Ids = Annotated[list[str], QueryParameter(name="ids[]", description="feed ids, 64 hexadecimal digits each")]
Flag = bool | None


def parsed_of(price: Price, ema: tuple[Decimal, Decimal]) -> dict[str, Any]:
    """One feed as Hermes writes it."""
    decimals = coin_of(price.asset).feed_decimals
    publish_time = price.timestamp_ms // 1000
    confidence = Decimal(price.confidence).scaleb(-price.scale)
    return {
        "id": feed_id_of(price.asset),
        "price": rpc_price(price.usd, confidence, decimals, publish_time),
        "ema_price": rpc_price(*ema, decimals, publish_time),
        "metadata": {"slot": None, "proof_available_time": publish_time, "prev_publish_time": None},
    }


def rpc_price(value: Decimal, confidence: Decimal, decimals: int, publish_time: int) -> dict[str, Any]:
    """A price with the feed's fixed exponent."""
    return {
        "price": str(round(value.scaleb(decimals))),
        "conf": str(math.ceil(confidence.scaleb(decimals))),
        "expo": -decimals,
        "publish_time": publish_time,
    }


def update_of(parsed: bytes, left_out: Mapping[str, str]) -> bytes:
    """The whole answer; `left_out` has the code of each feed that was asked for and is not in it."""
    rest = [{"id": feed, "code": code} for feed, code in left_out.items()]
    told = b',"left_out":' + msgspec.json.encode(rest) if rest else b""
    return b'{"binary":{"encoding":"hex","data":[]},"parsed":[%s]%s,"note":"%s"}' % (parsed, told, _NOTE.encode())


def stream_encoder(averages: Averages) -> StreamEncoder:
    """Hermes' words for streams; what is not fresh is not said."""

    def encode_item(price: Price) -> bytes:
        return msgspec.json.encode(parsed_of(price, averages.known(price))) if price.is_fresh else b""

    def frame(cursor: str, items: Sequence[bytes]) -> bytes:
        return b"id: %s\ndata: %s\n\n" % (cursor.encode(), update_of(b",".join(items), {}))

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
    if (unknown := unknown_feeds(prices, ids)) and not ignore_unknown:
        raise ProblemError(404, UNKNOWN, f"Price ids not found: {', '.join(unknown[:10])}", "ids[]")
    found = (_find(prices, id_) for id_ in ids)
    return tuple(dict.fromkeys(asset for asset in found if asset is not None))


def unknown_feeds(prices: Prices, ids: Sequence[str]) -> list[str]:
    """The ids that no feed has, cut to what an id may have."""
    return [id_[:ID_CHARS_MAX] for id_ in dict.fromkeys(ids) if _find(prices, id_) is None]


def _find(prices: Prices, id_: str) -> int | None:
    return _feeds(prices.assets, prices.aliases).get(id_.lower().removeprefix("0x"))


def check_form(parsed: Flag, encoding: str) -> None:
    if parsed is False:
        raise bad_parameter("parsed", "false leaves nothing: this node signs no payload")
    if encoding not in ("hex", "base64"):
        raise bad_parameter("encoding", f"{encoding[:16]!r} is not one of hex, base64")


@get("/v2/price_feeds", opt=FOREIGN | {"needs_no_key": True}, tags=["hermes"], sync_to_thread=False)
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


@get("/v2/updates/price/latest", opt=FOREIGN, tags=["hermes"])
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
    check_form(parsed, encoding)
    prices, clock = parts.prices, parts.context.clock
    now_ns = clock.monotonic_ns()
    wanted = find_feeds(prices, ids, ignore_invalid_price_ids)
    read = [prices.read(asset, now_ns) for asset in wanted]
    fresh = [price for price in read if price.is_fresh]
    if read and not fresh:
        names = ", ".join(f"{price.asset} ({price.code})" for price in read[:10])
        raise ProblemError(503, read[0].code, f"no fresh price of {names}", "ids[]", {"Retry-After": "1"})
    charge_prices(parts, request.scope, [price.asset for price in fresh])
    averages = await history.averages.of(fresh, clock.wall_ns())
    body = b",".join(msgspec.json.encode(parsed_of(price, averages[price.asset])) for price in fresh)
    left_out = {feed_id_of(price.asset): price.code for price in read if not price.is_fresh}
    left_out |= dict.fromkeys(unknown_feeds(prices, ids), UNKNOWN)
    return Response(update_of(body, left_out), media_type="application/json", headers={"Cache-Control": "no-store"})


@get("/v2/updates/price/stream", opt=FOREIGN, media_type=EVENT_STREAM, tags=["hermes"])
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
    check_form(parsed, encoding)
    prices, clock = parts.prices, parts.context.clock
    wanted = tuple(sorted(find_feeds(prices, ids, ignore_invalid_price_ids)))
    now_ns = clock.monotonic_ns()
    await history.averages.of([prices.read(asset, now_ns) for asset in wanted], clock.wall_ns())
    seen = streams.board.seen_by(request.headers.get("last-event-id"), wanted)
    order = StreamOrder(stream_encoder(history.averages), wanted)
    return await open_stream(request, parts, streams, caller, streams.fanout, order, seen)
