"""`/history`, `/twap`, `/price_at` and `/explain`: what the consensus price was, and why.

Rules: a minute in which no price stood has no candle and is never filled: gaps are ranges of their own in the answer,
and a single moment within one is a 404. What is too young to be in the database is no gap: ranges end at the last
minute that is surely stored. Prices are JSON numbers with every digit. An answer is bounded by its number of candles.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from trinity.clock import NS_PER_SECOND, NS_PER_US
from trinity.errors import AbsentError, TrinityError
from trinity.store.queries import load
from workers.api.base.callers.auth import ApiCaller
from workers.api.base.context import Explain, Parts
from workers.api.base.parameters import is_name, read_moment, read_span, read_zone
from workers.api.base.problems import ProblemError, bad_parameter, refusal_of
from workers.api.history.averages import Averages
from workers.api.history.candles import (
    STEPS,
    Candle,
    Gap,
    Granularity,
    buckets_of,
    fetch_average,
    fetch_candles,
    gaps_of,
)
from workers.api.history.past import PastPrices

# Five days of minutes; 1.3 MB of JSON.
CANDLES_MAX = 7_200
# A closed minute is in the database within 2 s; what is younger than this is not called a gap.
SETTLED = timedelta(seconds=10)
MINUTE = timedelta(minutes=1)
# A day's average that misses more than two and a half hours is not that day's.
COVERAGE_MIN = 0.9
_DEFAULT_SPANS: dict[Granularity, timedelta] = {
    "1m": timedelta(days=1),
    "5m": timedelta(days=2),
    "1h": timedelta(days=14),
    "1d": timedelta(days=93),
}
_ENCODER = msgspec.json.Encoder(decimal_format="number")

AssetParameter = Annotated[str, QueryParameter(description="For example BTC.")]
FromParameter = Annotated[str | None, QueryParameter(name="from", description="Begin: ISO 8601 or seconds since 1970.")]
ToParameter = Annotated[str | None, QueryParameter(description="End, left out itself; now.")]
ZoneParameter = Annotated[str, QueryParameter(description="IANA time zone of days and of times without an offset.")]


@dataclass(frozen=True)
class History:
    """What this feature brings to its handlers (`history`)."""

    averages: Averages
    past: PastPrices
    explain: Explain | None = None
    # One recorded moment at a time: it is some hundred milliseconds of one processor.
    explanations: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))


@get("/history", tags=["history"])
async def show_history(
    caller: NamedDependency[ApiCaller],  # noqa: ARG001 - whoever may ask for prices
    parts: NamedDependency[Parts],
    asset: AssetParameter,
    granularity: Annotated[Granularity, QueryParameter(description="Length of a candle.")] = "1m",
    from_: FromParameter = None,
    to: ToParameter = None,
    tz: ZoneParameter = "UTC",
) -> Response[bytes]:
    """Candles of the consensus price, in USD. `gaps` are the ranges in which no price stood."""
    now = _now_of(parts)
    span = read_span(from_, to, tz, now, _DEFAULT_SPANS[granularity])
    if (span.end - span.start) / STEPS[granularity] > CANDLES_MAX:
        detail = f"at most {CANDLES_MAX} candles at once: ask for a shorter range or a coarser granularity"
        raise ProblemError(400, "range_too_large", detail, "from")
    name = await _known(parts, asset)
    buckets: list[datetime] = []
    candles: list[Candle] = []
    if span.start < now:
        end = min(span.end, now)
        buckets = buckets_of(granularity, span.start, end, span.zone)
        async with parts.pool.connection() as connection:
            candles = await fetch_candles(connection, name, granularity, span.start, end, span.zone)
    return _json(
        {
            "asset": name,
            "currency": "USD",
            "granularity": granularity,
            "tz": span.zone.key,
            "from": span.start.astimezone(span.zone),
            "to": span.end.astimezone(span.zone),
            "candles": [_in_zone(candle, span.zone) for candle in candles],
            "gaps": [_in_zone(gap, span.zone) for gap in _known_gaps(gaps_of(candles, buckets), _settled(now))],
        }
    )


@get("/twap", tags=["history"])
async def show_average(
    caller: NamedDependency[ApiCaller],  # noqa: ARG001 - as above
    parts: NamedDependency[Parts],
    asset: AssetParameter,
    from_: FromParameter = None,
    to: ToParameter = None,
    tz: ZoneParameter = "UTC",
    min_coverage: Annotated[
        float, QueryParameter(ge=0, le=1, description="Refuse when a price stood for a smaller share of the range.")
    ] = COVERAGE_MIN,
) -> Response[bytes]:
    """The time-weighted average of the consensus price over whole minutes: exact, with the share that it covers."""
    now = _now_of(parts)
    span = read_span(from_, to, tz, now, timedelta(hours=1))
    start, end = _minute(span.start), min(_minute(span.end), _settled(now))
    if start >= end:
        raise bad_parameter("to", "the range has no whole minute that is over and stored")
    name = await _known(parts, asset)
    async with parts.pool.connection() as connection:
        average = await fetch_average(connection, name, start, end)
    if average.price is None or average.coverage < min_coverage:
        detail = (
            f"a price stood for {average.coverage:.1%} of this range, less than min_coverage={min_coverage:g}: "
            "ask for another range or a smaller min_coverage"
        )
        raise ProblemError(404, "coverage_too_low", detail, "min_coverage")
    return _json(
        {
            "asset": name,
            "currency": "USD",
            "price": average.price,
            "from": start.astimezone(span.zone),
            "to": end.astimezone(span.zone),
            "coverage": average.coverage,
            "minutes": average.minutes,
        }
    )


@get("/price_at", tags=["history"])
async def show_price_at(
    caller: NamedDependency[ApiCaller],  # noqa: ARG001 - as above
    parts: NamedDependency[Parts],
    asset: AssetParameter,
    timestamp: Annotated[str, QueryParameter(description="The moment: ISO 8601 or seconds since 1970.")],
    tz: ZoneParameter = "UTC",
) -> Response[bytes]:
    """The minute that covers a moment: `price` is its average by time, the resolution is one minute."""
    zone = read_zone(tz)
    moment = read_moment(timestamp, "timestamp", zone)
    name = await _known(parts, asset)
    start = _minute(moment)
    async with parts.pool.connection() as connection:
        candles = await fetch_candles(connection, name, "1m", start, start + MINUTE)
        if not candles:
            cursor = await connection.execute(load("candles.neighbours"), {"asset": name, "at": start})
            before, after = await cursor.fetchone() or (None, None)
            around = [
                f"the one {word} is {found.isoformat()}"
                for word, found in (("before", before), ("after", after))
                if found
            ]
            now = _now_of(parts)
            reason = "it is in a gap" if start < _settled(now) else "it is not stored yet: /price has the newest"
            reason = "it is in the future" if moment > now else reason
            detail = "; ".join([f"{name} has no price in that minute, {reason}", *around])
            raise ProblemError(404, "no_price", detail, "timestamp")
    (candle,) = candles
    return _json(
        {
            "asset": name,
            "currency": "USD",
            "timestamp": moment.astimezone(zone),
            "price": candle.average if candle.average is not None else candle.close,
            "resolution": "1m",
            "candle": _in_zone(candle, zone),
        }
    )


@get("/explain", tags=["history"])
async def show_explanation(
    caller: NamedDependency[ApiCaller],  # noqa: ARG001 - as above
    parts: NamedDependency[Parts],
    history: NamedDependency[History],
    asset: AssetParameter,
    at: Annotated[
        str | None, QueryParameter(description="A recorded moment: ISO 8601 or seconds since 1970; now.")
    ] = None,
) -> Response[bytes]:
    """Every source's raw quote, age, conversion and verdict, each step of the consensus, and the result."""
    names = [known.name for known in parts.context.catalog.assets]
    name = _name_of(parts, asset)
    if history.explain is None:
        raise ProblemError(503, "not_available", "this service was started without the consensus's rules")
    if at is None:
        if name not in names:
            raise refusal_of("unknown_asset", field="asset")
        return _json(history.explain(name, None))
    moment = read_moment(at, "at", ZoneInfo("UTC"))
    at_ns = (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * NS_PER_US
    if history.explanations.locked():
        detail = "another recorded moment is being explained: try again soon"
        raise ProblemError(503, "too_many_explanations", detail, headers={"Retry-After": "1"})
    try:
        return _json(await _explain_past(history, history.explain, name, at_ns))
    except AbsentError as error:
        if name not in names:
            raise refusal_of("unknown_asset", field="asset") from None
        raise ProblemError(404, "not_recorded", str(error), "at") from None
    except TrinityError as error:
        raise ProblemError(503, "recording_damaged", str(error), "at") from None


async def _explain_past(history: History, explain: Explain, name: str, at_ns: int) -> Any:
    """Read a recording in a thread; the place is free when the thread has ended, whether or not the caller waited."""
    await history.explanations.acquire()
    work = asyncio.ensure_future(asyncio.to_thread(explain, name, at_ns))
    work.add_done_callback(lambda _: history.explanations.release())
    return await asyncio.shield(work)


async def _known(parts: Parts, asset: str) -> str:
    """The asset's name: one of the catalog, or one that left it and has a history."""
    name = _name_of(parts, asset)
    if name in [known.name for known in parts.context.catalog.assets]:
        return name
    async with parts.pool.connection() as connection:
        cursor = await connection.execute(load("candles.assets"), {"names": [name]})
        if await cursor.fetchone() is None:
            raise refusal_of("unknown_asset", field="asset")
    return name


def _name_of(parts: Parts, asset: str) -> str:
    if "," in asset:
        raise bad_parameter("asset", "give one asset, for example BTC")
    if not is_name(asset):
        raise refusal_of("unknown_asset", field="asset")
    return parts.prices.name_of(asset.upper())


def _now_of(parts: Parts) -> datetime:
    return datetime.fromtimestamp(parts.context.clock.wall_ns() / NS_PER_SECOND, UTC)


def _settled(now: datetime) -> datetime:
    """The end of the last minute that is surely stored, as long as the database is well."""
    return _minute(now - SETTLED)


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _known_gaps(gaps: list[Gap], settled: datetime) -> list[Gap]:
    """Gaps as far as minutes are stored: what is younger may still come."""
    return [Gap(gap.start, min(gap.end, settled)) for gap in gaps if gap.start < settled]


def _in_zone(part: Any, zone: ZoneInfo) -> Any:
    """A candle or gap with its times in the caller's zone."""
    return msgspec.structs.replace(part, start=part.start.astimezone(zone), end=part.end.astimezone(zone))


def _json(content: Any) -> Response[bytes]:
    return Response(_ENCODER.encode(content), media_type="application/json")
