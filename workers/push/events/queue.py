"""The queue of events in PostgreSQL: what is due is claimed, and what came of it is written down.

Rules: functions on a connection, each one transaction. A claim ends by the database's clock: a node that dies loses
none, and what it had under way is tried again by whoever claims it next, with the same id. A try is counted when its
end is known, so a crash costs none. A result of a claim that has ended counts only if it is good: the event has
arrived. That an endpoint is disabled, and the event that tells of it, are one transaction.
"""

import datetime
from typing import Any, NamedTuple

from trinity.push import events
from trinity.store.connect import AnyConnection
from trinity.store.queries import load
from workers.push.events.schedule import DISABLE_AFTER, EventAnswer, EventOutcome

# A try takes at most 15 s; three times that is a node that has ended, or stands still.
CLAIM = datetime.timedelta(seconds=45)
# Events under way at once, and those of one endpoint: one that hangs keeps four places for 15 s.
CLAIMS_MAX, CLAIMS_OF_ENDPOINT_MAX = 64, 4


class Claim(NamedTuple):
    """One event for one endpoint, this worker's until `claimed_until`."""

    event_id: int
    endpoint_id: int
    claimed_until: datetime.datetime
    attempts: int  # before this one
    uid: str
    type: str
    data: dict[str, Any]
    occurred_at: datetime.datetime
    account_id: int | None
    url: str
    secret: str
    old_secret: str | None
    is_failing: bool


def claim(connection: AnyConnection, count: int) -> list[Claim]:
    """Up to `count` of what is due, the longest waiting first."""
    parameters = {"count": count, "each": CLAIMS_OF_ENDPOINT_MAX, "claim": CLAIM}
    return [Claim(*row) for row in connection.execute(load("events.claim"), parameters)]


def settle(connection: AnyConnection, of: Claim, answer: EventAnswer, outcome: EventOutcome) -> str:
    """Write down what came of a try; why its endpoint was disabled now, else empty."""
    parameters = {
        **of._asdict(),
        "state": outcome.state,
        "status": answer.status,
        "error": outcome.error,
        "next_in": datetime.timedelta(seconds=outcome.next_in_s),
        "is_good": outcome.is_good,
        "disable_after": DISABLE_AFTER,
    }
    with connection.transaction():
        if connection.execute(load("events.settle"), parameters).fetchone() is None:
            return ""  # somebody else has it by now
        noted = connection.execute(load("events.note"), parameters).fetchone()
        is_over_age = noted is not None and bool(noted[0])
        if outcome.is_exhausted and not of.type.startswith(("event.", "endpoint.")):
            told = {"endpoint": of.endpoint_id, "event": of.uid, "type": of.type, "error": outcome.error}
            events.emit(connection, of.account_id, "event.exhausted", told)
        reason = outcome.disable or ("nothing arrived for 5 days" if is_over_age else "")
        return reason if reason and _disable(connection, of, reason, outcome.error) else ""


def _disable(connection: AnyConnection, of: Claim, reason: str, error: str | None) -> bool:
    """Give an endpoint up and what waits for it, and tell its owner; False if it was so before."""
    parameters = {"endpoint_id": of.endpoint_id, "reason": reason}
    if connection.execute(load("events.disable"), parameters).fetchone() is None:
        return False
    connection.execute(load("events.give_up"), parameters)
    told = {"endpoint": of.endpoint_id, "url": of.url, "reason": reason, "error": error}
    events.emit(connection, of.account_id, "endpoint.disabled", told)
    return True
