"""A resolver in this process, over shared memory of its own, against running simulated exchanges."""

import asyncio
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from feeds.resolver.process import AssetResolver
from feeds.simulator.beyond import FURTHER_ASSETS, further_markets
from feeds.simulator.server import Simulator
from tests.support.contexts import OpenContext
from tests.support.quotes import stored_quote
from trinity.cache.client import CacheClient
from trinity.config import FeedsSection
from trinity.markets import load_catalog
from trinity.memory.answer_table import AnswerState
from trinity.memory.asset_table import AssetCell, name_words
from trinity.memory.miss_queue import MissQueues, MissWakes, ask_for
from trinity.observe.metrics import RESOLVER
from trinity.process import ResolverMemory
from trinity.vocabulary import CODES

CATALOG = load_catalog()
DEADLINE_SECONDS = 60.0


def markets_by_asset() -> dict[str, list[str]]:
    """The exchanges of each further asset."""
    found: dict[str, list[str]] = {name: [] for name in FURTHER_ASSETS}
    for market in further_markets(CATALOG):
        found[market.asset].append(market.exchange)
    return found


ON = markets_by_asset()
ON_ALL = [name for name, exchanges in ON.items() if len(exchanges) == 6]
ON_TWO = [name for name, exchanges in ON.items() if len(exchanges) == 2]


class Bench:
    """A resolver that this test asks as worker 0 would."""

    def __init__(self, context: OpenContext, simulator: Simulator, data_dir: Path, http: aiohttp.ClientSession) -> None:
        self.context = context
        self.simulator = simulator
        self.data_dir = data_dir
        self.http = http
        self.misses = MissQueues.private(1)
        self.wakes = MissWakes.create(self.misses.count)
        self.memory = ResolverMemory(context.prices, context.answers, context.memory.assets, self.misses, self.wakes)
        self.resolver: AssetResolver
        self._serving: asyncio.Task[None] | None = None

    async def start(self, cache: CacheClient | None = None, *, with_lists: bool = True) -> None:
        """Start the resolver; `with_lists` waits until it knows what each exchange lists."""
        address = f"http://127.0.0.1:{self.simulator.port}"
        config = FeedsSection(simulated=True, rest_base_urls={name: f"{address}/{name}" for name in CATALOG.exchanges})
        self.resolver = AssetResolver(self.context, self.memory, config, self.data_dir, cache, Random(1))
        self._serving = asyncio.create_task(self.resolver.serve())
        if with_lists:
            await self.until(lambda: self.resolver.lists_known == len(CATALOG.exchanges))
            await self.until(self.all_have_their_turn)

    def all_have_their_turn(self) -> bool:
        """No exchange's gap or back-off keeps a question waiting."""
        now_ns = self.context.clock.monotonic_ns()
        return all(rest.asker.wait_ns(now_ns) == 0 for rest in self.resolver.rest)

    async def stop(self) -> None:
        if self._serving is not None:
            self.resolver.stop()
            await self._serving
            self._serving = None

    async def kill(self) -> None:
        """As kill -9 would: nothing is put in order."""
        assert self._serving is not None
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        self._serving = None

    def forget(self) -> None:
        """Empty the asset table and the rows, as those of another node are."""
        assets, now_ns = self.context.memory.assets, self.context.clock.monotonic_ns()
        for cell in assets.named():
            assets.free(cell.cell, now_ns)

    def put(self, name: str, asker: int = 0) -> None:
        """Ask, and wait for nothing."""
        now_ns = self.context.clock.monotonic_ns()
        assert ask_for(self.misses.queue(asker), name_words(name), 0, now_ns)
        os.eventfd_write(self.wakes.resolver_fd, 1)

    async def ask(self, name: str) -> None:
        """Ask as a worker does, and wait until woken for this name."""
        self.put(name)
        await self.until(lambda: self.is_decided(name))

    def is_decided(self, name: str) -> bool:
        now_ns = self.context.clock.monotonic_ns()
        cell = self.cell(name)
        return self.code(name) != "ok" or (cell is not None and now_ns < cell.valid_until_ns)

    def cell(self, name: str) -> AssetCell | None:
        return self.context.memory.assets.find(name)

    def code(self, name: str) -> str:
        """What the name is refused with now."""
        return CODES[self.context.memory.assets.refusal(name, self.context.clock.monotonic_ns())]

    def row(self, name: str, exchange: str | None = None) -> Any:
        """The record of a name's row."""
        cell = self.cell(name)
        assert cell is not None, f"{name} has no cell: {self.code(name)}"
        column = None if exchange is None else CATALOG.exchanges.index(exchange)
        record = self.context.answers.read(self.context.answers.row_of(len(CATALOG.assets) + cell.cell, column))
        assert record is not None
        return record[0]

    def state(self, name: str, exchange: str | None = None) -> AnswerState:
        return AnswerState(int(self.row(name, exchange)["state"]))

    def body(self, name: str, exchange: str | None = None) -> str:
        row = self.row(name, exchange)
        return bytes(row["body"][: int(row["body_length"])]).decode()

    def counter(self, name: str, *labels: str) -> int:
        return self.context.block.read_counter(RESOLVER.index(name, *labels))

    def outcomes(self) -> dict[str, int]:
        found = {outcome: self.counter("asset_flights_total", outcome) for outcome in OUTCOMES}
        return {outcome: count for outcome, count in found.items() if count}

    async def asked_over_rest(self) -> dict[str, int]:
        """Questions that each simulated exchange has counted."""
        async with self.http.get(f"http://127.0.0.1:{self.simulator.port}/") as answer:
            described = await answer.json()
        return {name: fields["rest_requests"] for name, fields in described["exchanges"].items()}

    async def fault(self, **fields: Any) -> None:
        async with self.http.post(f"http://127.0.0.1:{self.simulator.port}/faults", json=fields) as answer:
            assert answer.status == 201, await answer.text()

    async def clear_faults(self) -> None:
        async with self.http.delete(f"http://127.0.0.1:{self.simulator.port}/faults") as answer:
            assert answer.status == 200

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                await asyncio.sleep(0.005)

    def coins_are_measured(self) -> None:
        """Four exchanges say USDT/USD now, as their feeds would have written it."""
        clock, prices = self.context.clock, self.context.prices
        bid, ask = Decimal("0.99970"), Decimal("0.99971")
        for market in CATALOG.markets:
            if (market.asset, market.quote) == ("USDT", "USD"):
                quote = stored_quote(bid, ask, bid, None, clock.monotonic_ns(), clock.wall_ns())
                prices.write(CATALOG.exchange_index(market.exchange), CATALOG.asset_index("USDT"), quote)


OUTCOMES = ("known", "cache", "rest", "refused", "unknown", "busy", "budget", "full", "failed")
