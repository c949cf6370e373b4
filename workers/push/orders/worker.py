"""The orders' worker: a thread that takes orders of this node's shards, the process's loop that carries them out.

    thread   takes what waits -> loop     at each notification, each result, and once a second
    loop     carries it out               carry_out.py
    thread   writes down what came of it  a database that is away is waited for; results wait in memory

Rules: an order that was taken is carried out by nobody else, so at most once; its result is told as soon as the
database takes it. What was minutes in the database is read by the thread: the loop asks no database.
"""

import asyncio
import datetime
import logging
import os
import queue
import select
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import psycopg

from trinity.clock import Clock
from trinity.errors import TrinityError
from trinity.observe.log import Outage
from trinity.push.orders import Taken, finish, take
from trinity.store import migrate
from trinity.store.connect import AnyConnection, connect
from trinity.store.queries import load
from trinity.store.session_thread import SessionThread
from workers.push.orders.minutes import MinuteCloses, ReplayParts, make_parts

TURN_SECONDS = 1.0
CHANNEL = "push_orders"
# Carried out at once: each is one message, or a replay at a slow pace.
ORDERS_MAX = 16
# A day of minutes of 150 assets is read in less than a second.
_STATEMENT_SECONDS = 10


class OrderResult(NamedTuple):
    """What came of an order, as the API tells it."""

    is_done: bool
    told: dict[str, Any]


CarryOut = Callable[[Taken, ReplayParts | None], Awaitable[OrderResult]]


class OrderWorker(SessionThread):
    """Carries out orders until `finish`. Start it inside the process's event loop."""

    def __init__(
        self, url: str, node: tuple[uuid.UUID, str], clock: Clock, carry_out: CarryOut, log: logging.Logger
    ) -> None:
        super().__init__("orders", url, clock)
        self._node, self._carry_out = node, carry_out
        self._shards: tuple[int, ...] = ()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._results: queue.SimpleQueue[tuple[Taken, OrderResult]] = queue.SimpleQueue()
        self._under_way = 0  # taken and not told; the thread's
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._outage = Outage(log, logging.WARNING, "orders wait for the database", "the database gives orders")

    def serve(self, shards: Sequence[int]) -> None:
        """Whose orders are this node's from now on."""
        self._shards = tuple(shards)

    def finish(self, seconds: float) -> None:
        """In the loop: no new orders; what is under way is told as failed when its time is over."""
        for task in self._tasks:
            task.cancel()
        self._stopping.set()
        os.eventfd_write(self._wake_fd, 1)
        super().finish(seconds)

    # --- the thread ---

    def _live_one_connection(self) -> None:
        try:
            migrate.check(self._url)
            with connect(self._url, "orders", statement_seconds=_STATEMENT_SECONDS, autocommit=True) as connection:
                self._watch.guard(connection)
                connection.execute(f"LISTEN {CHANNEL}")
                connection.execute(load("ledger.add_node"), self._node)
                ((node_id,),) = connection.execute(load("ledger.find_node"), self._node[:1]).fetchall()
                self._outage.up()
                self._on_good()
                while not self._stopping.is_set():
                    self._tell(connection)
                    self._take(connection, node_id)
                    self._wait(connection)
                self._tell(connection)
        except (psycopg.Error, TrinityError, OSError) as error:
            self._outage.down(f"{type(error).__name__}: {' '.join(str(error).split())}", self._clock.monotonic_ns())

    def _take(self, connection: AnyConnection, node_id: int) -> None:
        free = ORDERS_MAX - self._under_way
        if free <= 0 or not self._shards:
            return
        for order in take(connection, node_id, list(self._shards), free):
            self._under_way += 1
            parts = _read_parts(connection, order) if order.kind == "replay_since" else None
            self._loop.call_soon_threadsafe(self._begin, order, parts)

    def _tell(self, connection: AnyConnection) -> None:
        while not self._results.empty():
            order, result = self._results.get()
            try:
                finish(connection, order.id, result.is_done, result.told)
            except (psycopg.Error, OSError):
                self._results.put((order, result))
                raise
            self._under_way -= 1

    def _wait(self, connection: AnyConnection) -> None:
        ready, _, _ = select.select([connection.fileno(), self._wake_fd], [], [], TURN_SECONDS)
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        for _ in connection.notifies(timeout=0):
            pass  # whoever it was for, the next turn looks

    # --- the loop ---

    def _begin(self, order: Taken, parts: ReplayParts | None) -> None:
        task = self._loop.create_task(self._carry(order, parts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, order: Taken, parts: ReplayParts | None) -> None:
        try:
            result = await self._carry_out(order, parts)
        except Exception as error:  # noqa: BLE001 - the border of the task: the process's loop raises it
            self._failure = error
            return
        self._results.put((order, result))
        os.eventfd_write(self._wake_fd, 1)


def _read_parts(connection: AnyConnection, order: Taken) -> ReplayParts:
    since = datetime.datetime.fromisoformat(order.argument["since"])
    parameters = {"subscription_id": order.subscription_id, "since": since}
    return make_parts(MinuteCloses(*row) for row in connection.execute(load("orders.minutes"), parameters))
