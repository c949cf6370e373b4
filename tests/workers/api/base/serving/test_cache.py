"""Answers remembered: in the process, in Valkey, and what happens without one."""

import socket
from pathlib import Path

import pytest

from tests.support.clocks import ManualClock
from tests.support.node_fixture import SECOND, empty_node
from tests.workers.api.conftest import client_to, service, settings_of
from trinity.cache.address import cache_settings
from trinity.cache.client import CacheClient
from trinity.observe.metrics import REPORTER
from workers.api.base.serving.cache import ANSWER_BYTES_MAX, Cache, name_of

RESULTS = {result: REPORTER.index("report_cache_total", result) for result in ("hit", "miss", "unreachable")}


def hand_clock() -> ManualClock:
    """A clock that is moved by hand."""
    return ManualClock(100 * SECOND, 0)


async def test_an_answer_is_shared_through_valkey(valkey_url: str) -> None:
    """Another process finds it; it ends by itself; hits and misses are counted."""
    with empty_node() as memory:
        block, clock = memory.control.block(0), hand_clock()
        client = CacheClient.open(cache_settings(valkey_url), clock)
        first, second = Cache(client, clock, block), Cache(client, clock, block)
        assert await first.get(b"shared?") is None
        await first.set(b"shared?", b"yes", 60)
        assert await second.get(b"shared?") == b"yes"
        assert [block.read_counter(RESULTS[name]) for name in ("hit", "miss", "unreachable")] == [1, 1, 0]
        assert 0 < (await client.run([("TTL", name_of(b"shared?"))]))[0] <= 60
        await client.close()


async def test_without_valkey_a_second_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the process's own memory, bounded; large answers are not kept."""
    monkeypatch.setattr("workers.api.base.serving.cache.OWN_ANSWERS_MAX", 2)
    with empty_node() as memory:
        clock = hand_clock()
        cache = Cache(None, clock, memory.control.block(0))
        for question in (b"1", b"2", b"3"):
            await cache.set(question, b"a" + question, 60)
        await cache.set(b"large", b"x" * (ANSWER_BYTES_MAX + 1), 60)
        assert [await cache.get(question) for question in (b"1", b"2", b"3", b"large")] == [None, b"a2", b"a3", None]
        clock.now_ns += SECOND
        assert await cache.get(b"3") is None


async def test_an_unreachable_valkey_is_no_error() -> None:
    """It is counted; what this process remembers itself is answered all the same."""
    with empty_node() as memory, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        block, clock = memory.control.block(0), hand_clock()
        client = CacheClient.open(cache_settings(f"valkey://127.0.0.1:{nobody.getsockname()[1]}"), clock)
        cache = Cache(client, clock, block)
        for _ in range(5):
            assert await cache.get(b"?") is None
        await cache.set(b"?", b"!", 60)
        assert block.read_counter(RESULTS["unreachable"]) == 6
        assert not client.is_up
        assert await cache.get(b"?") == b"!"


async def test_reports_come_from_valkey_where_it_holds_them(valkey_url: str, usage_url: str, tmp_path: Path) -> None:
    """What one process answered, another answers without the database; to nobody else's question."""
    settings = settings_of(tmp_path, database_url=usage_url, cache=cache_settings(valkey_url))
    span = {"from": "2026-03-27T05:17:00Z", "to": "2026-03-30T21:43:00Z"}
    paths = ("summary", "usage", "top", "latency", "errors")
    answers: dict[str, bytes] = {}
    async with service(settings) as (_, app), client_to(app) as client:
        for path in paths:
            answer = await client.get(f"/reports/{path}", params=span, headers={"X-API-Key": "key-1"})
            assert answer.status_code == 200
            answers[path] = answer.content
    async with service(settings) as (parts, app), client_to(app) as client:
        for key in ("key-1", "key-2"):  # known from now on for a second
            assert (await client.get("/account", headers={"X-API-Key": key})).status_code == 200
        await parts.pool.close()
        for path in paths:
            answer = await client.get(f"/reports/{path}", params=span, headers={"X-API-Key": "key-1"})
            assert answer.content == answers[path]
            other = await client.get(f"/reports/{path}", params=span, headers={"X-API-Key": "key-2"})
            assert other.status_code == 503
            other_zone = {**span, "tz": "Europe/Berlin"}
            other = await client.get(f"/reports/{path}", params=other_zone, headers={"X-API-Key": "key-1"})
            assert other.status_code == 503
        assert parts.context.block.read_counter(RESULTS["hit"]) == len(paths)
