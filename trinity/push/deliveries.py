"""What became of a subscription's messages, as people see it; tests and replays that they ask for.

Rules: a delivery is known by its sequence, which a subscription has once. Numbers of the log become the words of
trinity/vocabulary.py here, and each failure has a sentence that says what to look at. What is asked for is put down
for whoever sends (orders.py), a few at a time of one account.
"""

import datetime
from collections.abc import Mapping
from typing import Any

import msgspec
import psycopg
from psycopg.rows import kwargs_row

from trinity.clock import NS_PER_MS
from trinity.errors import AbsentError, RefusedError
from trinity.limits import ORDERS_WAITING_MAX
from trinity.push.orders import Kind, Order, create_order
from trinity.push.store import find
from trinity.store.queries import load
from trinity.vocabulary import DELIVERY_OUTCOMES, DELIVERY_REASONS

Connection = psycopg.Connection[Any]

SENTENCES: Mapping[str, str] = {
    "delivered": "the receiver answered 2xx",
    "refused_status": "the receiver answered, and not with 2xx",
    "redirect": "the receiver sent it elsewhere (3xx), where nothing is sent: give that address as the target",
    "timeout": "the receiver did not answer in time: answer first, work later",
    "connect": "nobody took the connection: is the receiver up, and the port open?",
    "tls": "TLS failed: is the certificate valid, of this name, and sent with its chain?",
    "reset": "the receiver ended the connection before its answer",
    "protocol": "what came back was no HTTP",
    "resolve": "the target's name has no address, or its name server does not answer",
    "refused_address": "the target's name leads to an address that nothing is delivered to",
    "busy": "too many connections to this host were open",
    "gone": "the receiver wants nothing more (410, or webhook-delivery: disable)",
    "sent": "the datagram was sent: nobody confirms it",
    "send_failed": "the datagram could not be sent",
}
assert set(SENTENCES) == set(DELIVERY_OUTCOMES)

ARRIVED = ("delivered", "sent")
FAILED_NUMBERS = [number for number, outcome in enumerate(DELIVERY_OUTCOMES) if outcome not in ARRIVED]
_ALL_NUMBERS = list(range(len(DELIVERY_OUTCOMES)))


class DeliveryReport(msgspec.Struct, frozen=True, kw_only=True):
    """One message's fate; `why` says of a failure what to look at."""

    sequence: int
    webhook_id: str  # of HTTPS; of a datagram the sequence is in its header
    time: datetime.datetime  # of its end
    reason: str  # why it was made: a word of DELIVERY_REASONS
    outcome: str
    why: str
    status: int | None  # of HTTP; null: there was no answer
    attempts: int
    latency_ms: float  # of the last attempt
    late_ms: float  # from when it was due until it was sent
    assets: int
    node: str


def delivery(**fields: Any) -> DeliveryReport:
    """A row of `push.deliveries`."""
    outcome = DELIVERY_OUTCOMES[fields["outcome"]]
    return DeliveryReport(
        sequence=fields["sequence"],
        webhook_id=f"msg_{fields['subscription_id']}_{fields['sequence']}",
        time=fields["time"],
        reason=DELIVERY_REASONS[fields["kind"]],
        outcome=outcome,
        why=SENTENCES[outcome],
        status=fields["status"] or None,
        attempts=fields["attempts"],
        latency_ms=fields["latency_ns"] / NS_PER_MS,
        late_ms=fields["late_us"] / 1_000,
        assets=fields["assets"],
        node=fields["node"],
    )


def delivery_parameters(
    number: int, *, before: int | None = None, sequence: int | None = None, failed: bool = False, count: int = 1
) -> dict[str, Any]:
    """What `push.deliveries` is given; `before` and `sequence` are sequences."""
    outcomes = FAILED_NUMBERS if failed else _ALL_NUMBERS
    return {"id": number, "before": before, "sequence": sequence, "outcomes": outcomes, "count": count}


def list_deliveries(
    connection: Connection, number: int, account_id: int | None, *, failed: bool, count: int
) -> list[DeliveryReport]:
    """The newest messages of a subscription, or of them those that did not arrive; AbsentError."""
    find(connection, number, account_id)
    with connection.cursor(row_factory=kwargs_row(delivery)) as cursor:
        parameters = delivery_parameters(number, failed=failed, count=count)
        return cursor.execute(load("push.deliveries"), parameters).fetchall()


def order(connection: Connection, number: int, account_id: int | None, kind: Kind, argument: dict[str, Any]) -> Order:
    """Ask for a test or a replay; of a single delivery the `sequence` in `argument` says which."""
    with connection.transaction():
        found = find(connection, number, account_id)
        row = connection.execute(load("push.waiting_orders"), {"account_id": found.account_id}).fetchone()
        assert row is not None
        if row[0] >= ORDERS_WAITING_MAX:
            reason = f"{row[0]} tests and replays of its account wait already: wait until they are done"
            raise RefusedError(f"subscription {number}", reason)
        sequence = argument.get("sequence")
        if sequence is not None:
            parameters = delivery_parameters(number, sequence=sequence)
            if connection.execute(load("push.deliveries"), parameters).fetchone() is None:
                raise AbsentError("delivery", str(sequence), "`trinity push deliveries` lists those that are kept")
        return create_order(connection, number, kind, argument)
