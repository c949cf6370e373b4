"""Calls: ids, the rows of report_usage_log, the bound of what waits, and readers that stop."""

import asyncio
import ipaddress
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.trinity.node_fixture import empty_node
from tests.workers.reports.conftest import service, settings_of
from trinity.clock import SystemClock
from trinity.metrics import REPORTER
from workers.reports import calls
from workers.reports.calls import AccountedApp, Call, CallLog


def _call(path: str) -> Call:
    return Call(datetime.now(UTC), uuid.uuid4(), None, None, path, 200, 1, 1, ipaddress.ip_address("::1"))


async def _no_database() -> Any:
    raise psycopg.OperationalError("down")


async def test_rows_wait_for_the_database_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is lost and counted; a call never fails."""
    monkeypatch.setattr(calls, "ROWS_WAITING_MAX", 3)
    with empty_node() as memory:
        block = memory.control.block(0)
        log = CallLog(block, _no_database)
        for number in range(5):
            log.add(_call(f"/{number}"))
        assert block.read_counter(REPORTER.index("report_log_lost_total")) == 2
        with pytest.raises(psycopg.OperationalError):
            await log.write_waiting()
        assert [row.path for row in log._rows] == ["/2", "/3", "/4"]


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
        app = AccountedApp(endless, parts.calls, SystemClock(), parts.seat.log)
        scope: Any = {"type": "http", "path": "/x", "client": ("127.0.0.1", 1), "headers": []}
        with pytest.raises(TimeoutError):
            await app(scope, lambda: asyncio.Event().wait(), stalled)  # type: ignore[arg-type, return-value]
        assert closed.is_set()
        assert [(row.path, row.status, row.bytes) for row in parts.calls._rows] == [("/x", 200, 1000)]
