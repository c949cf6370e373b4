"""workers/health/heartbeat.py, over a real HTTP receiver."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.clocks import ManualClock
from tests.support.contexts import context_of
from tests.support.node_fixture import CATALOG, NOW_NS, SECOND, busy_node, set_answer, set_process
from trinity.memory.answer_table import AnswerState
from trinity.memory.control import COMMAND, Command
from trinity.memory.node import NodeMemory
from trinity.observe.metrics import HEALTH
from trinity.observe.status import read_node
from workers.health import heartbeat as module
from workers.health.heartbeat import AGAIN_NS, PERIOD_NS, HeartbeatSettings, OutgoingHeartbeat

SECRET = "5f3c-of-this-node"


class Monitor:
    """Who is told: it keeps the paths, and answers as the test says."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.status, self.hangs = 200, False

    async def told(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        if self.hangs:
            await asyncio.sleep(3600)
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


class Beating:
    """A node's heartbeat at a time that the test sets."""

    def __init__(self, memory: NodeMemory, url: str, session: aiohttp.ClientSession) -> None:
        self.memory, self.clock = memory, ManualClock(NOW_NS, -NOW_NS)
        index = [entry.kind for entry in memory.card.processes].index("health")
        self.block = memory.control.block(index)
        log = context_of(memory, index, self.clock).log
        self._heartbeat = OutgoingHeartbeat(HeartbeatSettings(url, None), session, self.clock, self.block, log)

    async def turn(self, after_ns: int = 0) -> None:
        """The fixture's memory stays at its time; the clock alone goes on."""
        self.clock.now_ns += after_ns
        await self._heartbeat.turn(lambda: read_node(self.memory, NOW_NS, ()))

    def gauge(self, name: str) -> float:
        return self.block.read_gauge(HEALTH.index(name))

    def counted(self, result: str) -> int:
        return self.block.read_counter(HEALTH.index("heartbeats_total", result))


@contextlib.asynccontextmanager
async def beating(monitor: Monitor) -> AsyncIterator[Beating]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", monitor.told)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        with busy_node() as memory:
            yield Beating(memory, str(server.make_url(f"/ping/{SECRET}")), session)


async def test_a_monitor_hears_once_a_minute_that_prices_are_fresh() -> None:
    """At once, and not again before its time."""
    monitor = Monitor()
    async with beating(monitor) as node:
        await node.turn()
        await node.turn(PERIOD_NS - SECOND)
        assert monitor.paths == [f"/ping/{SECRET}"]
        await node.turn(SECOND)
        assert len(monitor.paths) == 2
        assert (node.counted("sent"), node.counted("failed"), node.gauge("heartbeat_failing")) == (2, 0, 0.0)


async def test_a_monitor_hears_nothing_while_most_prices_are_stale(caplog: pytest.LogCaptureFixture) -> None:
    """Half of them are not most; that it is silent is told once, and it goes on as soon as they are back."""
    monitor, assets = Monitor(), CATALOG.assets
    async with beating(monitor) as node:
        for asset in assets[: len(assets) // 2]:
            set_answer(node.memory, asset.name, AnswerState.TOO_FEW_SOURCES)
        await node.turn()
        assert len(monitor.paths) == 1
        for asset in assets[: len(assets) // 2 + 1]:
            set_answer(node.memory, asset.name, AnswerState.TOO_FEW_SOURCES)
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                await node.turn(PERIOD_NS)
        assert len(monitor.paths) == 1
        assert node.gauge("heartbeat_withheld") == 1.0
        set_answer(node.memory, assets[0].name)
        await node.turn(SECOND)
        assert len(monitor.paths) == 2
        assert node.gauge("heartbeat_withheld") == 0.0


async def test_a_node_that_shuts_down_or_whose_workers_are_gone_is_silent() -> None:
    """Its prices are fresh, but nobody is answered with them."""
    monitor = Monitor()
    async with beating(monitor) as node:
        worker = next(i for i, entry in enumerate(node.memory.card.processes) if entry.kind == "worker")
        node.memory.control.block(worker).write(COMMAND, Command.DRAIN)
        await node.turn()
        node.memory.control.block(worker).write(COMMAND, Command.RUN)
        for index in (worker, worker + 1):
            set_process(node.memory, index, beat_age_ns=60 * SECOND)
        await node.turn(PERIOD_NS)
        assert monitor.paths == []


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_a_monitor_that_does_not_take_it_is_asked_again_soon_and_nothing_tells_the_address(
    status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A redirect is no answer, and is not followed; the metric is 1 until it is taken."""
    monitor = Monitor()
    monitor.status = status
    async with beating(monitor) as node:
        await node.turn()
        await node.turn(AGAIN_NS - SECOND)
        assert monitor.paths == [f"/ping/{SECRET}"]
        assert (node.gauge("heartbeat_failing"), node.counted("failed")) == (1.0, 1)
        monitor.status = 204
        await node.turn(SECOND)
        assert (node.gauge("heartbeat_failing"), node.counted("sent")) == (0.0, 1)
    assert SECRET not in capfd.readouterr().err


async def test_a_monitor_that_is_away_or_hangs_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the try counts as failed."""
    monkeypatch.setattr(module, "_TRY_SECONDS", 0.2)
    monitor = Monitor()
    monitor.hangs = True
    async with beating(monitor) as node:
        await node.turn()
        assert (node.counted("failed"), node.gauge("heartbeat_failing")) == (1, 1.0)
    with busy_node() as memory:
        async with aiohttp.ClientSession() as session:
            away = Beating(memory, f"http://127.0.0.1:9/{SECRET}", session)
            await away.turn()
            assert away.counted("failed") == 1
