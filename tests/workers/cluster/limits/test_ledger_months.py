"""workers/cluster/limits/ledger_months.py: months over nodes, a real Valkey and the ledger in a real PostgreSQL"""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.limit_nodes import Node, digest_of
from tests.support.valkey_server import ValkeyServer
from tests.workers.cluster.limits.test_months import PATIENCE_SECONDS, QUOTA, counter, this_month, used
from tests.workers.ledger.ledger_fixture import fill, make_ledger, make_records, make_ring, one
from trinity.access import keys
from trinity.cache.keys import USAGE_COUNTER_NODES
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.store.connect import AnyConnection, connect
from trinity.store.queries import load
from workers.cluster.limits import ledger_months
from workers.cluster.limits.ledger_months import LEDGER, LedgerMonths
from workers.ledger.disk.spool import Spool
from workers.ledger.usage.usage_tables import USAGE

KEY_IDS = (1, 2, 3)


class Books:
    """The ledger of some nodes, each with a ring and a spool of its own."""

    def __init__(self, connection: AnyConnection, folder: Path) -> None:
        self.connection, self._folder = connection, folder
        self._files: dict[str, tuple[object, Spool]] = {}
        self._numbers: dict[str, int] = {}
        for _ in KEY_IDS:
            key, _secret = keys.create(connection, keys.NewKey("acme", "pro"), 1_000)
            connection.execute("UPDATE api_keys SET digest = %s WHERE id = %s", (digest_of(key.id), key.id))

    def write(self, node: str, key_id: int, lookups: int) -> None:
        """One good answer of a node: committed when this returns."""
        folder = self._folder / node
        ring = make_ring(folder)
        number = self._numbers[node] = self._numbers.get(node, 0) + 1
        record = make_records(1, first=number)
        record["time_ns"], record["key_id"], record["assets"] = SystemClock().wall_ns(), key_id, lookups
        record["status"], record["code"] = 200, 0
        assert fill(ring, record) == 1
        spool = Spool(USAGE, folder / "spool", 1 << 30)
        spool.append(ring, ring.view(ring.released))
        ledger = make_ledger(self.connection, uuid.uuid5(uuid.NAMESPACE_DNS, node), node)
        while (unit := spool.take()) is not None:
            ledger.load(unit)
            spool.remove(unit)

    def month_of(self, key_id: int) -> int:
        """As /account shows it and a bill says it."""
        row = self.connection.execute(load("keys.month_of_key"), {"id": key_id}).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Iterator[Books]:
    with connect(database_url, "tests", autocommit=True) as connection:
        made = Books(connection, tmp_path / "books")
        assert one(connection, "SELECT array_agg(id ORDER BY id) FROM api_keys") == list(KEY_IDS)
        yield made


def new_node(name: str, valkey: ValkeyServer) -> Node:
    node = Node(name, 3, valkey.settings)
    for key_id in KEY_IDS:
        node.grant(key_id, 1_000, 1_000, QUOTA)
    node.start()
    return node


def answer(books: Books, node: Node, key_id: int, lookups: int) -> None:
    assert node.look_up(key_id, this_month(), QUOTA, lookups) >= 0
    books.write(node.name, key_id, lookups)


def told(valkey: ValkeyServer, key_id: int, teller: str) -> int:
    """What Valkey has of one teller; -1: nothing."""
    with valkey.admin() as admin:
        found: Any = admin.hget(USAGE_COUNTER_NODES.name(digest_of(key_id).hex()), teller)
    return -1 if found is None else int(found)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def agree(books: Books, valkey: ValkeyServer, nodes: list[Node]) -> bool:
    """Valkey and every node say what the ledger says."""
    return all(
        {counter(valkey, key_id), *(used(node, key_id) for node in nodes)} == {books.month_of(key_id)}
        for key_id in KEY_IDS
    )


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes are tenths of a second."""
    monkeypatch.setattr(ledger_months, "PERIOD_NS", NS_PER_SECOND // 10)
    monkeypatch.setattr(ledger_months, "TURN_SECONDS", 0.05)


def test_counters_are_the_ledgers_sums_whatever_was_killed_emptied_or_lost(
    books: Books, valkey_server: ValkeyServer, database_url: str, often: None
) -> None:
    """Tasks are killed, Valkey begins anew empty, a node is lost with its table, and at last all of them are."""

    async def scene() -> None:
        random = Random(7)
        nodes = [new_node(f"n{i}", valkey_server) for i in range(3)]
        for step in range(30):
            answer(books, random.choice(nodes), random.choice(KEY_IDS), random.randrange(1, 5))
            if step % 10 == 5:
                killed = random.choice(nodes)
                await killed.stop()
                killed.begin()
                killed.start()
            if step == 15:
                await asyncio.to_thread(valkey_server.restart, empty=True)
            await asyncio.sleep(0.01)
        await until(lambda: agree(books, valkey_server, nodes))

        # What the lost one told is known to the others alone.
        await nodes.pop().close()
        await asyncio.to_thread(valkey_server.restart, empty=True)
        leading = asyncio.create_task(LedgerMonths(nodes[0].context, database_url, lambda: True).run())
        for _ in range(10):
            answer(books, random.choice(nodes), random.choice(KEY_IDS), random.randrange(1, 5))
            await asyncio.sleep(0.01)
        await until(lambda: agree(books, valkey_server, nodes))
        leading.cancel()

        # Nobody knows anything any more but the ledger.
        for node in nodes:
            await node.close()
        await asyncio.to_thread(valkey_server.restart, empty=True)
        nodes = [new_node(f"new{i}", valkey_server) for i in range(2)]
        leading = asyncio.create_task(LedgerMonths(nodes[0].context, database_url, lambda: True).run())
        for _ in range(10):
            answer(books, random.choice(nodes), random.choice(KEY_IDS), random.randrange(1, 5))
            await asyncio.sleep(0.01)
        await until(lambda: agree(books, valkey_server, nodes))
        assert min(books.month_of(key_id) for key_id in KEY_IDS) > 0
        leading.cancel()
        for node in nodes:
            await node.close()

    asyncio.run(scene())


def test_a_ledger_that_is_ahead_of_what_a_node_told_is_not_counted_twice(
    books: Books, valkey_server: ValkeyServer, database_url: str
) -> None:
    """The node told 5, counted 7 more, and the ledger has all 12: nothing of them was used elsewhere, then or later."""

    async def scene() -> None:
        node = new_node("n0", valkey_server)
        answer(books, node, 1, 5)
        await until(lambda: counter(valkey_server, 1) == 5)
        await node.stop()
        answer(books, node, 1, 7)
        task = LedgerMonths(node.context, database_url, lambda: True)
        assert await task.bring() == 1
        assert await task.bring() == 1, "and once more changes nothing"
        assert counter(valkey_server, 1) == 12
        node.start()
        await until(lambda: told(valkey_server, 1, "n0") == 12)
        assert used(node, 1) == 12
        answer(books, node, 1, 1)
        await until(lambda: counter(valkey_server, 1) == 13)
        assert used(node, 1) == 13
        await node.close()

    asyncio.run(scene())


def test_the_ledger_is_asked_when_valkey_was_emptied_and_by_the_node_that_leads_alone(
    books: Books, valkey_server: ValkeyServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emptied Valkey is seen by what was told last, long before the minutes are over."""
    monkeypatch.setattr(ledger_months, "TURN_SECONDS", 0.01)

    async def scene() -> None:
        books.write("gone", 2, 9)
        node, is_ours = Node("n0", 3, valkey_server.settings), False
        running = asyncio.create_task(LedgerMonths(node.context, database_url, lambda: is_ours).run())
        await asyncio.sleep(0.1)
        assert counter(valkey_server, 2) == 0
        is_ours = True
        await until(lambda: counter(valkey_server, 2) == 9)
        valkey_server.flush()
        await until(lambda: counter(valkey_server, 2) == 9)
        assert told(valkey_server, 2, LEDGER) == 0
        running.cancel()
        await node.close()

    asyncio.run(scene())
