"""What the demo's receiver makes of what it gets: the rules that a customer's receiver follows. Pure; I/O is outside.

    signature    over the raw bytes, before anything is parsed; within 300 s
    duplicates   a `webhook-id` that was handled is acknowledged and not handled again; kept until its time + 300 s
    order        a sequence that is not above the last one of its subscription is old: acknowledged, and dropped
    gaps         a sequence that is not the next one, within one epoch (its upper bits), was lost on the way: counted

Rules: what is not signed by one of the known secrets is refused with 401 and changes nothing. What it shows holds no
secret, and is bounded (SUBSCRIPTIONS_MAX, EVENTS_KEPT, IDS_MAX).
"""

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from trinity.push.datagram import FRESH, STATUSES
from trinity.push.datagram import verify as verify_datagram
from trinity.push.signature import TOLERANCE_S, verify
from trinity.vocabulary import DELIVERY_REASONS

SUBSCRIPTIONS_MAX, EVENTS_KEPT, IDS_MAX = 64, 20, 10_000
# The upper bits of a sequence count the lives of its sender: a jump there is no loss.
_COUNTER_BITS = 32


class SubscriptionView(msgspec.Struct):
    """What arrived of one subscription."""

    subscription: int
    over: str
    messages: int = 0
    sequence: int = 0
    gaps: int = 0  # sequences that never came
    old: int = 0  # came after a newer one
    reason: str = ""
    time: str = ""
    prices: list[dict[str, Any]] = []


class Inbox:
    """Everything that was received."""

    def __init__(self) -> None:
        self.secrets: Sequence[bytes] = ()
        self.duplicates = self.refused = 0
        self._subscriptions: dict[int, SubscriptionView] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)
        self._ids: OrderedDict[str, int] = OrderedDict()  # with the second until which each is kept

    def take_webhook(self, headers: Mapping[str, str], body: bytes, now_s: int) -> tuple[int, str]:
        """A POST: the status to answer with, and a word on what became of it."""
        identity, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        signatures = headers.get("webhook-signature", "")
        is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16
        if not is_number or not verify(self.secrets, identity, int(timestamp), body, signatures, now_s):
            self.refused += 1
            return 401, "no signature of ours"
        self._forget_ids(now_s)
        if identity in self._ids:
            self.duplicates += 1
            return 200, "duplicate"
        self._ids[identity] = int(timestamp) + TOLERANCE_S
        message = msgspec.json.decode(body)
        if message["type"] in ("price.update", "price.replay"):
            data = message["data"]
            return 200, self._take_prices("https", data, message["timestamp"], data.get("prices", []))
        self._events.append({"id": identity, **message})
        return 200, message["type"]

    def take_datagram(self, datagram: bytes, time: str) -> str:
        """A datagram: a word on what became of it."""
        found = verify_datagram(datagram, self.secrets)
        if found is None:
            self.refused += 1
            return "no signature of ours"
        prices = [
            {"asset": price.asset, "price": f"{Decimal(price.price).scaleb(price.exponent):f}"}
            if price.status == FRESH
            else {"asset": price.asset, "error": STATUSES[price.status]}
            for price in found.prices
        ]
        data = {
            "subscription": found.subscription_id,
            "sequence": found.sequence,
            "reason": DELIVERY_REASONS[found.reason],
        }
        return self._take_prices("udp", data, time, prices)

    def report(self) -> dict[str, Any]:
        """What is shown."""
        return {
            "subscriptions": sorted(self._subscriptions.values(), key=lambda view: view.subscription),
            "events": list(self._events),
            "duplicates": self.duplicates,
            "refused": self.refused,
        }

    def _take_prices(self, over: str, data: Mapping[str, Any], time: str, prices: list[dict[str, Any]]) -> str:
        number, sequence = data["subscription"], data["sequence"]
        view = self._subscriptions.get(number)
        if view is None:
            if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
                del self._subscriptions[min(self._subscriptions)]
            view = self._subscriptions[number] = SubscriptionView(number, over)
        if sequence <= view.sequence:
            view.old += 1
            return "old"
        if sequence >> _COUNTER_BITS == view.sequence >> _COUNTER_BITS:
            view.gaps += sequence - view.sequence - 1
        view.messages += 1
        view.sequence, view.time, view.reason = sequence, time, data.get("reason", "replay")
        view.prices = prices or view.prices
        return view.reason

    def _forget_ids(self, now_s: int) -> None:
        while self._ids and (len(self._ids) > IDS_MAX or next(iter(self._ids.values())) < now_s):
            self._ids.popitem(last=False)
