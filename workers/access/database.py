"""What the access process asks PostgreSQL: all keys, those that changed since a time, plans, blocks, news.

Rules: the only file of this room with SQL. Keys come in chunks of one value each, so that no answer takes long and no
key costs a line of Python. A notification says what changed (`Change`); one that is not understood stands for
everything.
"""

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import psycopg

from trinity.store.connect import bounded
from trinity.store.queries import load
from trinity.store.watch import Watch
from workers.access.rows import BlockRow, PlanRow, Rows, key_rows

AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]

# 3 MB and 0.1 s a chunk; 20,000 made a million keys a third slower.
KEYS_A_CHUNK = 50_000
# The longest statement here takes 0.2 s; a database that is slower by 50 times is down.
STATEMENT_SECONDS = 10
CHANNEL = "access"

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Change(NamedTuple):
    """What a round of notifications asks for. `keys_since_us`: of keys only those that changed since then."""

    plans: bool = False
    blocks: bool = False
    everything: bool = False
    keys_since_us: int | None = None


async def connect(url: str, watch: Watch) -> AsyncConnection:
    """A connection that hears of every change from now on, guarded by `watch`; psycopg.Error."""
    connection = await psycopg.AsyncConnection.connect(bounded(url, "access", STATEMENT_SECONDS), autocommit=True)
    watch.guard(connection)
    connection.prepare_threshold = None  # all keys and the newest want different indexes, so no plan fits both
    await connection.execute(f"LISTEN {CHANNEL}")
    return connection


async def read_keys(connection: AsyncConnection, since_us: int | None) -> AsyncIterator[Rows]:
    """All keys, or those that changed since, by id."""
    since = None if since_us is None else _EPOCH + datetime.timedelta(microseconds=since_us)
    after = 0
    while True:
        parameters = {"after": after, "since": since, "count": KEYS_A_CHUNK}
        ((raw, last),) = await _ask(connection, "access.keys", parameters)
        if raw is None:
            return
        rows = key_rows(raw)
        yield rows
        if len(rows) < KEYS_A_CHUNK:
            return
        after = last


async def read_plans(connection: AsyncConnection) -> tuple[PlanRow, ...]:
    return tuple(PlanRow(*row) for row in await _ask(connection, "access.plans"))


async def read_blocks(connection: AsyncConnection) -> tuple[BlockRow, ...]:
    return tuple(BlockRow(*row) for row in await _ask(connection, "access.blocks"))


async def wait_for_change(connection: AsyncConnection, seconds: float) -> Change | None:
    """What was notified since the last call, at once or within `seconds`; None when nothing was."""
    payloads = [notify.payload async for notify in connection.notifies(timeout=seconds, stop_after=1)]
    if not payloads:
        return None
    return what_changed(payloads)


def what_changed(payloads: list[str]) -> Change:
    """All that these payloads (`<table> <operation> <microseconds>`) ask for together."""
    plans = blocks = everything = False
    since: list[int] = []
    for payload in payloads:
        match payload.split(" "):
            case ["plans", *_]:
                plans = True
            case ["blocks", *_]:
                blocks = True
            case ["api_keys", "INSERT" | "UPDATE", micros] if (
                micros.isascii() and micros.isdigit() and len(micros) < 17
            ):
                since.append(int(micros))
            case _:
                everything = True
    return Change(plans, blocks, everything, min(since, default=None))


async def _ask(
    connection: AsyncConnection, name: str, parameters: dict[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    """All rows of a statement; TimeoutError when the server is silent: one that was stopped keeps no time itself."""
    async with asyncio.timeout(STATEMENT_SECONDS + 1):
        cursor = await connection.cursor(binary=True).execute(load(name), parameters)
        return await cursor.fetchall()
