"""What of the push server's small tables is over age: events, orders, first answers, deleted subscriptions.

Rules: by the database's clock, in bounded portions; what a call leaves, the next one takes. An event that still waits
for an endpoint stays, however old it is.
"""

import datetime
from typing import Any

import psycopg

from trinity.limits import IDEMPOTENCY_SECONDS
from trinity.push.events import EVENT_DAYS
from trinity.store.queries import load

Connection = psycopg.Connection[Any]

# Of each table a call: a busy account makes a hundred events a day.
_ROWS_MAX = 50_000
# Who asked for an order looks within minutes.
_ORDERS_KEPT = datetime.timedelta(days=1)
_KEPT = (
    ("events.delete_old", datetime.timedelta(days=EVENT_DAYS)),
    ("orders.delete_old", _ORDERS_KEPT),
    ("push.delete_old_answers", datetime.timedelta(seconds=IDEMPOTENCY_SECONDS)),
    ("push.delete_ended", datetime.timedelta(days=EVENT_DAYS)),
)


def delete_leavings(connection: Connection) -> int:
    """Delete what is over age; how many rows."""
    ((now,),) = connection.execute(load("events.now")).fetchall()
    return sum(
        connection.execute(load(name), {"before": now - kept, "count": _ROWS_MAX}).rowcount for name, kept in _KEPT
    )
