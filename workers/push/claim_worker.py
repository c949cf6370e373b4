"""Jobs out of the database, done in the process's loop: what events and orders have in common.

    thread   settles what came of jobs, claims the next   at each notification, each result, and once a second
    loop     does them                                    a task each, at most `jobs_max` at once
    thread   a database that is away is waited for; results wait in memory

Rules: what the database, a receiver or its answer do is a state of the world; a fault of ours in a task ends the
process.
The loop waits for no database and the thread for no receiver. Results that were not settled when the process ends are
lost: what that means for a job is its own to say.
"""

import abc
import asyncio
import logging
import os
import queue
import select
from collections.abc import Sequence
from typing import Generic, TypeVar

import psycopg

from trinity.clock import Clock
from trinity.errors import TrinityError
from trinity.observe.log import Outage
from trinity.store import migrate
from trinity.store.connect import AnyConnection, connect
from trinity.store.session_thread import SessionThread

# Without a notification: what the end of a claim or a delay made due.
TURN_SECONDS = 1.0
# The longest statement reads a day of minutes of 150 assets, in less than a second; one that takes this long met a
# server that stands still.
_STATEMENT_SECONDS = 10

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


class ClaimWorker(SessionThread, Generic[_Job, _Result]):
    """Works until `finish`; started inside the process's event loop. `channel` is notified of new jobs."""

    def __init__(self, name: str, url: str, channel: str, jobs_max: int, clock: Clock, log: logging.Logger) -> None:
        super().__init__(name, url, clock)
        self._channel, self._jobs_max, self._log = channel, jobs_max, log
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._results: queue.SimpleQueue[tuple[_Job, _Result]] = queue.SimpleQueue()
        self._under_way = 0  # claimed and not settled; the thread's
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._outage = Outage(log, logging.WARNING, f"{name} wait for the database", f"the database gives {name}")

    def finish(self, seconds: float) -> None:
        """In the loop: no new jobs, and those under way are called off."""
        for task in self._tasks:
            task.cancel()
        self._stopping.set()
        os.eventfd_write(self._wake_fd, 1)
        super().finish(seconds)

    # --- what a kind of jobs is ---

    def _prepare(self, connection: AnyConnection) -> None:
        """Once a connection, before anything else; in the thread."""

    @abc.abstractmethod
    def _claim(self, connection: AnyConnection, free: int) -> Sequence[_Job]:
        """Up to so many jobs that nobody else has from here on; in the thread."""

    @abc.abstractmethod
    async def _do(self, job: _Job) -> _Result:
        """In the loop; what it raises ends the process."""

    @abc.abstractmethod
    def _settle(self, connection: AnyConnection, job: _Job, result: _Result) -> None:
        """Write down what came of it; in the thread."""

    # --- the thread ---

    def _live_one_connection(self) -> None:
        try:
            migrate.check(self._url)
            with connect(self._url, self.name, statement_seconds=_STATEMENT_SECONDS, autocommit=True) as connection:
                self._watch.guard(connection)
                connection.execute(f"LISTEN {self._channel}")
                self._prepare(connection)
                self._outage.up()
                self._on_good()
                while not self._stopping.is_set():
                    self._settle_all(connection)
                    self._claim_more(connection)
                    self._wait(connection)
                self._settle_all(connection)
        except (psycopg.Error, TrinityError, OSError) as error:
            self._outage.down(f"{type(error).__name__}: {' '.join(str(error).split())}", self._clock.monotonic_ns())

    def _claim_more(self, connection: AnyConnection) -> None:
        free = self._jobs_max - self._under_way
        found = self._claim(connection, free) if free > 0 else ()
        self._under_way += len(found)
        for job in found:
            self._loop.call_soon_threadsafe(self._begin, job)

    def _settle_all(self, connection: AnyConnection) -> None:
        while not self._results.empty():
            job, result = self._results.get()
            try:
                self._settle(connection, job, result)
            except (psycopg.Error, OSError):
                self._results.put((job, result))  # it counts as soon as the database is back
                raise
            self._under_way -= 1

    def _wait(self, connection: AnyConnection) -> None:
        ready, _, _ = select.select([connection.fileno(), self._wake_fd], [], [], TURN_SECONDS)
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        for _ in connection.notifies(timeout=0):
            pass  # whatever it was, the next turn looks

    # --- the loop ---

    def _begin(self, job: _Job) -> None:
        task = self._loop.create_task(self._run_one(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_one(self, job: _Job) -> None:
        try:
            result = await self._do(job)
        except Exception as error:  # noqa: BLE001 - the border of the task: the process's loop raises it
            self._failure = error
            return
        self._results.put((job, result))
        os.eventfd_write(self._wake_fd, 1)
