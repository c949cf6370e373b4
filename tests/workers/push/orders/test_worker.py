"""workers/push/orders/worker.py: orders of one's own shards, read with their minutes, told when they are done."""

import asyncio
import datetime
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from trinity.clock import SystemClock
from trinity.push.orders import Taken, create_order, read_order
from trinity.store.connect import AnyConnection, connect
from workers.push.orders.minutes import ReplayParts
from workers.push.orders.worker import OrderResult, OrderWorker

LOG = logging.getLogger("tests.orders")


class Desk:
    """A node whose orders end as told."""

    def __init__(self, url: str, number: int) -> None:
        self.seen: list[tuple[Taken, ReplayParts | None]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.worker = OrderWorker(url, (uuid.UUID(int=number), f"n{number}"), SystemClock(), self._carry_out, LOG)
        self.worker.start()

    async def _carry_out(self, order: Taken, parts: ReplayParts | None) -> OrderResult:
        self.seen.append((order, parts))
        await self.may_end.wait()
        return OrderResult(order.kind == "test", {"seen": order.subscription_id})


@pytest.fixture
def connection(database_url: str) -> AnyConnection:
    """Subscriptions 1 (BTC, ETH) and 2."""
    opened = connect(database_url, "tests", autocommit=True)
    opened.execute("INSERT INTO accounts (name) VALUES ('acme')")
    opened.execute("INSERT INTO assets (name) VALUES ('BTC'), ('ETH'), ('SOL')")
    for _ in range(2):
        opened.execute(
            "INSERT INTO push_subscriptions (account_id, target, assets, interval_s, secret)"
            " VALUES (1, 'https://x/', '{BTC,ETH}', 10, 's')"
        )
    return opened


@pytest.fixture
async def desks(database_url: str, connection: AnyConnection) -> AsyncIterator[Callable[[int, list[int]], Desk]]:
    started: list[Desk] = []

    def start(number: int, shards: list[int]) -> Desk:
        started.append(Desk(database_url, number))
        started[-1].worker.serve(shards)
        return started[-1]

    yield start
    for desk in started:
        desk.worker.finish(30.0)
    connection.close()


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.01)


async def test_each_node_carries_out_the_orders_of_its_shards(
    connection: AnyConnection, desks: Callable[[int, list[int]], Desk]
) -> None:
    """And the result is there for whoever asked."""
    first, second = desks(1, [1]), desks(2, [2])
    made = [create_order(connection, number, "test", {}) for number in (1, 2)]
    await until(lambda: all(read_order(connection, one.id, one.subscription_id).state == "done" for one in made))
    assert [order.subscription_id for order, _ in first.seen] == [1]
    assert [order.subscription_id for order, _ in second.seen] == [2]
    assert read_order(connection, made[0].id, 1).result == {"seen": 1}


async def test_a_replay_gets_the_closes_of_its_assets_since_then(
    connection: AnyConnection, desks: Callable[[int, list[int]], Desk]
) -> None:
    """Not the minute that still runs, and no other asset."""
    now = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0)
    for asset, minutes_ago, close in ((1, 0, 9), (1, 1, 3), (1, 2, 2), (2, 2, 5), (3, 2, 7), (1, 90, 1)):
        connection.execute(
            "INSERT INTO price_minute (asset_id, minute, open, high, low, close, sources, confidence, samples,"
            " weighted_sum, weighted_ms, node_id) VALUES (%s, %s, 1, 1, 1, %s, 6, 1, 1, 1, 1, 1)",
            [asset, now - datetime.timedelta(minutes=minutes_ago), close],
        )
    desk = desks(1, [1])
    since = now - datetime.timedelta(minutes=60)
    made = create_order(connection, 1, "replay_since", {"since": since.isoformat()})
    await until(lambda: desk.seen)
    ((_, parts),) = desk.seen
    assert parts is not None
    minutes = json.loads(b"[" + parts.parts[0] + b"]")
    assert [minute["prices"] for minute in minutes] == [{"BTC": "2", "ETH": "5"}, {"BTC": "3"}]
    assert minutes[1]["time"] == now.strftime("%Y-%m-%dT%H:%M:00.000Z")
    await until(lambda: read_order(connection, made.id, 1).state == "failed")


async def test_a_database_that_goes_meanwhile_gets_the_result_when_it_is_back(
    connection: AnyConnection, desks: Callable[[int, list[int]], Desk]
) -> None:
    """The order is carried out no second time."""
    desk = desks(1, [1])
    desk.may_end.clear()
    made = create_order(connection, 1, "test", {})
    await until(lambda: desk.seen)
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trinity orders'"
    )
    desk.may_end.set()
    await until(lambda: read_order(connection, made.id, 1).state == "done")
    assert len(desk.seen) == 1
