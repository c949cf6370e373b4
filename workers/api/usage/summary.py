"""The summary of a span: one pass over the kept sums, remembered for a moment, for HTTP and for datagrams."""

from typing import Any

import msgspec

from trinity.clock import NS_PER_US
from trinity.store.queries import load
from trinity.vocabulary import LATENCY_BOUNDS_NS
from workers.api.base.context import Parts
from workers.api.base.parameters import TimeSpan
from workers.api.base.serving.cache import question_of
from workers.api.usage.export import NOW_SECONDS

TOP_ASSETS = 10
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

# grouping(status, protocol, asset_id): which of the three a row is not about.
_WHOLE, _STATUS, _PROTOCOL, _ASSET = 0b111, 0b011, 0b101, 0b110


async def summarize(parts: Parts, parameters: dict[str, Any], span: TimeSpan) -> bytes:
    """The summary as JSON."""
    question = question_of("summary", parameters, span.zone.key)
    kept = await parts.cache.get(question)
    if kept is not None:
        return kept
    async with parts.pool.connection() as connection:
        rows = await (await connection.execute(load("reports.summary"), parameters)).fetchall()
    body = msgspec.json.encode(summary_of(rows, parameters, span))
    await parts.cache.set(question, body, NOW_SECONDS)
    return body


def summary_of(rows: list[tuple[Any, ...]], parameters: dict[str, Any], span: TimeSpan) -> dict[str, Any]:
    """The statement's rows as one object."""
    whole = next((row for row in rows if row[0] == _WHOLE), (_WHOLE, "", 0, 0, 0, 0, None))
    requests = whole[2] or 0
    statuses = {row[1]: row[2] for row in rows if row[0] == _STATUS}
    return {
        "from": parameters["minute_from"].astimezone(span.zone),
        "to": parameters["minute_to"].astimezone(span.zone),
        "tz": span.zone.key,
        "requests": requests,
        "lookups": whole[3] or 0,
        "billable": whole[5] or 0,
        "errors": sum(count for status, count in statuses.items() if int(status) >= 400),
        "latency_us": {
            "mean": round(whole[4] / requests / NS_PER_US, 3) if requests else None,
            **{name: quantile_us(whole[6], share) if requests else None for name, share in _SHARES.items()},
        },
        "statuses": statuses,
        "protocols": {row[1]: row[2] for row in rows if row[0] == _PROTOCOL},
        "top_assets": dict([row[1:3] for row in rows if row[0] == _ASSET and row[1]][:TOP_ASSETS]),
    }


def quantile_us(buckets: list[int], share: float) -> float:
    """The latency below which a share of the requests stayed, as the statement `latency_quantile` reckons it.

    Within a bucket requests are taken as spread evenly; beyond the last bound nothing is known but the bound.
    """
    wanted, through = share * sum(buckets), 0
    bounds = (0, *LATENCY_BOUNDS_NS, LATENCY_BOUNDS_NS[-1])
    for inside, low, high in zip(buckets, bounds, bounds[1:], strict=True):
        through += inside
        if inside and through >= wanted:
            return round((low + (high - low) * (wanted - (through - inside)) / inside) / NS_PER_US, 3)
    return 0.0
