"""The resolver process: misses in, rows out; lists once a day; what is hot, twice a second.

    eventfd of the askers   miss queues -> flights.py
    askers                  asking.py, one an exchange
    lists                   listings.py, by the askers
    heat                    hot.py

Rules: it answers nobody itself: it writes the asset table, and wakes who waits. Killed at any moment it leaves a table
that the next one mends; meanwhile workers say that nobody resolves. A task that raises is a bug: it ends the process,
and the supervisor starts a new one.
"""

import asyncio
import functools
import os
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random

import uvloop

from feeds.exchanges.contract import Listed
from feeds.exchanges.registry import EXCHANGE_MODULES, base_urls_of
from feeds.ingest.turns import RestTurns
from feeds.resolver.asking import Asker
from feeds.resolver.budget import Budget
from feeds.resolver.counters import ResolverCounters
from feeds.resolver.flights import Flights, Rest
from feeds.resolver.hot import HotAssets
from feeds.resolver.listings import Listings
from feeds.resolver.market import MarketView
from feeds.resolver.rows import SpareRows
from trinity.cache.address import CacheSettings
from trinity.cache.client import CacheClient
from trinity.clock import NS_PER_SECOND
from trinity.config import FeedsSection
from trinity.limits import FEED_CHECK_SECONDS, HOT_REVIEW_SECONDS, HOT_SLICE_NS, MISS_BUDGET_BURST, MISS_BUDGET_RATE
from trinity.net.egress import Proxies, read_proxies
from trinity.observe.cache_meter import CacheMeter
from trinity.observe.metrics import RESOLVER
from trinity.process import ProcessContext, ResolverMemory

_REVIEW_NS = int(HOT_REVIEW_SECONDS * NS_PER_SECOND)


def run(
    context: ProcessContext,
    memory: ResolverMemory,
    config: FeedsSection,
    data_dir: Path,
    settings: CacheSettings | None,
) -> None:
    """Resolve what the node's processes ask for, until SIGTERM or SIGINT."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(context, memory, config, data_dir, settings))


async def _run(
    context: ProcessContext,
    memory: ResolverMemory,
    config: FeedsSection,
    data_dir: Path,
    settings: CacheSettings | None,
) -> None:
    meter = CacheMeter(context.block, RESOLVER, context.log, context.clock)
    cache = CacheClient.open(settings, context.clock, meter) if settings is not None else None
    resolver = AssetResolver(context, memory, config, data_dir, cache, Random())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, resolver.stop)
    await resolver.serve()
    if cache is not None:
        await cache.close()


class AssetResolver:
    """All of it on one loop; `serve` runs until `stop`."""

    def __init__(
        self,
        context: ProcessContext,
        memory: ResolverMemory,
        config: FeedsSection,
        data_dir: Path,
        cache: CacheClient | None,
        random: Random,
    ) -> None:
        clock, catalog = context.clock, context.catalog
        self._context = context
        self._memory = memory
        self._counters = ResolverCounters(context.block)
        self._listings = Listings(catalog, data_dir)
        proxies = read_proxies(config)
        self.rest = [self._rest_of(name, config, random, proxies) for name in catalog.exchanges]
        self._rows = SpareRows(memory.assets, memory.answers, catalog, simulated=context.simulated)
        self.flights = Flights(
            context,
            catalog.defaults,
            memory.assets,
            self._rows,
            MarketView(memory.prices, memory.answers, catalog),
            self._listings,
            self.rest,
            Budget(MISS_BUDGET_RATE, MISS_BUDGET_BURST, clock.monotonic_ns()),
            memory.wakes.asker_fds,
            self._counters,
            cache,
        )
        self._hot = HotAssets(memory.assets, memory.prices, self._rows, self.flights, self._counters)
        self.turns = 0
        self._review_at_ns = 0
        self._listing: dict[str, asyncio.Task[None]] = {}
        self._stopped = asyncio.Event()

    def _rest_of(self, name: str, config: FeedsSection, random: Random, proxies: Proxies) -> Rest:
        exchange, context = EXCHANGE_MODULES[name], self._context
        turns = RestTurns(self._memory.prices, context.catalog.exchange_index(name), exchange.PROFILE.rest_gap_seconds)
        url = base_urls_of(name, config)[1]
        return Rest(exchange, Asker(exchange, url, context.clock, random, turns, self._counters, proxies))

    @property
    def lists_known(self) -> int:
        """How many exchanges have said what they list."""
        return sum(self._listings.has(name) for name in self._context.catalog.exchanges)

    @property
    def lists_tried(self) -> int:
        """How many were asked for it lately, whatever came of it."""
        due = self._listings.due(self._context.clock.wall_ns())
        return len(self._context.catalog.exchanges) - len(due)

    def stop(self) -> None:
        """Drain: `serve` returns."""
        self._stopped.set()

    async def serve(self) -> None:
        """Take over, then answer until `stop`."""
        context, loop = self._context, asyncio.get_running_loop()
        self._rows.take_over(context.clock.monotonic_ns())
        context.log.info("started", extra={"fields": {"simulated": context.simulated, "rows": len(self._rows)}})
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.flights.close)
            pumps = [asyncio.create_task(rest.asker.run()) for rest in self.rest]
            pumps.append(asyncio.create_task(self._decide_hot()))
            stack.push_async_callback(_cancel, pumps)
            loop.add_reader(self._memory.wakes.resolver_fd, self._take_misses)
            stack.callback(loop.remove_reader, self._memory.wakes.resolver_fd)
            self._take_misses()  # what was asked before this process lived
            while not self._stopped.is_set():
                for pump in pumps:
                    if pump.done():
                        pump.result()
                self._turn()
                await _wait(self._stopped, FEED_CHECK_SECONDS)
            stack.push_async_callback(_cancel, list(self._listing.values()))

    def _turn(self) -> None:
        clock = self._context.clock
        now_ns = clock.monotonic_ns()
        self.turns += 1
        self._context.block.beat(now_ns)
        self._memory.assets.beat(now_ns)
        self._ask_for_lists(clock.wall_ns())
        if now_ns - self._review_at_ns >= _REVIEW_NS:
            self._review_at_ns = now_ns
            self._hot.turn(now_ns)

    async def _decide_hot(self) -> None:
        """A quarter of a core at most, so that who waits for a name waits for milliseconds of it."""
        now_ns = self._context.clock.monotonic_ns
        while True:
            ends_ns = now_ns() + HOT_SLICE_NS
            while now_ns() < ends_ns and self._hot.decide_next(now_ns()):
                pass
            await asyncio.sleep(3 * HOT_SLICE_NS / NS_PER_SECOND)

    def _take_misses(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._memory.wakes.resolver_fd)
        for asker in range(self._memory.misses.count):
            for miss in self._memory.misses.take(asker):
                self._counters.miss()
                self.flights.want(miss.name, asker)

    def _ask_for_lists(self, wall_ns: int) -> None:
        for index, name in enumerate(self._context.catalog.exchanges):
            self._counters.listing_age(name, self._listings.age_seconds(name, wall_ns))
            if name in self._listings.due(wall_ns) and name not in self._listing:
                self._listing[name] = task = asyncio.create_task(self._list(name, self.rest[index].asker))
                task.add_done_callback(functools.partial(self._listed, name))

    def _listed(self, name: str, task: "asyncio.Task[None]") -> None:
        del self._listing[name]
        if not task.cancelled():
            task.result()

    async def _list(self, name: str, asker: Asker) -> None:
        listed = await asker.listing()
        wall_ns = self._context.clock.wall_ns()
        if not isinstance(listed, Listed):
            self._listings.put_off(name, wall_ns)
            fields = {"exchange": name, "reason": listed.reason, "detail": listed.detail[:200]}
            self._context.log.warning("an exchange's list could not be had", extra={"fields": fields})
            return
        try:
            self._listings.put(name, listed, wall_ns)
        except OSError as error:
            self._context.log.warning("a list could not be kept", extra={"fields": {"error": str(error)}})


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
