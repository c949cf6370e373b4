"""The REST pump against a real HTTP server on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from feeds.ingest.counters import FeedCounters
from feeds.ingest.rest import RestPump, due_rows
from feeds.ingest.rows import Rows
from tests.support.contexts import OpenContext
from trinity.backoff import Backoff
from trinity.clock import NS_PER_SECOND
from trinity.memory.price_table import Via
from trinity.observe.metrics import FEED

Until = Callable[..., Awaitable[None]]


class Pump:
    """A running pump and its rows, all of which want REST."""

    def __init__(self, context: OpenContext, venue: Any, exchange: Any) -> None:
        self.context = context
        counters = FeedCounters(context.block, context.log, context.clock.monotonic_ns())
        self.rows = Rows(context, context.of_feed, "kraken", exchange, counters)
        for row in self.rows:
            row.wants_rest = True
        self.backoff = Backoff(Random(1), 0.1, reset_seconds=0)
        self.pump = RestPump(context, context.wake_fd, exchange, venue.rest_base, self.rows, counters, self.backoff)
        self.task = asyncio.create_task(self.pump.run())

    def results(self, result: str) -> int:
        return self.context.block.read_counter(FEED.index("rest_requests_total", result))


@pytest.fixture
async def start(
    make_context: Callable[..., OpenContext], venue: Any, stub_exchange: Any
) -> AsyncIterator[Callable[[], Pump]]:
    pumps: list[Pump] = []

    def make() -> Pump:
        pumps.append(Pump(make_context(), venue, stub_exchange))
        return pumps[-1]

    yield make
    for pump in pumps:
        pump.task.cancel()
        await asyncio.gather(pump.task, return_exceptions=True)


def row(name: str, age_seconds: float, max_age_seconds: float, wants_rest: bool = True) -> Any:
    return SimpleNamespace(
        symbol=name,
        wants_rest=wants_rest,
        asked_at_ns=-int(age_seconds * NS_PER_SECOND),
        max_age_ns=int(max_age_seconds * NS_PER_SECOND),
    )


def test_the_most_urgent_row_comes_first_and_nobody_is_asked_too_often() -> None:
    """Urgency is the time since the last asking in age limits; one is due after a fifth, half-way due ones go along."""
    idle = [row("fresh", 1.9, 10), row("live", 99, 10, wants_rest=False)]
    assert due_rows(idle, 0) == []
    rows = [*idle, row("old", 7, 30), row("just asked", 0.9, 10), row("major", 4, 10)]
    assert [due.symbol for due in due_rows(rows, 0)] == ["major", "old", "fresh"]


async def test_rows_that_want_rest_are_written_by_rest(venue: Any, start: Any, until: Until) -> None:
    """One GET for all of them, the quotes in the table say REST, the consensus is woken."""
    pump = start()
    await until(lambda: pump.results("ok") == 1)
    assert all(pump.context.prices.read(0, asset).via is Via.REST for asset in range(3))
    assert venue.rest_paths == ["/ticker?symbols=BTC-USD,ETH-USD,SOL-USD"]


async def test_nothing_is_asked_when_no_row_wants_it(venue: Any, start: Any, until: Until) -> None:
    """REST is only used for a row whose WebSocket cannot be trusted: the one that wants it is asked for, alone."""
    pump = start()
    for one in pump.rows:
        one.wants_rest = one.symbol == "ETH-USD"
    await until(lambda: pump.results("ok") == 2)
    assert set(venue.rest_paths) == {"/ticker?symbols=ETH-USD"}


async def test_a_429_is_honoured(venue: Any, start: Any, until: Until) -> None:
    """Counted as rate_limited, and the next request waits as long as Retry-After says."""
    venue.rest_status, venue.rest_headers = 429, {"Retry-After": "50"}
    pump = start()
    await until(lambda: pump.results("rate_limited") == 1)
    wait_seconds = (pump.backoff.due_ns - pump.context.clock.monotonic_ns()) / NS_PER_SECOND
    assert 40 < wait_seconds <= 50.5
    assert len(venue.rest_paths) == 1


async def test_a_server_error_backs_off_and_recovers(venue: Any, start: Any, until: Until) -> None:
    """500s count as failed and raise the failures; one good answer clears them."""
    venue.rest_status = 500
    pump = start()
    await until(lambda: pump.results("failed") >= 2)
    assert pump.backoff.failures >= 2
    venue.rest_status = 200
    await until(lambda: pump.results("ok") >= 1)
    assert pump.backoff.failures == 0


async def test_a_dead_server_is_a_failure_not_an_exception(venue: Any, start: Any, until: Until) -> None:
    """Nobody listens: counted as failed, the pump goes on."""
    venue.rest_base = "http://127.0.0.1:1"
    pump = start()
    await until(lambda: pump.results("failed") >= 1)
    assert not pump.task.done()


async def test_an_unknown_symbol_that_refuses_all_is_found(venue: Any, start: Any, until: Until) -> None:
    """After a refusal of all, each symbol is asked alone; the unknown one is left out, the others go on together."""
    venue.rest_unknown = "ETH-USD"
    pump = start()
    await until(lambda: venue.rest_paths[-1:] == ["/ticker?symbols=BTC-USD,SOL-USD"], 20)
    assert pump.results("refused") == 1
    assert pump.context.prices.read(0, 2).via is Via.REST


async def test_a_body_beyond_the_limit_is_refused(venue: Any, start: Any, until: Until) -> None:
    """It is counted as too_large and not decoded."""
    venue.rest_padding = 5 * 1024 * 1024
    pump = start()
    await until(lambda: pump.results("refused") >= 1)
    assert pump.context.block.read_counter(FEED.index("parse_errors_total", "too_large")) >= 1
    assert pump.context.prices.read(0, 0) is None
