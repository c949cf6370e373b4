"""Orders in the process's loop: one message, or the parts of a replay at a slow pace.

    test            the prices of now, reason `test`
    replay          the prices of now, reason `replay`, and `replay_of`: a price of then is worth nothing
    replay_since    closes of past minutes (minutes.py), one part after the other; over HTTPS alone

Rules: each message has a new sequence and goes through what all deliveries go through: the checks of its address, its
signature, the log. It says nothing to the schedule: a test of a failing receiver does not make it well. A part is tried
three times; what does not arrive ends the replay, and its result says from when on to ask again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from trinity.clock import NS_PER_MS, NS_PER_SECOND, Clock
from trinity.errors import DeliveryError
from trinity.push.orders import Taken
from workers.push.message import message_id, render
from workers.push.orders.minutes import ReplayParts, body_of_part
from workers.push.orders.worker import OrderResult
from workers.push.prices import CurrentPrices, time_text
from workers.push.schedule import Reason
from workers.push.served import Served
from workers.push.verdict import Verdict

# A subscription that was made a moment ago is served within this time.
SERVED_SECONDS = 5.0
_LOOK_SECONDS = 0.05
# What a test is worth after it was asked for, and what a part of a replay is allowed to take.
LIFETIME_NS, TIMEOUT_SECONDS = 60 * NS_PER_SECOND, 5.0
# Between parts: a replay must not be what its receiver chokes on.
PACE_SECONDS = 0.2
RETRY_SECONDS = (1.0, 5.0)


class Sender(Protocol):
    """What sends one message of a subscription, beside its schedule."""

    async def post_now(
        self, served: Served, reason: Reason, sequence: int, body: bytes, timeout_s: float,
        pauses_s: Sequence[float] = (),
    ) -> tuple[Verdict, int]:  # fmt: skip
        """Over HTTPS, tried again after each pause: what came of it, and after how many ns."""

    async def send_now(self, served: Served, reason: Reason) -> int | None:
        """Over UDP: its sequence, None where the kernel did not take it; DeliveryError."""

    def next_sequence(self, number: int) -> int | None:
        """None where this node does not serve the subscription."""


class OrderDesk:
    """Of one process; `find` gives a subscription of this node's shards, paused or not."""

    def __init__(
        self,
        sender: Sender,
        prices: CurrentPrices,
        find: Callable[[int], Served | None],
        clock: Clock,
        *,
        is_simulated: bool,
    ) -> None:
        self._sender, self._prices, self._find, self._clock = sender, prices, find, clock
        self._is_simulated = is_simulated

    async def carry_out(self, order: Taken, parts: ReplayParts | None) -> OrderResult:
        """Do it, once; what came of it."""
        served = await self._await_served(order.subscription_id)
        if served is None:
            return OrderResult(False, {"error": "this node does not serve the subscription: ask again"})
        if parts is not None:
            return await self._replay_since(served, parts)
        if served.target.kind == "udp":
            return await self._send_datagram(served, order)
        return await self._post(served, order)

    async def _await_served(self, number: int) -> Served | None:
        for _ in range(int(SERVED_SECONDS / _LOOK_SECONDS)):
            served = self._find(number)
            if served is not None:
                return served
            await asyncio.sleep(_LOOK_SECONDS)
        return None

    async def _post(self, served: Served, order: Taken) -> OrderResult:
        wall_ns, number = self._clock.wall_ns(), served.subscription.id
        sequence = self._sender.next_sequence(number)
        if sequence is None:
            return _MOVED
        times = time_text(wall_ns), time_text(wall_ns + LIFETIME_NS)
        reason: Reason = "test" if order.kind == "test" else "replay"
        extra = b',"replay_of":%d' % order.argument["sequence"] if order.kind == "replay" else b""
        body = render(served.recipe, self._prices, self._clock.monotonic_ns(), sequence, reason, *times, extra=extra)
        verdict, latency_ns = await self._sender.post_now(served, reason, sequence, body, served.timeout_s)
        return OrderResult(verdict.is_delivered, _told(number, sequence, verdict, latency_ns))

    async def _send_datagram(self, served: Served, order: Taken) -> OrderResult:
        try:
            sequence = await self._sender.send_now(served, "test" if order.kind == "test" else "replay")
        except DeliveryError as error:
            return OrderResult(False, {"outcome": error.kind, "error": error.detail})
        if sequence is None:
            return OrderResult(False, {"outcome": "send_failed", "error": "the kernel did not take the datagram"})
        return OrderResult(True, {"outcome": "sent", "sequence": sequence})

    async def _replay_since(self, served: Served, parts: ReplayParts) -> OrderResult:
        if served.target.kind == "udp":
            error = "a subscription over UDP has no replay of the past: the history answers by HTTP"
            return OrderResult(False, {"error": error})
        told: dict[str, Any] = {"minutes": parts.minutes, "parts": len(parts.parts), "sent": 0}
        if parts.next_since is not None:
            told["next_since"] = parts.next_since.isoformat()
        for number, part in enumerate(parts.parts, start=1):
            if number > 1:
                await asyncio.sleep(PACE_SECONDS)
            now = self._find(served.subscription.id)  # it may have another target or secret by now, or be deleted
            verdict, sequence = (None, 0) if now is None else await self._post_part(now, parts, number, part)
            if verdict is None:
                return OrderResult(False, told | _MOVED.told)
            if not verdict.is_delivered:
                return OrderResult(False, told | {"outcome": verdict.outcome, "error": verdict.detail or "no 2xx"})
            told["sent"], told["last_sequence"] = number, sequence
        return OrderResult(True, told)

    async def _post_part(
        self, served: Served, parts: ReplayParts, number: int, part: bytes
    ) -> tuple[Verdict | None, int]:
        """One message, tried three times; None where the subscription is another node's now."""
        sequence = self._sender.next_sequence(served.subscription.id)
        if sequence is None:
            return None, 0
        made_at = time_text(self._clock.wall_ns())
        count = len(parts.parts)
        body = body_of_part(
            served.subscription.id, sequence, made_at, number, count, part, is_simulated=self._is_simulated
        )
        verdict, _ = await self._sender.post_now(served, "replay", sequence, body, TIMEOUT_SECONDS, RETRY_SECONDS)
        return verdict, sequence


_MOVED = OrderResult(False, {"error": "another node serves the subscription now: ask again"})


def _told(number: int, sequence: int, verdict: Verdict, latency_ns: int) -> dict[str, Any]:
    told = {
        "webhook_id": message_id(number, sequence),
        "sequence": sequence,
        "outcome": verdict.outcome,
        "status": verdict.status or None,
        "latency_ms": round(latency_ns / NS_PER_MS, 1),
    }
    return told | ({"error": verdict.detail} if verdict.detail else {})
