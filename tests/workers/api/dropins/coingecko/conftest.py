"""The client that CoinGecko's users have, against a reporting service."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pycoingecko import CoinGeckoAPI  # type: ignore[import-untyped]

from tests.workers.api.conftest import unlimited_keys
from tests.workers.api.live import Live, live
from trinity.memory.key_table import KeyTable
from trinity.vocabulary import KeyState

KEY = "key-1"


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


def keys_with(rate: int = 0, burst: int = 0, quota: int = 0) -> KeyTable:
    """`key-1` with these limits."""
    keys = unlimited_keys()
    keys.write(1, hashlib.sha256(KEY.encode()).digest(), KeyState.ACTIVE, rate, burst, quota, False)
    keys.mark_loaded()
    return keys
