"""The events' worker in the pusher: claims what is due, posts it through the pool, writes down what came of it.

Rules: what was not written down when the process ends is posted again after its claim, with the same id: at least once,
as receivers are told.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from trinity.clock import Clock
from trinity.store.connect import AnyConnection
from workers.push.claim_worker import ClaimWorker
from workers.push.events.queue import CLAIMS_MAX, Claim, claim, settle
from workers.push.events.schedule import EventAnswer, EventOutcome, judge

CHANNEL = "push_events"

Post = Callable[[Claim], Awaitable[EventAnswer]]


class EventWorker(ClaimWorker[Claim, EventAnswer]):
    """Posts events that are due."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        post: Post,
        log: logging.Logger,
        on_outcome: Callable[[EventOutcome], None] = lambda _: None,
    ) -> None:
        super().__init__("events", url, CHANNEL, CLAIMS_MAX, clock, log)
        self._post, self._on_outcome = post, on_outcome
        self._random = Random()

    def _claim(self, connection: AnyConnection, free: int) -> Sequence[Claim]:
        return claim(connection, free)

    async def _do(self, job: Claim) -> EventAnswer:
        return await self._post(job)

    def _settle(self, connection: AnyConnection, job: Claim, result: EventAnswer) -> None:
        outcome = judge(result, job.attempts + 1, self._random)
        disabled = settle(connection, job, result, outcome)
        self._on_outcome(outcome)
        if disabled:
            fields = {"endpoint": job.endpoint_id, "account": job.account_id, "reason": disabled}
            self._log.warning("endpoint disabled", extra={"fields": fields})
