"""workers/push/claim_worker.py: jobs in turn between a thread on PostgreSQL and a loop; what jobs are is the test's."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import psycopg
import pytest

from trinity.clock import SystemClock
from trinity.store.connect import AnyConnection
from workers.push.claim_worker import ClaimWorker


class Doubling(ClaimWorker[int, int]):
    """Doubles the numbers that wait; of `refused` settlements the connection dies."""

    def __init__(self, url: str, waiting: Sequence[int], jobs_max: int = 2, refused: int = 0) -> None:
        super().__init__("numbers", url, "numbers", jobs_max, SystemClock(), logging.getLogger("tests.numbers"))
        self.waiting, self.settled, self.refused = list(waiting), dict[int, int](), refused
        self.prepared = self.at_once = self.most_at_once = 0

    def _prepare(self, connection: AnyConnection) -> None:
        self.prepared += 1

    def _claim(self, connection: AnyConnection, free: int) -> Sequence[int]:
        taken, self.waiting = self.waiting[:free], self.waiting[free:]
        return taken

    async def _do(self, job: int) -> int:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return 2 * job * job // job

    def _settle(self, connection: AnyConnection, job: int, result: int) -> None:
        if self.refused > 0:
            self.refused -= 1
            raise psycopg.OperationalError("gone")
        assert job not in self.settled, "once"
        self.settled[job] = result


async def _until(worker: Doubling, is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            worker.raise_failure()
            await asyncio.sleep(0.01)


async def test_every_job_is_done_once_and_no_more_than_may_be_at_once(database_url: str) -> None:
    """Without a notification: each result wakes the thread."""
    worker = Doubling(database_url, range(1, 51))
    worker.start()
    await _until(worker, lambda: len(worker.settled) == 50)
    worker.finish(30.0)
    assert worker.settled == {number: 2 * number for number in range(1, 51)}
    assert worker.most_at_once <= 2


async def test_a_result_waits_for_the_next_connection(database_url: str) -> None:
    """What the database did not take is settled as soon as there is one again."""
    worker = Doubling(database_url, [7, 8], refused=1)
    worker.start()
    await _until(worker, lambda: len(worker.settled) == 2)
    worker.finish(30.0)
    assert worker.settled == {7: 14, 8: 16}
    assert worker.prepared == 2


async def test_a_fault_in_a_job_is_raised_in_the_loop_of_the_process(database_url: str) -> None:
    """It ends the process; the job is not settled."""
    worker = Doubling(database_url, [0])
    worker.start()
    with pytest.raises(ZeroDivisionError):
        await _until(worker, lambda: worker.settled)
    with pytest.raises(ZeroDivisionError):
        worker.finish(30.0)
    assert worker.settled == {}
