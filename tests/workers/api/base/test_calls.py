"""Calls: ids, the rows of report_usage_log, the bound of what waits, and readers that stop."""

import asyncio
import ipaddress
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import SOCK_DGRAM
from typing import Any

import httpx
import psycopg
import pytest
import websockets
from websockets.asyncio.client import connect

from tests.support.node_fixture import empty_node
from tests.workers.api.conftest import ADMIN_KEY, client_to, service, settings_of
from tests.workers.api.live import live
from trinity.clock import SystemClock
from trinity.net.ports import bind_socket
from trinity.observe.metrics import REPORTER
from trinity.store.partitions import ensure_days
from workers.api.base import calls
from workers.api.base.calls import AccountedApp, Call, CallLog, _copy
from workers.api.usage.datagram import ReportDatagrams


def _call(path: str, status: int = 200, latency_us: int = 1) -> Call:
    return Call(datetime.now(UTC), uuid.uuid4(), None, None, path, status, latency_us, 1, ipaddress.ip_address("::1"))


def _rows(url: str, columns: str = "path, status") -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            f"SELECT {columns} FROM report_usage_log WHERE path <> '/openapi.json' ORDER BY time"
        ).fetchall()


def _make_room(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE report_calls PARTITION OF report_usage_log DEFAULT")


async def _no_database() -> Any:
    raise psycopg.OperationalError("down")


async def test_rows_wait_for_the_database_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is lost and counted; a call never fails."""
    monkeypatch.setattr(calls, "ROWS_WAITING_MAX", 3)
    with empty_node() as memory:
        block = memory.control.block(0)
        log = CallLog(block, _no_database, SystemClock())
        for number in range(5):
            log.add(_call(f"/{number}"))
        assert block.read_counter(REPORTER.index("report_log_lost_total")) == 2
        with pytest.raises(psycopg.OperationalError):
            await log.write_waiting()
        assert [row.path for row in log._rows] == ["/2", "/3", "/4"]


def test_a_flood_of_refusals_without_a_key_has_few_rows() -> None:
    """Of each second the first ones; the next that has a row says how many had none. Who is known has a row each."""
    with empty_node() as memory:
        block = memory.control.block(0)
        log = CallLog(block, _no_database, SystemClock())
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        for _ in range(1000):
            log.add(_call("/x", 401)._replace(time=moment))
        for _ in range(20):
            log.add(_call("/known", 429)._replace(time=moment), is_known=True)
            log.add(_call("/good", 200)._replace(time=moment))
        log.add(_call("/next", 404)._replace(time=moment + timedelta(seconds=1)))
        assert [row.weight for row in log._rows if row.path == "/x"] == [1] * calls.REFUSALS_A_SECOND
        assert [row.weight for row in log._rows if row.path in ("/known", "/good")] == [1] * 40
        assert [row.weight for row in log._rows if row.path == "/next"] == [1001 - calls.REFUSALS_A_SECOND]
        assert block.read_counter(REPORTER.index("report_requests_total", "4xx")) == 1021


async def test_a_key_in_a_path_is_stored_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A call's path is its route's template, and `unknown` where there is no route; also when a handler fails."""
    key = "trk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
    async with service(settings_of(tmp_path, auth="optional")) as (parts, app), client_to(app) as client:
        for path in (f"/{key}", f"/reports/{key}", f"/history/{key}", f"/api/v3/coins/{key}/market_chart"):
            await client.get(path)
        stored = {row.path for row in parts.calls._rows}
    assert stored <= {"unknown", "/history/{asset}", "/api/v3/coins/{coin_id}/market_chart"}
    assert len(stored) > 1
    assert key not in caplog.text


async def test_a_reader_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The response ends with an error, so whatever it held is free."""
    monkeypatch.setattr(calls, "STALL_SECONDS", 0.05)
    closed = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        finally:
            closed.set()

    async def stalled(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async with service(settings_of(tmp_path)) as (parts, _):
        app = AccountedApp(endless, parts.calls, parts.callers, SystemClock(), parts.context.log)
        scope: Any = {"type": "http", "path": "/x", "client": ("127.0.0.1", 1), "headers": []}
        with pytest.raises(TimeoutError):
            await app(scope, lambda: asyncio.Event().wait(), stalled)  # type: ignore[arg-type, return-value]
        assert closed.is_set()
        assert [(row.path, row.status, row.bytes) for row in parts.calls._rows] == [("unknown", 200, 1000)]


async def test_a_row_that_the_database_never_takes_holds_up_no_other(database_url: str) -> None:
    """It is lost and counted; a stream of a month is a row like any other."""
    with empty_node() as memory:
        block = memory.control.block(0)
        log = CallLog(block, lambda: psycopg.AsyncConnection.connect(database_url), SystemClock())
        month_us = 30 * 86400 * 10**6
        for row in (
            _call("/1"),
            _call("/2", latency_us=month_us),
            _call("/bad", status=70_000),
            _call("/4"),
            _call("/5"),
        ):
            log._rows.append(row)
        await log.write_waiting()  # no day has a table yet: nothing is lost
        assert len(log._rows) == 5
        _make_room(database_url)
        await log.write_waiting()
        assert not log._rows
        assert sorted(_rows(database_url)) == [(path, 200) for path in ("/1", "/2", "/4", "/5")]
        assert block.read_counter(REPORTER.index("report_log_lost_total")) == 1


async def test_a_day_without_a_table_costs_one_try_however_many_rows_wait(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows wait together, behind those of a day that has one."""
    day = datetime.now(UTC).replace(hour=12)
    with psycopg.connect(database_url) as connection:
        ensure_days(connection, [day.date()])
    tried = []

    async def copy(connection: Any, rows: list[Call]) -> None:
        tried.append(len(rows))
        await _copy(connection, rows)

    monkeypatch.setattr(calls, "_copy", copy)
    with empty_node() as memory:
        log = CallLog(memory.control.block(0), lambda: psycopg.AsyncConnection.connect(database_url), SystemClock())
        late = [_call("/late")._replace(time=day + timedelta(days=400)) for _ in range(100)]
        log._rows.extend([*late, *(_call("/in time")._replace(time=day) for _ in range(10))])
        await log.write_waiting()
        assert tried == [100, 10]
        assert list(log._rows) == late
        assert _rows(database_url) == [("/in time", 200)] * 10


async def test_a_database_without_the_table_is_waited_for(empty_database_url: str) -> None:
    """Its tables are being made: no row is lost."""
    with empty_node() as memory:
        log = CallLog(
            memory.control.block(0), lambda: psycopg.AsyncConnection.connect(empty_database_url), SystemClock()
        )
        log.add(_call("/1"))
        with pytest.raises(psycopg.errors.UndefinedTable):
            await log.write_waiting()
        assert len(log._rows) == 1


async def test_every_call_has_its_row(database_url: str, tmp_path: Path) -> None:
    """HTTP, HEAD, UDP, a WebSocket and a refused one, and a path of bytes that are no text."""
    _make_room(database_url)
    async with live(tmp_path, database_url=database_url, auth="required") as service:
        parts, loop = service.parts, asyncio.get_running_loop()
        admin = {"X-API-Key": ADMIN_KEY}
        async with httpx.AsyncClient(base_url=service.url) as client:
            account = await client.get("/account", headers=admin)
            head = await client.head("/account", headers=admin)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["Content-Length"] == account.headers["Content-Length"]
            await client.get("/%ff")
        async with connect(f"ws://127.0.0.1:{service.port}/ws", additional_headers=admin) as socket:
            await socket.send('{"type":"ping","id":"ü"}')
            pong = await socket.recv()
        with pytest.raises(websockets.exceptions.InvalidStatus):
            await connect(f"ws://127.0.0.1:{service.port}/ws")
        bound = bind_socket("127.0.0.1", 0, SOCK_DGRAM)
        endpoint = ReportDatagrams(parts, bound)
        asking, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=bound.getsockname())
        asking.sendto(b'{"report":"summary","api_key":"%s"}' % ADMIN_KEY.encode())
        asking.sendto(b'{"report":"summary","api_key":"wrong"}')
        async with asyncio.timeout(60):
            while len(rows := _rows(database_url, "path, status, bytes, host(address)")) < 8:
                await asyncio.sleep(0.05)
        endpoint.close()
        asking.close()
    found = {(path, status): sent for path, status, sent, address in rows if address == "127.0.0.1"}
    del found["/account", 200]
    del found["/openapi/{name}", 200]  # by which the fixture knows that the service is up
    assert found.pop(("/ws", 101)) == len(pong.encode() if isinstance(pong, str) else pong)
    assert set(found) == {("unknown", 404), ("/ws", 401), ("udp:summary", 200), ("udp:summary", 401)}
    assert all(sent > 50 for sent in found.values())
    assert sorted(sent for path, _, sent, _ in rows if path == "/account") == [0, len(account.content)]
