"""What an answer to an event means, and when it is tried again. Pure: randomness is an argument.

    2xx                                  delivered
    410, or `webhook-delivery: disable`  the endpoint is disabled
    `webhook-delivery: abort-message`    this event alone is given up
    anything else, or no answer          tried again by the schedule; after the last try it has failed

Rules: ten tries in 75 hours (Standard Webhooks 1.0), each delay up to a tenth longer, so that what failed at one moment
does not come back at one. `Retry-After` makes a delay longer, never shorter, and no longer than twice the schedule and
two hours. A redirect is a failure: nobody else gets what an account is told.
"""

import datetime
from random import Random
from typing import Literal, NamedTuple

# Before each try, in seconds; together 75.6 h.
DELAYS_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.1
_RETRY_AFTER_FACTOR, _RETRY_AFTER_MORE_S = 2, 7_200
# An endpoint that took nothing for so long has no one behind it.
DISABLE_AFTER = datetime.timedelta(days=5)

State = Literal["waiting", "delivered", "failed", "aborted"]
DELIVERY_HEADER = "webhook-delivery"


class EventAnswer(NamedTuple):
    """How a try ended: a status and what came with it, or why there is none."""

    status: int | None
    error: str = ""  # of what brought no answer, one of the pool's words
    retry_after_s: float | None = None
    delivery: str = ""  # the header's value


class EventOutcome(NamedTuple):
    """What becomes of the event; `disable` says why its endpoint ends, empty where it goes on."""

    state: State
    error: str | None = None
    next_in_s: float = 0.0
    disable: str = ""
    is_exhausted: bool = False

    @property
    def is_good(self) -> bool:
        return self.state == "delivered"


def judge(answer: EventAnswer, attempts: int, random: Random) -> EventOutcome:
    """What becomes of an event after its try number `attempts`, counted from 1."""
    asked = answer.delivery.strip().lower()
    wants_no_more = "the receiver asked for it" if asked == "disable" else ""
    if answer.status is not None and 200 <= answer.status < 300:
        return EventOutcome("delivered", disable=wants_no_more)
    error = answer.error or f"status {answer.status}"
    if answer.status == 410:
        return EventOutcome("failed", error, disable="it answered 410 Gone")
    if wants_no_more:
        return EventOutcome("aborted", error, disable=wants_no_more)
    if asked == "abort-message":
        return EventOutcome("aborted", error)
    if attempts >= len(DELAYS_S):
        return EventOutcome("failed", error, is_exhausted=True)
    return EventOutcome("waiting", error, _delay_s(attempts, answer.retry_after_s, random))


def _delay_s(attempts: int, retry_after_s: float | None, random: Random) -> float:
    own = DELAYS_S[attempts]
    asked = min(retry_after_s or 0.0, own * _RETRY_AFTER_FACTOR + _RETRY_AFTER_MORE_S)
    return max(own, asked) + random.uniform(0, own * JITTER)
