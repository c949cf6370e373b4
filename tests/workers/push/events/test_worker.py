"""workers/push/events/worker.py: the thread and the loop together, on PostgreSQL; receivers are functions here."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from trinity.clock import SystemClock
from trinity.push import events
from trinity.store.connect import AnyConnection, connect
from workers.push.events.queue import Claim
from workers.push.events.schedule import EventAnswer
from workers.push.events.worker import EventWorker

LOG = logging.getLogger("tests.events")


class Node:
    """A worker whose receiver answers with `answers`, else 200, and what was posted."""

    def __init__(self, url: str) -> None:
        self.posted: list[Claim] = []
        self.answers: list[EventAnswer] = []
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.worker = EventWorker(url, SystemClock(), self._post, LOG)
        self.worker.start()

    async def _post(self, of: Claim) -> EventAnswer:
        self.posted.append(of)
        await self.hangs.wait()
        return self.answers.pop(0) if self.answers else EventAnswer(200)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AnyConnection]:
    """One account with an endpoint."""
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO accounts (name) VALUES ('acme')")
        opened.execute("INSERT INTO push_endpoints (account_id, url, secret) VALUES (1, 'https://x/', 's')")
        yield opened


@pytest.fixture
async def nodes(database_url: str, connection: AnyConnection) -> AsyncIterator[Callable[[], Node]]:
    """Starts nodes; all of them end with the test."""
    started: list[Node] = []

    def start() -> Node:
        started.append(Node(database_url))
        return started[-1]

    yield start
    for node in started:
        node.worker.finish(30.0)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.01)


def states(connection: AnyConnection) -> list[str]:
    found = connection.execute("SELECT state FROM push_event_deliveries ORDER BY event_id").fetchall()
    return [row[0] for row in found]


async def test_an_event_is_posted_once_by_one_of_several_nodes(
    connection: AnyConnection, nodes: Callable[[], Node]
) -> None:
    """As soon as its transaction is there."""
    all_nodes = [nodes() for _ in range(3)]
    uids = [events.emit(connection, 1, "key.created", {"key": number}) for number in range(20)]
    await until(lambda: states(connection) == ["delivered"] * 20)
    assert sorted(one.uid for node in all_nodes for one in node.posted) == sorted(uids)


async def test_what_failed_is_tried_again_by_the_schedule(connection: AnyConnection, nodes: Callable[[], Node]) -> None:
    """With the same id and the same body."""
    node = nodes()
    node.answers = [EventAnswer(503)]
    events.emit(connection, 1, "key.created", {"key": 1})
    await until(lambda: connection.execute("SELECT attempts FROM push_event_deliveries").fetchone() == (1,))
    connection.execute("UPDATE push_event_deliveries SET next_at = now()")
    await until(lambda: states(connection) == ["delivered"])
    first, second = node.posted
    assert (first.uid, first.data, first.occurred_at) == (second.uid, second.data, second.occurred_at)


async def test_a_database_that_goes_while_events_are_under_way_loses_no_result(
    connection: AnyConnection, nodes: Callable[[], Node]
) -> None:
    """The result waits for the next connection; the event is posted no second time."""
    node = nodes()
    node.hangs.clear()
    events.emit(connection, 1, "key.created", {})
    await until(lambda: node.posted)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trinity events'"
    connection.execute(end)
    node.hangs.set()
    await until(lambda: states(connection) == ["delivered"])
    assert len(node.posted) == 1


async def test_a_node_that_dies_over_an_event_loses_it_to_another(
    connection: AnyConnection, nodes: Callable[[], Node]
) -> None:
    """When its claim ends, with the same id: at least once."""
    first = nodes()
    first.hangs.clear()
    uid = events.emit(connection, 1, "key.created", {})
    await until(lambda: first.posted)
    first.worker.finish(30.0)
    assert states(connection) == ["waiting"]
    second = nodes()
    connection.execute("UPDATE push_event_deliveries SET claimed_until = now()")
    await until(lambda: states(connection) == ["delivered"])
    assert [one.uid for one in second.posted] == [uid]


async def test_a_fault_of_ours_ends_the_process(connection: AnyConnection, database_url: str) -> None:
    """It is raised in the loop, never swallowed."""

    async def broken(_of: Claim) -> EventAnswer:
        raise ZeroDivisionError

    post: Callable[[Claim], Awaitable[EventAnswer]] = broken
    worker = EventWorker(database_url, SystemClock(), post, LOG)
    worker.start()
    events.emit(connection, 1, "key.created", {})

    def has_failed() -> bool:
        try:
            worker.raise_failure()
        except ZeroDivisionError:
            return True
        return False

    await until(has_failed)
    with pytest.raises(ZeroDivisionError):
        worker.finish(30.0)
