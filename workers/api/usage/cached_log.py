"""Pages of single requests out of Valkey, where the sync job has brought all that a page needs (trinity/sync/).

    held       by the mark: the seconds of the span are there, and nothing of them came to the database since
    a page     by key, by asset or by time: one sorted set each; several are merged
    not held   None, and the database is asked: a status, a key and an asset together, callers without a key

Rules: the same rows as the database gives, in the same order, or None. The mark is read before and after: whatever
moves it meanwhile makes the page the database's. What is older than the ledger keeps is never read. Names of accounts
may change, so they come from the database; and so does the word that nothing came since.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from trinity.cache.client import CacheClient
from trinity.cache.keys import (
    DAY_SECONDS,
    SYNC_MARK,
    SYNC_MARK_OF,
    USAGE_LOG,
    USAGE_LOGS,
    USAGE_LOGS_OF_ASSET,
    USAGE_LOGS_OF_KEY,
    USAGE_SECONDS,
)
from trinity.cache.slots import Command
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.store.queries import load
from trinity.sync.entries import usage_uuid
from trinity.sync.intervals import touches
from trinity.sync.mark import Mark, read_mark
from workers.api.base.context import Parts

# A page of 1,000 entries takes 10 ms; the database takes as long.
_SECONDS_MAX = 0.25
# Sets that are merged for one page.
_SETS_MAX = 16
# Entries of one microsecond that a page may begin among.
_TIES_MAX = 1_000
# An entry ends by itself when it is over age: nothing is asked of its last minute.
_MARGIN_SECONDS = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)

Row = tuple[Any, ...]


class _Entry(NamedTuple):
    """A member of a set; they sort as the rows of a page do."""

    time_us: int
    name: str


async def read_cached(parts: Parts, page: Mapping[str, Any], start: datetime) -> list[Row] | None:
    """The rows of a page of the span that begins at `start`, newest first; None where Valkey does not hold them."""
    if parts.valkey is None or not _is_askable(page):
        return None
    try:
        mark = await _read_mark(parts.valkey)
        if mark is None or not _is_held(parts, mark, start, page["after_time"]):
            return None
        async with parts.pool.connection() as connection:
            names = await _sets_of(connection, page, mark, start)
            if names is None:
                return None
            entries = await _find(parts.valkey, names, page, start)
            rows = None if entries is None else await _rows_of(parts.valkey, entries, connection)
        if rows is None or await _read_mark(parts.valkey) != mark:
            return None
    except CacheUnavailableError:
        return None
    return rows


def _is_askable(page: Mapping[str, Any]) -> bool:
    """Whether there are sets for what is asked for."""
    keys, assets = page["key_ids"], page["assets"]
    if page["status"] is not None or (keys is not None and assets is not None):
        return False
    wanted = keys if keys is not None else assets
    return wanted is None or (0 < len(set(wanted)) <= _SETS_MAX and 0 not in wanted)


def _is_held(parts: Parts, mark: Mark, start: datetime, end: datetime) -> bool:
    now = parts.now()
    days = parts.settings.retention.detail_days
    first_kept = datetime.combine(now.date() - timedelta(days=days), time(), UTC)
    lives_from = now.timestamp() - min(days * DAY_SECONDS, USAGE_SECONDS) + _MARGIN_SECONDS
    return (
        mark.is_fresh(now.timestamp())
        and start >= first_kept
        and start.timestamp() >= max(lives_from, mark.first)
        and not touches(mark.missing, start.timestamp(), end.timestamp() + 1)
    )


async def _read_mark(client: CacheClient) -> Mark | None:
    (found,) = await _ask(client, [("HGETALL", SYNC_MARK.name())])
    mark = read_mark(_pairs(found))
    if mark is None or not mark.tags:
        return mark
    held = await _ask(client, [("GET", SYNC_MARK_OF.name(tag)) for tag in mark.tags])
    return mark if all(value == mark.run.encode() for value in held) else None


async def _sets_of(
    connection: AsyncConnection[Any], page: Mapping[str, Any], mark: Mark, start: datetime
) -> list[str] | None:
    """The sets of a page; None where the database has rows of it that Valkey may not have."""
    values = {"since": mark.snapshot, "start": start, "end": page["after_time"], "key_ids": page["key_ids"]}
    row = await (await connection.execute(load("reports.cached_log"), values)).fetchone()
    assert row is not None, "it always has a row"
    identity, is_unseen, digests = row
    if is_unseen or identity != mark.database:
        return None
    if page["key_ids"] is not None:
        return [USAGE_LOGS_OF_KEY.name(digest) for digest in digests or ()]
    if page["assets"] is not None:
        return [USAGE_LOGS_OF_ASSET.name(asset) for asset in sorted(set(page["assets"]))]
    return [USAGE_LOGS.name()]


async def _find(
    client: CacheClient, names: Sequence[str], page: Mapping[str, Any], start: datetime
) -> list[_Entry] | None:
    """The newest entries of these sets below the cursor."""
    above, first = (page["after_time"] - _EPOCH) // _US, (start - _EPOCH) // _US
    last_id = page["after_request_id"]
    below = usage_uuid(page["after_node_id"], last_id) if last_id >= 0 else ""
    commands: list[Command] = []
    for name in names:
        scored = ("BYSCORE", "REV", "LIMIT", 0)
        commands.append(("ZRANGE", name, f"({above}", first, *scored, page["limit"], "WITHSCORES"))
        if below:
            commands.append(("ZRANGE", name, above, above, *scored, _TIES_MAX, "WITHSCORES"))
    entries: set[_Entry] = set()
    for reply in await _ask(client, commands):
        found = [_Entry(int(float(score)), name.decode()) for name, score in _pairs(reply).items()]
        if len(found) >= _TIES_MAX and found[0].time_us == found[-1].time_us == above:
            return None
        entries.update(entry for entry in found if entry.time_us < above or entry.name < below)
    return sorted(entries, reverse=True)[: page["limit"]]


async def _rows_of(
    client: CacheClient, entries: Sequence[_Entry], connection: AsyncConnection[Any]
) -> list[Row] | None:
    """The rows as the database's statement has them; None where one of them is gone."""
    replies = await _ask(client, [("HGETALL", USAGE_LOG.name(entry.name)) for entry in entries])
    texts = [{name.decode(): value.decode() for name, value in _pairs(reply).items()} for reply in replies]
    if not all(texts):
        return None
    keys = sorted({int(text["key_id"]) for text in texts})
    found = await (await connection.execute(load("reports.account_names"), {"key_ids": keys})).fetchall()
    accounts = dict(found)
    return [_row_of(text, accounts) for text in texts]


def _row_of(text: Mapping[str, str], accounts: Mapping[int, str]) -> Row:
    key_id = int(text["key_id"])
    return (
        datetime.fromisoformat(text["time"]), text["request_id"], int(text["node_id"]), key_id, accounts.get(key_id),
        text["asset"] or None, int(text["assets"]), text["protocol"] or None, int(text["status"]),
        text["code"] or None, text["source"] or None, int(text["latency_ns"]) / 1000.0, text["address"],
        int(text["weight"]), int(text["request_id"], 16),
    )  # fmt: skip


def _pairs(reply: Any) -> dict[bytes, bytes]:
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


async def _ask(client: CacheClient, commands: Sequence[Command]) -> list[Any]:
    replies = await client.run(commands, _SECONDS_MAX)
    for reply in replies:
        if isinstance(reply, CacheReplyError):
            raise CacheUnavailableError(str(reply))
    return replies
