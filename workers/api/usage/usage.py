"""`/reports/*`: what was asked, how often, how fast and how well, of the keys that the caller may see.

Rules: a report is a named statement over the kept sums (spans.py says which), or over the single requests. Small
numbers become the words of trinity/vocabulary.py inside the statement, so every format has the same columns.
"""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from trinity.vocabulary import CODES, LATENCY_BOUNDS_NS, PROTOCOLS, SOURCES
from workers.api.base.context import Parts
from workers.api.base.parameters import TimeSpan, read_names, read_period, read_span
from workers.api.base.problems import bad_parameter
from workers.api.usage import log_page
from workers.api.usage.billing import show_accounts, show_bill, show_plans
from workers.api.usage.columns import Column, Format, dated
from workers.api.usage.export import MEDIA_TYPES, FormatParameter, Query, Usage, deliver, format_of
from workers.api.usage.selection import Selection, provide_selection
from workers.api.usage.spans import DAYS_MAX, MINUTE, Granularity, check, cut, round_up
from workers.api.usage.summary import summarize

GroupBy = Literal["all", "account", "key", "asset", "protocol", "status"]
Wide = Literal["whole", "minute", "hour", "day", "month"]
AnyRequest = Request[Any, Any, Any]

TOP_MAX = 1_000
# The ledger gives every answer with such a status a code.
_ERRORS_FROM = 400

_MEASURES = (
    Column("requests", "integer"), Column("lookups", "integer"), Column("billable", "integer"),
    Column("errors", "integer"),
)  # fmt: skip
_MEAN = Column("latency_mean_us", "number")
_QUANTILES = tuple(Column(f"latency_{name}_us", "number") for name in ("p50", "p90", "p99", "p999"))
_START, _START_OF_DAY = Column("start", "time"), Column("start", "day")
# `name`: an account's or a key's, as people know it; `account`: whose key it is.
_GROUP = (Column("group", "text"), Column("name", "name"), Column("account", "name"))
_SUMMARY = (
    Column("part", "text"), Column("member", "text"), Column("requests", "integer"), Column("lookups", "integer"),
    Column("billable", "integer"), _MEAN,
)  # fmt: skip
_ERRORS = (
    Column("code", "text"), Column("status", "integer"), Column("protocol", "text"), Column("requests", "integer"),
    Column("last", "time"), Column("network", "text"),
)  # fmt: skip


_From = Annotated[
    str | None, QueryParameter(name="from", description="Begin: ISO 8601 or seconds since 1970; a day ago.")
]
_To = Annotated[str | None, QueryParameter(description="End, left out itself; now.")]
_Zone = Annotated[str, QueryParameter(description="IANA time zone of days and of times without an offset.")]


async def provide_span(
    parts: NamedDependency[Parts], from_: _From = None, to: _To = None, tz: _Zone = "UTC"
) -> TimeSpan:
    """The dependency `span`; now is the end of this minute, so that the same question is the same for a while."""
    return read_span(from_, to, tz, round_up(parts.now(), MINUTE))


async def provide_long_span(
    parts: NamedDependency[Parts], from_: _From = None, to: _To = None, tz: _Zone = "UTC"
) -> TimeSpan:
    """The dependency `long_span`: the same for reports out of sums by day, which are kept for years."""
    return read_span(from_, to, tz, round_up(parts.now(), MINUTE), days_max=DAYS_MAX)


class UsageSums(NamedTuple):
    """What the statements over kept sums are given."""

    span: TimeSpan
    selection: Selection
    granularity: Granularity | None
    group_by: GroupBy
    detail_from: date

    def parameters(self) -> dict[str, Any]:
        pieces = cut(self.span, self.granularity)
        check(pieces, self.granularity, self.selection.key_ids is None, self.detail_from)
        return {
            **pieces._asdict(),
            "key_ids": self.selection.key_ids,
            "over_keys": self.selection.key_ids is None and self.group_by not in ("key", "account"),
            "granularity": self.granularity or "whole",
            "group_by": self.group_by,
            "zone": self.span.zone.key,
            "protocols": list(PROTOCOLS),
            "bounds": list(LATENCY_BOUNDS_NS),
        }

    def head(self) -> dict[str, Any]:
        pieces = cut(self.span, self.granularity)
        return {
            "from": pieces.minute_from.astimezone(self.span.zone),
            "to": pieces.minute_to.astimezone(self.span.zone),
            "tz": self.span.zone.key,
            "granularity": self.granularity or "whole",
            "group_by": self.group_by,
        }

    def start_column(self) -> Column:
        """When a bucket begins."""
        return _START_OF_DAY if self.granularity in ("day", "month") else _START


def detail_from_of(parts: Parts) -> date:
    """The first day of which more is kept than sums by day."""
    return parts.now().date() - timedelta(days=parts.settings.retention.detail_days)


@get("/usage", tags=["reports"])
async def show_usage(
    request: AnyRequest,
    parts: NamedDependency[Parts],
    usage: NamedDependency[Usage],
    long_span: NamedDependency[TimeSpan],
    selection: NamedDependency[Selection],
    granularity: Annotated[Granularity, QueryParameter(description="Length of a bucket, in the zone `tz`.")] = "day",
    group_by: Annotated[GroupBy, QueryParameter(description="What a row is about.")] = "all",
    format_: FormatParameter = None,
) -> Response[Any]:
    """Requests, lookups, errors and mean latency by time. Buckets without a request have no row."""
    sums = UsageSums(long_span, selection, granularity, group_by, detail_from_of(parts))
    columns = (sums.start_column(), *_GROUP, *_MEASURES, _MEAN)
    query = Query("reports.usage", sums.parameters(), columns, long_span.zone, _file("usage", long_span))
    return await _deliver(request, parts, usage, query, format_, sums.head())


@get("/latency", tags=["reports"])
async def show_latency(
    request: AnyRequest,
    parts: NamedDependency[Parts],
    usage: NamedDependency[Usage],
    long_span: NamedDependency[TimeSpan],
    selection: NamedDependency[Selection],
    granularity: Annotated[Wide, QueryParameter(description="Length of a bucket; `whole`: one for all.")] = "whole",
    group_by: Annotated[GroupBy, QueryParameter(description="What a row is about.")] = "all",
    format_: FormatParameter = None,
) -> Response[Any]:
    """Percentiles of the time that answers took, from the kept histograms."""
    wanted = None if granularity == "whole" else granularity
    sums = UsageSums(long_span, selection, wanted, group_by, detail_from_of(parts))
    columns = (sums.start_column(), *_GROUP, Column("requests", "integer"), _MEAN, *_QUANTILES)
    query = Query("reports.latency", sums.parameters(), columns, long_span.zone, _file("latency", long_span))
    return await _deliver(request, parts, usage, query, format_, sums.head())


@get("/top", tags=["reports"])
async def show_top(
    request: AnyRequest,
    parts: NamedDependency[Parts],
    usage: NamedDependency[Usage],
    long_span: NamedDependency[TimeSpan],
    selection: NamedDependency[Selection],
    by: Annotated[
        Literal["account", "key", "asset", "protocol", "status"], QueryParameter(description="Of what.")
    ] = "asset",
    limit: Annotated[int, QueryParameter(ge=1, le=TOP_MAX, description="At most so many.")] = 10,
    format_: FormatParameter = None,
) -> Response[Any]:
    """Those with the most requests, the busiest first."""
    sums = UsageSums(long_span, selection, None, by, detail_from_of(parts))
    parameters = {**sums.parameters(), "limit": limit}
    columns = (*_GROUP, *_MEASURES, _MEAN)
    query = Query("reports.top", parameters, columns, long_span.zone, _file("top", long_span))
    return await _deliver(request, parts, usage, query, format_, sums.head())


@get("/errors", tags=["reports"])
async def show_errors(
    request: AnyRequest,
    parts: NamedDependency[Parts],
    usage: NamedDependency[Usage],
    span: NamedDependency[TimeSpan],
    selection: NamedDependency[Selection],
    by: Annotated[
        Literal["code", "network"],
        QueryParameter(description="`network`: refusals without a key, by the /24 or /64 that they went to."),
    ] = "code",
    format_: FormatParameter = None,
) -> Response[Any]:
    """Refusals and failures by code, status and protocol, the most frequent first.

    Those without a key are counted by whole minutes. A minute has 256 networks, the others' `network` is null.
    """
    parameters = {
        "start": span.start,
        "end": span.end,
        "key_ids": selection.key_ids,
        "codes": list(CODES),
        "protocols": list(PROTOCOLS),
        "by_network": by == "network",
        "limit": TOP_MAX,
    }
    head = {"from": span.start.astimezone(span.zone), "to": span.end.astimezone(span.zone), "tz": span.zone.key}
    query = Query("reports.errors", parameters, _ERRORS, span.zone, _file("errors", span))
    return await _deliver(request, parts, usage, query, format_, head)


@get("/summary", tags=["reports"])
async def show_summary(
    parts: NamedDependency[Parts],
    usage: NamedDependency[Usage],
    long_span: NamedDependency[TimeSpan],
    selection: NamedDependency[Selection],
    request: AnyRequest,
    period: Annotated[
        str | None, QueryParameter(description="15m, 24h or 93d until now, begun with a full hour; not with `from`.")
    ] = None,
    format_: FormatParameter = None,
) -> Response[Any]:
    """The whole span in one look: requests, errors, latency, statuses, protocols and the busiest assets.

    As a file one row a `part` (all, status, protocol, asset) and member.
    """
    span, detail_from = long_span, detail_from_of(parts)
    if period is not None:
        if "from" in request.query_params or "to" in request.query_params:
            raise bad_parameter("period", "give either `period` or `from` and `to`")
        span = span_of_period(read_period(period, "period"), parts.now(), span.zone, detail_from)
    elif "from" not in request.query_params:
        span = span_of_period(timedelta(days=1), span.end, span.zone, detail_from)
    parameters = UsageSums(span, selection, None, "all", detail_from).parameters()
    wanted = format_of(format_, request.headers.get("accept", ""))
    if wanted != "json":
        query = Query("reports.summary_rows", parameters, _SUMMARY, span.zone, _file("summary", span))
        return await deliver(parts, usage, request.scope, query, wanted, {})
    body = await summarize(parts, parameters, span)
    return Response(body, media_type=MEDIA_TYPES["json"])


def span_of_period(period: timedelta, end: datetime, zone: ZoneInfo, detail_from: date) -> TimeSpan:
    """The period until `end`; one of more than an hour begins with a full hour or day, whose sum is kept."""
    start = end - period
    if period > timedelta(hours=1):
        start = start.replace(minute=0, second=0, microsecond=0)
    if start.date() < detail_from:
        start = start.replace(hour=0)
    return TimeSpan(start, end, zone)


def _file(name: str, span: TimeSpan) -> str:
    return dated(name, span.start, span.end, span.zone)


@get("/log", tags=["reports"])
async def show_log(
    request: AnyRequest,
    parts: NamedDependency[Parts],
    usage: NamedDependency[Usage],
    span: NamedDependency[TimeSpan],
    selection: NamedDependency[Selection],
    asset: Annotated[str | None, QueryParameter(description="Only these assets: BTC or BTC,ETH.")] = None,
    status: Annotated[int | None, QueryParameter(ge=100, le=599, description="Only this status.")] = None,
    limit: Annotated[
        int | None,
        QueryParameter(ge=1, le=10_000_000, description="Rows; a JSON page has at most 1,000, 100 if unsaid."),
    ] = None,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before; JSON only.")] = None,
    format_: FormatParameter = None,
) -> Response[Any]:
    """Single requests: JSON in pages, newest first; files whole, oldest first.

    `next` of a page is the `cursor` of the following one, of the same span; the filters have to be given again.
    """
    wanted = format_of(format_, request.headers.get("accept", ""))
    names = read_names(asset, "asset")
    parameters = {
        "start": span.start,
        "end": span.end,
        "key_ids": selection.key_ids,
        "assets": [parts.prices.name_of(name) for name in names] if names is not None else None,
        "status": status,
        "errors_only": status is not None and status >= _ERRORS_FROM,  # a narrow index has them
        "codes": list(CODES),
        "protocols": list(PROTOCOLS),
        "sources": list(SOURCES),
        "limit": limit,
    }
    if wanted == "json":
        is_named = not {"from", "to"}.isdisjoint(request.query_params)
        page = await log_page.read_page(parts, parameters, cursor, span, is_named)
        return Response(msgspec.json.encode(page), media_type=MEDIA_TYPES["json"])
    if cursor is not None:
        raise bad_parameter("cursor", "only JSON has pages")
    query = Query("reports.log_rows", parameters, log_page.COLUMNS, span.zone, _file("log", span))
    return await deliver(parts, usage, request.scope, query, wanted, {})


async def _deliver(
    request: AnyRequest, parts: Parts, usage: Usage, query: Query, format_: Format | None, head: dict[str, Any]
) -> Response[Any]:
    wanted = format_of(format_, request.headers.get("accept", ""))
    return await deliver(parts, usage, request.scope, query, wanted, head)


router = Router(
    "/reports",
    route_handlers=[
        show_summary,
        show_usage,
        show_top,
        show_latency,
        show_log,
        show_errors,
        show_bill,
        show_accounts,
        show_plans,
    ],
    dependencies={
        "span": Provide(provide_span),
        "long_span": Provide(provide_long_span),
        "selection": Provide(provide_selection),
    },
)
