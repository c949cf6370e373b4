"""Long answers: whole or broken off, a few at a time, and nothing held by a reader that stopped."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest
from litestar.exceptions import LitestarException

from tests.support.clocks import ManualClock
from tests.support.node_fixture import SECOND
from tests.workers.api.conftest import ADMIN_KEY, application_of, client_to, opened, settings_of
from tests.workers.api.live import live, tiny_receive_buffer
from trinity.observe.metrics import REPORTER
from trinity.store.queries import load
from workers.api.base import calls
from workers.api.usage.columns import Column
from workers.api.usage.export import (
    EXPORTS,
    READER_BYTES_PER_SECOND_MIN,
    Query,
    _read_along,
    csv_pieces,
    format_of,
)

QUERY = b"from=2026-03-27&to=2026-03-31&format=csv"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [("", "json"), ("*/*", "json"), ("text/csv", "csv"), ("text/html, text/csv;q=0.9", "csv"),
     ("application/vnd.apache.parquet", "parquet")],
)  # fmt: skip
def test_accept_decides_where_no_format_is_named(accept: str, expected: str) -> None:
    """A named format wins."""
    assert format_of(None, accept) == expected
    assert format_of("parquet", accept) == "parquet"


async def test_the_whole_log_comes_in_pieces(usage_client: httpx.AsyncClient, usage_url: str) -> None:
    """Every row, oldest first."""
    response = await usage_client.get(
        "/reports/log", params={"from": "2026-03-27", "to": "2026-03-31", "format": "csv"}
    )
    lines = response.text.splitlines()
    with psycopg.connect(usage_url) as connection:
        row = connection.execute("SELECT count(*) FROM usage_log").fetchone()
    assert row == (len(lines) - 1,)
    assert lines[0].startswith("time,request_id,")
    times = [line.partition(",")[0] for line in lines[1:]]
    assert times[0].startswith("2026-03-27T00:00")
    assert response.headers["Content-Disposition"] == 'attachment; filename="trinity-log-2026-03-27-2026-03-30.csv"'


def _scope() -> Any:
    headers = [(b"x-api-key", ADMIN_KEY.encode()), (b"host", b"reports")]
    return {
        "type": "http", "method": "GET", "path": "/reports/log", "raw_path": b"/reports/log", "query_string": QUERY,
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("reports", 80), "scheme": "http",
        "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"}, "extensions": {},
    }  # fmt: skip


async def test_a_reader_that_stops_holds_nothing(
    usage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection and its place are free again, and others were served meanwhile."""
    monkeypatch.setattr(calls, "STALL_SECONDS", 0.5)
    monkeypatch.setattr("workers.api.usage.export.PIECE_BYTES", 1_000)
    stalled = asyncio.Event()

    async def receive() -> Any:
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            stalled.set()
            await asyncio.Event().wait()

    async with opened(settings_of(tmp_path, database_url=usage_url)) as made:
        parts, app = made.parts, application_of(made)
        export = asyncio.create_task(app(_scope(), receive, send))
        async with asyncio.timeout(60):
            await stalled.wait()
            gauge = REPORTER.index("report_exports")
            assert parts.context.block.read_gauge(gauge) == 1
            with pytest.raises(LitestarException):
                await export
        assert parts.context.block.read_gauge(gauge) == 0
        assert made.features.usage.exports.total == 0
        async with asyncio.timeout(60):
            while parts.pool.get_stats().get("pool_available", 0) < parts.pool.get_stats()["pool_size"]:
                await asyncio.sleep(0.02)


async def test_too_many_exports_at_once_are_refused(usage_url: str, tmp_path: Path) -> None:
    """With Retry-After, before anything is sent: 429 for one account, 503 for all; reports still have connections."""
    async with (
        opened(settings_of(tmp_path, database_url=usage_url)) as made,
        client_to(application_of(made)) as client,
    ):
        client.headers["X-API-Key"] = "key-1"
        with contextlib.ExitStack() as held:
            for number in range(EXPORTS.most):
                held.enter_context(
                    made.features.usage.exports.acquire("account 1" if number < EXPORTS.max_per_client else "account 3")
                )
            for key, status, code in (("key-1", 429, "too_many_exports"), ("key-2", 503, "no_export_free")):
                response = await client.get(f"/reports/log?{QUERY.decode()}", headers={"X-API-Key": key})
                assert (response.status_code, response.json()["code"]) == (status, code)
                assert int(response.headers["Retry-After"]) > 0
            assert (await client.get("/reports/summary")).status_code == 200
        assert (await client.get(f"/reports/log?{QUERY.decode()}")).status_code == 200


async def test_nine_readers_of_json_that_stop_lock_nobody_out(
    usage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the pool has connections: a few hold one, the others are refused, and the next caller is served."""
    columns = "now(), repeat('x', 600), '', '', number, number, number, number, 0.5"
    many = f"SELECT {columns} FROM generate_series(1, 20000) AS number"
    monkeypatch.setattr("workers.api.usage.export.load", lambda name: many if name == "reports.usage" else load(name))
    async with live(tmp_path, database_url=usage_url, auth="required") as service:
        loop = asyncio.get_running_loop()
        path = "/reports/usage?granularity=minute&group_by=key&from=2026-03-27&to=2026-03-31"
        async with contextlib.AsyncExitStack() as stack:
            readers = []
            for number in range(1, 10):
                reader = stack.enter_context(tiny_receive_buffer())
                reader.setblocking(False)
                reader.bind((f"127.0.0.{number}", 0))
                await loop.sock_connect(reader, ("127.0.0.1", service.port))
                request = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {ADMIN_KEY}\r\n\r\n"
                await loop.sock_sendall(reader, request.encode())
                readers.append(reader)
            async with asyncio.timeout(30):
                heads = await asyncio.gather(*(loop.sock_recv(reader, 100) for reader in readers))
            statuses = sorted(head.split()[1] for head in heads)
            assert statuses == [b"200"] * EXPORTS.most + [b"503"] * (9 - EXPORTS.most)
            assert service.features.usage.exports.total == EXPORTS.most
            client = await stack.enter_async_context(httpx.AsyncClient(headers={"X-API-Key": "key-1"}, timeout=5))
            for report in ("summary", "top", "log"):
                url = f"{service.url}/reports/{report}?from=2026-03-27&to=2026-03-31"
                assert (await client.get(url)).status_code == 200
        async with asyncio.timeout(30):
            while service.features.usage.exports.total:
                await asyncio.sleep(0.02)


async def test_a_reader_that_drips_is_cut_off() -> None:
    """Only the time that the reader takes counts: a slow database is not their fault."""
    clock = ManualClock(100_000_000_000, 0)

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            clock.now_ns += 100 * SECOND  # of the database
            yield b"x" * READER_BYTES_PER_SECOND_MIN

    async def read(seconds_a_piece: float) -> int:
        received = 0
        async for piece in _read_along(clock, b"first", pieces()):
            received += len(piece)
            clock.now_ns += round(seconds_a_piece * SECOND)
            if received > 1000 * READER_BYTES_PER_SECOND_MIN:
                break
        return received

    assert await read(0.9) > 1000 * READER_BYTES_PER_SECOND_MIN
    with pytest.raises(TimeoutError):
        await read(2.0)


async def test_memory_does_not_grow_with_the_rows(usage_url: str, tmp_path: Path) -> None:
    """36 MB pass through a few MB."""

    async with opened(settings_of(tmp_path, database_url=usage_url)) as made:
        query = Query(
            "reports.log_rows", {}, (Column("number", "integer"), Column("text", "text")), ZoneInfo("UTC"), "log"
        )
        many = "SELECT number, repeat('x', 600) FROM generate_series(1, 60000) AS number"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("workers.api.usage.export.load", lambda name: many if "log_rows" in name else load(name))
            tracemalloc.start()
            size = 0
            async for piece in csv_pieces(made.parts, made.features.usage, query, "account 1"):
                size += len(piece)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert size > 36_000_000
    assert peak < 8_000_000
