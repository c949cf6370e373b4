"""Pages of single requests out of Valkey: the same as the database's, or the database's."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.valkey_server import ValkeyServer
from tests.trinity.sync.ledger_copy import LedgerCopy, run_sync
from tests.workers.api.conftest import ADMIN_KEY, application_of, client_to, opened, settings_of
from tests.workers.ledger.ledger_fixture import ASSETS, EVENING_NS
from trinity.observe.metrics import REPORTER
from trinity.store.partitions import Retention

EVENING = datetime.fromtimestamp(EVENING_NS / 1e9, UTC)
FROM_VALKEY = REPORTER.index("report_log_pages_total", "valkey")


@pytest.fixture
def ledger_copy(database_url: str) -> Any:
    made = LedgerCopy(database_url)
    yield made
    made.close()


class Both:
    """A service with Valkey and one without, over the same database."""

    def __init__(self, copy: LedgerCopy, server: ValkeyServer, folder: Path) -> None:
        self._runner, self._stack = asyncio.Runner(), contextlib.AsyncExitStack()
        own = settings_of(folder, database_url=copy.url, retention=Retention(93, 36))
        self._clients = [self._runner.run(self._open(one)) for one in (own._replace(cache=server.settings), own)]

    async def _open(self, own: Any) -> httpx.AsyncClient:
        made = await self._stack.enter_async_context(opened(own))
        self.blocks = [*getattr(self, "blocks", []), made.parts.context.block]
        client = await self._stack.enter_async_context(client_to(application_of(made)))
        client.headers["X-API-Key"] = ADMIN_KEY
        return client

    @property
    def from_valkey(self) -> int:
        return int(self.blocks[0].read_counter(FROM_VALKEY))

    def pages(self, parameters: dict[str, Any], most: int = 4) -> list[Any]:
        """The pages of the first service, which are those of the second."""
        found = [self._runner.run(self._walk(client, parameters, most)) for client in self._clients]
        assert found[0] == found[1]
        return found[0]

    async def _walk(self, client: httpx.AsyncClient, parameters: dict[str, Any], most: int) -> list[Any]:
        pages: list[Any] = []
        cursor: dict[str, str] = {}
        while len(pages) < most:
            response = await client.get("/reports/log", params={**parameters, **cursor})
            body = response.json()
            if response.status_code != 200:
                return [*pages, (response.status_code, body["code"])]
            pages.append((response.status_code, body))
            if body["next"] is None:
                break
            cursor = {"cursor": body["next"]}
        return pages

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


@pytest.fixture
def both(ledger_copy: LedgerCopy, valkey_server: ValkeyServer, tmp_path: Path) -> Any:
    for day in range(3):
        ledger_copy.load(600, shift_seconds=-day * 86_400, seed=day)
        ledger_copy.load(200, node=2, ring=1, shift_seconds=-day * 86_400, seed=day)
    made = Both(ledger_copy, valkey_server, tmp_path)
    yield made
    made.close()


SPANS = st.tuples(st.integers(-3 * 86_400, 10), st.integers(1, 2 * 86_400), st.sampled_from([0, 1, 500_000, 999_999]))
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.integers(0, 5),
        "account": st.just("a"),
        "asset": st.sampled_from(["BTC", "ETH", "BTC,ETH", ASSETS[3].decode(), "NONE"]),
        "status": st.sampled_from([200, 404]),
        "limit": st.sampled_from([1, 3, 50, 1000]),
        "tz": st.sampled_from(["UTC", "America/New_York"]),
    },
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(span=SPANS, filters=FILTERS)
def _compare(both: Both, span: tuple[int, int, int], filters: dict[str, Any]) -> None:
    start = EVENING + timedelta(seconds=span[0], microseconds=span[2])
    times = {"from": start.isoformat(), "to": (start + timedelta(seconds=span[1])).isoformat()}
    both.pages({**times, **filters})


def test_every_page_is_the_same_from_both(both: Both, ledger_copy: LedgerCopy, valkey_server: ValkeyServer) -> None:
    """By key, asset, account and time, of any length, at any depth; most of them come out of Valkey."""
    run_sync(ledger_copy.url, valkey_server.settings)
    _compare(both)
    assert both.from_valkey > 50


def _day(**more: Any) -> dict[str, Any]:
    start = EVENING.replace(hour=0, minute=0, second=0) - timedelta(days=1)
    return {"from": start.isoformat(), "to": (start + timedelta(days=1)).isoformat(), **more}


def test_without_a_sync_and_after_late_rows_the_database_answers(
    both: Both, ledger_copy: LedgerCopy, valkey_server: ValkeyServer
) -> None:
    """What came since concerns its own span alone; the next run brings it."""
    both.pages(_day())
    assert both.from_valkey == 0
    run_sync(ledger_copy.url, valkey_server.settings)
    both.pages(_day())
    before = both.from_valkey
    assert before > 0
    ledger_copy.load(5, node=3, shift_seconds=-86_400, seed=8)
    both.pages(_day(), most=1)
    assert both.from_valkey == before
    run_sync(ledger_copy.url, valkey_server.settings)
    both.pages(_day(), most=1)
    assert both.from_valkey == before + 1


@pytest.mark.parametrize("how", ["flush", "pause", "kill", "hash", "foreign", "missing", "stale"])
def test_a_valkey_that_lost_something_is_passed_over_in_silence(
    both: Both, ledger_copy: LedgerCopy, valkey_server: ValkeyServer, how: str
) -> None:
    """Emptied, paused, dead, without one entry, with another database's mark, with a gap, with an old mark."""
    run_sync(ledger_copy.url, valkey_server.settings)
    with valkey_server.admin() as client:
        match how:
            case "hash":
                client.delete(*client.scan_iter("usage_log:*", count=5000))
            case "foreign":
                client.hset("sync:mark", "database", "another")
            case "missing":
                first = int((EVENING - timedelta(days=1)).timestamp())
                client.hset("sync:mark", "missing", f"{first}-{first + 1}")
            case "stale":
                client.hset("sync:mark", "taken_at", "1000")
            case _:
                getattr(valkey_server, how)()
    assert len(both.pages(_day(), most=2)[0][1]["rows"]) == 100
    assert both.from_valkey == 0
    if how == "pause":
        valkey_server.resume()


def test_what_the_ledger_gives_up_is_not_read_from_valkey(
    both: Both, ledger_copy: LedgerCopy, valkey_server: ValkeyServer
) -> None:
    """A span that begins before the first day that is kept is the database's."""
    run_sync(ledger_copy.url, valkey_server.settings)
    old = (datetime.now(UTC) - timedelta(days=93, hours=12)).isoformat()
    for most in ({"key": 1}, {}):
        both.pages({"from": old, "to": EVENING.isoformat(), **most}, most=1)
    assert both.from_valkey == 0
