"""A resolver in this process, over shared memory of its own, against running simulated exchanges."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from feeds.simulator.server import Simulator
from tests.feeds.resolver.asked_resolver import CATALOG, Bench
from tests.support.contexts import open_context
from trinity.config import SimulatorSection


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Not started yet: a test says with which cache."""
    with open_context("resolver", "resolver", CATALOG) as context:
        section = SimulatorSection(quotes_per_second=50)
        async with (
            Simulator(CATALOG, section, "127.0.0.1", context.clock, context.log) as simulator,
            aiohttp.ClientSession() as http,
        ):
            bench = Bench(context, simulator, tmp_path, http)
            bench.coins_are_measured()
            try:
                yield bench
            finally:
                await bench.stop()
