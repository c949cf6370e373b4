"""What CoinGecko's table of all assets costs: `/api/v3/coins/markets`, in one process over a real database.

Rules: every price changes before each call, so that nothing can be answered out of a memory of the last one; the
candles are a week of minutes, read once a minute as always. One client on one connection; latencies are wall clock as
it sees them until it has the whole body, processor time is that of the service alone. Answers are checked: a row for
each asset, with price and change. Two prices of `/api/v3/simple/price` say what a call costs without the rows.
"""

import gzip
import http.client
import json
import multiprocessing
import os
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.errors import PeerError
from benchmarks.parts.service.streams import report_alone, wait_for_port
from benchmarks.progress import Progress
from benchmarks.servers.bare_worker import write_all
from benchmarks.servers.database import database_in
from benchmarks.servers.processes import cpu_ns, free_port
from trinity.clock import NS_PER_MS, SystemClock
from trinity.markets import load_catalog
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.store.partitions import make_ahead

DAYS = 7
_WARM_UP = 20
_TABLE = "/api/v3/coins/markets"
_GZIP = "gzip"
_QUESTIONS = {
    "all assets": (f"{_TABLE}?vs_currency=usd", "identity"),
    "packed": (f"{_TABLE}?vs_currency=usd", _GZIP),
    "with four windows": (f"{_TABLE}?vs_currency=usd&price_change_percentage=1h,24h,7d,30d", "identity"),
    "in bitcoin": (f"{_TABLE}?vs_currency=btc", "identity"),
    "with lines of seven days": (f"{_TABLE}?vs_currency=usd&sparkline=true", "identity"),
    "two of simple/price": ("/api/v3/simple/price?ids=bitcoin,ethereum&vs_currencies=usd", "identity"),
}
_FILL = """
INSERT INTO price_minute (asset_id, minute, open, high, low, close, sources, confidence, samples, weighted_sum,
                          weighted_ms, node_id)
SELECT assets.id, minute, price, price + 1, price - 1, price, 5, 2, 9, 60000 * price, 60000, 1
FROM assets, generate_series(date_trunc('minute', now()) - make_interval(days => %(days)s),
                             now(), interval '1 minute') AS minute,
     LATERAL (SELECT 100 + (extract(epoch FROM minute)::bigint / 60 * assets.id %% 997) / 100.0 AS price) AS made
"""


def measure_markets(folder: Path, calls: int, progress: Progress) -> dict[str, Any]:
    """Latencies and processor time of each question."""
    catalog, clock, port = load_catalog(), SystemClock(), free_port()
    name = f"bench-markets-{os.getpid()}"
    memory = NodeMemory.create(Card(name, True, (ProcessEntry("reporter-0", "reporter"),), catalog))
    try:
        with tempfile.TemporaryDirectory(prefix="markets-", dir=folder) as place, database_in(Path(place)) as (url, _):
            progress.step(f"{DAYS} days of minutes of {len(catalog.assets)} assets")
            _fill(url, [asset.name for asset in catalog.assets])
            write_all(memory, clock, 0)
            service = multiprocessing.get_context("fork").Process(target=report_alone, args=(memory, port, folder, url))
            service.start()
            try:
                wait_for_port(port)
                return {
                    "assets": len(catalog.assets),
                    "calls": calls,
                    "questions": {
                        question: _measure(memory, clock, port, service.pid or 0, path, coding, calls)
                        for question, (path, coding) in _QUESTIONS.items()
                    },
                }
            finally:
                service.terminate()
                service.join()
    finally:
        memory.unlink()


def _fill(url: str, assets: list[str]) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO assets (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (assets,))
        connection.execute(_FILL, {"days": DAYS + 1})
    with psycopg.connect(url, autocommit=True) as connection:
        make_ahead(connection, datetime.now(UTC))  # the operator's work on a node
        connection.execute("VACUUM ANALYZE price_minute")


def _measure(
    memory: NodeMemory, clock: SystemClock, port: int, pid: int, path: str, coding: str, calls: int
) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    latencies_ms, used_ns = [], 0
    for turn in range(calls + _WARM_UP):
        write_all(memory, clock, turn)
        before_ns, started_ns = cpu_ns([pid]), clock.monotonic_ns()
        connection.request("GET", path, headers={"Accept-Encoding": coding})
        answer = connection.getresponse()
        body = answer.read()
        if turn >= _WARM_UP:
            latencies_ms.append((clock.monotonic_ns() - started_ns) / NS_PER_MS)
            used_ns += cpu_ns([pid]) - before_ns
        if answer.status != http.client.OK:
            raise PeerError("markets", f"{path}: {answer.status} {body[:200]!r}")
        if path.startswith(_TABLE):
            _check(gzip.decompress(body) if coding == _GZIP else body, len(memory.card.catalog.assets))
    connection.close()
    latencies_ms.sort()
    return {
        "mean_ms": round(statistics.mean(latencies_ms), 2),
        "p50_ms": round(latencies_ms[calls // 2], 2),
        "p99_ms": round(latencies_ms[calls * 99 // 100], 2),
        "cpu_ms": round(used_ns / calls / NS_PER_MS, 2),
    }


def _check(body: bytes, assets: int) -> None:
    """PeerError unless each asset has its price and its change."""
    rows = json.loads(body)
    if len(rows) != assets or not all(row["current_price"] and row["price_change_24h"] is not None for row in rows):
        raise PeerError("markets", f"an answer without prices or changes: {body[:200]!r}")
