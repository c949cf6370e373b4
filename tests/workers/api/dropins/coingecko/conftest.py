"""The client that CoinGecko's users have, against a reporting service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pycoingecko import CoinGeckoAPI  # type: ignore[import-untyped]

from tests.workers.api.live import Live, live


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Live]:
    """Without a database: 71,002.5 USD for everything."""
    async with live(tmp_path) as running:
        yield running


def client_of(url: str, **arguments: Any) -> Any:
    """The real client; only its base URL is changed."""
    client = CoinGeckoAPI(**arguments)
    client.api_base_url = f"{url}/api/v3/"
    return client


async def ask(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """A blocking client's call, while the service of the test goes on."""
    return await asyncio.to_thread(call, *arguments, **named)
