"""The events' worker in the pusher: a thread that lives on the database, and the tries in the process's loop.

    thread   claims what is due -> loop      at each notification, each result, and once a second
    loop     posts it                        CLAIMS_MAX at once, through the pool that all deliveries share
    thread   settles what came of it         a database that is away is waited for; results wait in memory

Rules: what the database, a receiver or its answer do is a state of the world. The loop waits for no database and the
thread for no receiver. Results that were not written down when the process ends are lost, and their events are posted
again after the claim, with the same id: at least once, as receivers are told.
"""

import asyncio
import logging
import os
import queue
import select
from collections.abc import Awaitable, Callable
from random import Random

import psycopg

from trinity.clock import Clock
from trinity.errors import TrinityError
from trinity.observe.log import Outage
from trinity.store import migrate
from trinity.store.connect import AnyConnection, connect
from trinity.store.session_thread import SessionThread
from workers.push.events.queue import CLAIMS_MAX, Claim, claim, settle
from workers.push.events.schedule import EventAnswer, EventOutcome, judge

# Without a notification: what a claim's end or a delay made due.
TURN_SECONDS = 1.0
CHANNEL = "push_events"
# The longest statement claims 64 rows by an index; one that takes this long met a server that stands still.
_STATEMENT_SECONDS = 10

Post = Callable[[Claim], Awaitable[EventAnswer]]


class EventWorker(SessionThread):
    """Posts events that are due, until `finish`. Start it inside the process's event loop."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        post: Post,
        log: logging.Logger,
        on_outcome: Callable[[EventOutcome], None] = lambda _: None,
    ) -> None:
        super().__init__("events", url, clock)
        self._post, self._log, self._on_outcome = post, log, on_outcome
        self._random = Random()
        self._loop = asyncio.get_running_loop()
        self._tries: set[asyncio.Task[None]] = set()
        self._results: queue.SimpleQueue[tuple[Claim, EventAnswer]] = queue.SimpleQueue()
        self._under_way = 0  # claimed and not settled; the thread's
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._outage = Outage(log, logging.WARNING, "events wait for the database", "the database gives events")

    def finish(self, seconds: float) -> None:
        """In the loop: no new tries; what is not settled by then is posted again by whoever claims it next."""
        for one in self._tries:
            one.cancel()
        self._stopping.set()
        os.eventfd_write(self._wake_fd, 1)
        super().finish(seconds)

    # --- the thread ---

    def _live_one_connection(self) -> None:
        try:
            migrate.check(self._url)
            with connect(self._url, "events", statement_seconds=_STATEMENT_SECONDS, autocommit=True) as connection:
                self._watch.guard(connection)
                connection.execute(f"LISTEN {CHANNEL}")
                self._outage.up()
                self._on_good()
                while not self._stopping.is_set():
                    self._settle(connection)
                    self._claim(connection)
                    self._wait(connection)
                self._settle(connection)
        except (psycopg.Error, TrinityError, OSError) as error:
            self._outage.down(f"{type(error).__name__}: {' '.join(str(error).split())}", self._clock.monotonic_ns())

    def _claim(self, connection: AnyConnection) -> None:
        free = CLAIMS_MAX - self._under_way
        found = claim(connection, free) if free > 0 else []
        self._under_way += len(found)
        for one in found:
            self._loop.call_soon_threadsafe(self._begin, one)

    def _settle(self, connection: AnyConnection) -> None:
        while not self._results.empty():
            of, answer = self._results.get()
            outcome = judge(answer, of.attempts + 1, self._random)
            try:
                disabled = settle(connection, of, answer, outcome)
            except (psycopg.Error, OSError):
                self._results.put((of, answer))  # it counts as soon as the database is back
                raise
            self._under_way -= 1
            self._on_outcome(outcome)
            if disabled:
                fields = {"endpoint": of.endpoint_id, "account": of.account_id, "reason": disabled}
                self._log.warning("endpoint disabled", extra={"fields": fields})

    def _wait(self, connection: AnyConnection) -> None:
        ready, _, _ = select.select([connection.fileno(), self._wake_fd], [], [], TURN_SECONDS)
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        for _ in connection.notifies(timeout=0):
            pass  # whatever it was, the next turn looks

    # --- the loop ---

    def _begin(self, of: Claim) -> None:
        one = self._loop.create_task(self._try(of))
        self._tries.add(one)
        one.add_done_callback(self._tries.discard)

    async def _try(self, of: Claim) -> None:
        try:
            answer = await self._post(of)
        except Exception as error:  # noqa: BLE001 - the border of the task: the process's loop raises it
            self._failure = error
            return
        self._results.put((of, answer))
        os.eventfd_write(self._wake_fd, 1)
