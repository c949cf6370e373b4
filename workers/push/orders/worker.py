"""The orders' worker in the pusher: takes orders of this node's shards, has them carried out, tells what came of them.

Rules: an order that was taken is carried out by nobody else, so at most once; its result is told as soon as the
database takes it. What was minutes in the database is read by the thread: the loop asks no database.
"""

import datetime
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from trinity.clock import Clock
from trinity.push.orders import Taken, finish, take
from trinity.store.connect import AnyConnection
from trinity.store.queries import load
from workers.push.claim_worker import ClaimWorker
from workers.push.orders.minutes import MinuteCloses, ReplayParts, make_parts

CHANNEL = "push_orders"
# Carried out at once: each is one message, or a replay at a slow pace.
ORDERS_MAX = 16


class OrderResult(NamedTuple):
    """What came of an order, as the API tells it."""

    is_done: bool
    told: dict[str, Any]


class OrderJob(NamedTuple):
    """An order, and the minutes of a replay."""

    order: Taken
    parts: ReplayParts | None


CarryOut = Callable[[Taken, ReplayParts | None], Awaitable[OrderResult]]


class OrderWorker(ClaimWorker[OrderJob, OrderResult]):
    """Carries out orders; what is under way at its end is told as failed when its time is over."""

    def __init__(
        self, url: str, node: tuple[uuid.UUID, str], clock: Clock, carry_out: CarryOut, log: logging.Logger
    ) -> None:
        super().__init__("orders", url, CHANNEL, ORDERS_MAX, clock, log)
        self._node, self._carry_out = node, carry_out
        self._node_id = 0
        self._shards: tuple[int, ...] = ()

    def serve(self, shards: Sequence[int]) -> None:
        """Whose orders are this node's from now on."""
        self._shards = tuple(shards)

    def _prepare(self, connection: AnyConnection) -> None:
        connection.execute(load("ledger.add_node"), self._node)
        ((self._node_id,),) = connection.execute(load("ledger.find_node"), self._node[:1]).fetchall()

    def _claim(self, connection: AnyConnection, free: int) -> Sequence[OrderJob]:
        taken = take(connection, self._node_id, list(self._shards), free) if self._shards else ()
        return [
            OrderJob(order, _read_parts(connection, order) if order.kind == "replay_since" else None) for order in taken
        ]

    async def _do(self, job: OrderJob) -> OrderResult:
        return await self._carry_out(job.order, job.parts)

    def _settle(self, connection: AnyConnection, job: OrderJob, result: OrderResult) -> None:
        finish(connection, job.order.id, result.is_done, result.told)


def _read_parts(connection: AnyConnection, order: Taken) -> ReplayParts:
    since = datetime.datetime.fromisoformat(order.argument["since"])
    parameters = {"subscription_id": order.subscription_id, "since": since}
    return make_parts(MinuteCloses(*row) for row in connection.execute(load("orders.minutes"), parameters))
