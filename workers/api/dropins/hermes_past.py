"""What Pyth's Hermes says of the past, out of the stored minutes.

    GET /v2/updates/price/{publish_time}   the prices of that moment's minute
    GET /v2/updates/twap/{window}/latest   averages by time of the last so many seconds

Rules: this node keeps minutes, and says no more than they do. A price of the past is the last one of the minute that
the moment is in, its `publish_time` that minute's last second: at or after the moment asked for, as with Hermes. An
average is exact over whole minutes, and `start_timestamp` and `end_timestamp` say which; `down_slots_ratio` is the
share of them in which no price stood. Its confidence is the mean of the minutes' own. A feed without a price there is
left out, and told in `left_out`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from trinity.clock import NS_PER_SECOND
from trinity.store.queries import load
from workers.api.base.callers.auth import ApiCaller, charge_prices
from workers.api.base.context import Parts
from workers.api.base.prices import FRESH, Price
from workers.api.base.problems import ProblemError, bad_parameter
from workers.api.dropins.coins import coin_of, feed_id_of
from workers.api.dropins.hermes import (
    FOREIGN,
    UNKNOWN,
    Flag,
    Ids,
    check_form,
    find_feeds,
    parsed_of,
    rpc_price,
    unknown_feeds,
    update_of,
)
from workers.api.history.averages import EMA_MINUTES, ClosePrice, ema_of
from workers.api.history.candles import average_of
from workers.api.history.history import SETTLED

# As Pyth's.
WINDOW_SECONDS_MAX = 600
_MINUTE = 60
_TIME_MAX = 4_102_444_800  # the year 2100, as everywhere
NO_PRICE = "no_price"


@get("/v2/updates/price/{publish_time:int}", opt=FOREIGN, tags=["hermes"])
async def past_prices(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    publish_time: FromPath[int],
    ids: Ids,
    parsed: FromQuery[Flag] = None,
    encoding: FromQuery[str] = "hex",
    ignore_invalid_price_ids: FromQuery[bool] = False,
) -> Response[bytes]:
    """The prices of a past moment's minute, as Hermes answers them; `binary` is empty, because nothing is signed."""
    check_form(parsed, encoding)
    if not 0 <= publish_time < _TIME_MAX:
        raise bad_parameter("publish_time", f"seconds since 1970, from 0 to {_TIME_MAX - 1}, not {publish_time}")
    names = [parts.prices.assets[asset] for asset in find_feeds(parts.prices, ids, ignore_invalid_price_ids)]
    minute = publish_time // _MINUTE
    # The minutes behind the average, and the one that is asked for.
    span = {"start": _moment_of(minute - EMA_MINUTES), "end": _moment_of(minute + 1)}
    async with parts.pool.connection() as connection:
        rows = await (await connection.execute(load("candles.closes"), {"assets": names, **span})).fetchall()
    closes: dict[str, list[ClosePrice]] = {name: [] for name in names}
    for name, start, close, confidence in rows:
        closes[name].append(ClosePrice(int(start.timestamp()) // _MINUTE, close, confidence))
    prices = [price_of(name, last) for name in names for last in closes[name] if last.minute == minute]
    if names and not prices:
        raise _nothing(names, "publish_time", _why(parts, publish_time))
    charge_prices(parts, request.scope, [price.asset for price in prices])
    pieces = [msgspec.json.encode(parsed_of(price, ema_of(price, closes[price.asset]))) for price in prices]
    return _answer(pieces, names, {price.asset for price in prices}, unknown_feeds(parts.prices, ids))


@get("/v2/updates/twap/{window_seconds:int}/latest", opt=FOREIGN, tags=["hermes"])
async def average_prices(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    window_seconds: FromPath[int],
    ids: Ids,
    parsed: FromQuery[Flag] = None,
    encoding: FromQuery[str] = "hex",
    ignore_invalid_price_ids: FromQuery[bool] = False,
) -> Response[bytes]:
    """Averages by time of the last minutes that are stored; `binary` is empty, because nothing is signed."""
    check_form(parsed, encoding)
    if not 1 <= window_seconds <= WINDOW_SECONDS_MAX:
        raise bad_parameter("window_seconds", f"from 1 to {WINDOW_SECONDS_MAX} seconds, not {window_seconds}")
    names = [parts.prices.assets[asset] for asset in find_feeds(parts.prices, ids, ignore_invalid_price_ids)]
    now_seconds = parts.context.clock.wall_ns() // NS_PER_SECOND
    end = (now_seconds - SETTLED // timedelta(seconds=1)) // _MINUTE
    start = end + -window_seconds // _MINUTE  # whole minutes, and no fewer seconds
    span = {"assets": names, "start": _moment_of(start), "end": _moment_of(end)}
    async with parts.pool.connection() as connection:
        rows = await (await connection.execute(load("hermes.averages"), span)).fetchall()
    found = {name: sums for name, *sums in rows if sums[1]}
    if names and not found:
        raise _nothing(names, "window_seconds", "no minute of the window is stored")
    charge_prices(parts, request.scope, found)
    pieces = [msgspec.json.encode(_twap(name, start, end, *found[name])) for name in names if name in found]
    return _answer(pieces, names, set(found), unknown_feeds(parts.prices, ids))


def _twap(
    asset: str, start: int, end: int, weighted_sum: Decimal, weighted_ms: int, confidence: Decimal
) -> dict[str, Any]:
    """One feed's average as Hermes writes it; `start` and `end` are minutes since 1970."""
    mean = average_of(weighted_sum, weighted_ms)
    assert mean is not None, "a price stood"
    down = 1 - weighted_ms / ((end - start) * _MINUTE * 1000)
    return {
        "id": feed_id_of(asset),
        "start_timestamp": start * _MINUTE,
        "end_timestamp": end * _MINUTE,
        "twap": rpc_price(mean, confidence / weighted_ms, coin_of(asset).feed_decimals, end * _MINUTE),
        "down_slots_ratio": f"{max(0.0, down):.6f}",
    }


def price_of(asset: str, last: ClosePrice) -> Price:
    """A stored minute's last price, as one that stands in the minute's last second."""
    scale = max(0, *(-int(number.as_tuple().exponent) for number in (last.price, last.confidence)))
    mantissa, confidence = (int(number.scaleb(scale)) for number in (last.price, last.confidence))
    return Price(asset, FRESH, b"", 0, mantissa, scale, confidence, (last.minute * _MINUTE + _MINUTE - 1) * 1000)


def _answer(pieces: Sequence[bytes], names: Sequence[str], found: set[str], unknown: Sequence[str]) -> Response[bytes]:
    left_out = {feed_id_of(name): NO_PRICE for name in names if name not in found}
    body = update_of(b",".join(pieces), left_out | dict.fromkeys(unknown, UNKNOWN))
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


def _nothing(names: Sequence[str], field: str, why: str) -> ProblemError:
    return ProblemError(404, NO_PRICE, f"no stored price of {', '.join(names[:10])}: {why}", field)


def _why(parts: Parts, publish_time: int) -> str:
    now_seconds = parts.context.clock.wall_ns() // NS_PER_SECOND
    if publish_time > now_seconds:
        return "that moment is in the future"
    if publish_time // _MINUTE >= (now_seconds - SETTLED // timedelta(seconds=1)) // _MINUTE:
        return "that minute is not stored yet; /v2/updates/price/latest has the newest"
    return "none stood in that minute, or it is older than what is kept"


def _moment_of(minute: int) -> datetime:
    return datetime.fromtimestamp(max(0, minute) * _MINUTE, UTC)
