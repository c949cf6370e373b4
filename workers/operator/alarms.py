"""Alarms of this node, for the operator's endpoints and the feed: what it lost, feeds to capacity, and has back.

Rules: told when it changes and never again while it stays so: a loss after LOST_NS, a recovery after RECOVERED_NS, so
that what flickers is no news. What was told last stands in the database, so an operator process that starts anew tells
nothing twice. Pure, but for `look`.
"""

import logging
from collections.abc import Mapping

from trinity.clock import NS_PER_SECOND
from trinity.memory.node import NodeMemory
from trinity.observe.metrics import CLUSTER, REQUEST
from trinity.observe.readings import (
    are_prices_lost,
    read_assets,
    read_cache,
    read_exchanges,
    read_processes,
    read_sources,
)
from trinity.push.events import emit
from trinity.store.connect import AnyConnection
from trinity.store.queries import load

# An exchange that restarts is back within this time; a node's own start takes less.
LOST_NS = 30 * NS_PER_SECOND
RECOVERED_NS = 10 * NS_PER_SECOND
# What is looked at beside each exchange, as the events' types call it.
PRICES, CACHE, LIMITS, CAPACITY = "prices", "cache", "limits", "capacity"
_REFUSED = REQUEST.index("overload_refusals_last_second")
_BOUNDED = CLUSTER.index("cluster_limits_bounded")


class Steady:
    """What of each thing was told, and since when it has been otherwise."""

    def __init__(self, told_lost: Mapping[str, bool]) -> None:
        self._told = dict(told_lost)  # what was never told is well
        self._since_ns: dict[str, int] = {}

    def is_news(self, thing: str, is_lost: bool, now_ns: int) -> bool:
        """Whether to tell it now; `tell` when that is done."""
        if is_lost == self._told.get(thing, False):
            self._since_ns.pop(thing, None)
            return False
        since_ns = self._since_ns.setdefault(thing, now_ns)
        return now_ns - since_ns >= (LOST_NS if is_lost else RECOVERED_NS)

    def tell(self, thing: str, is_lost: bool) -> None:
        self._told[thing] = is_lost
        self._since_ns.pop(thing, None)


class NodeAlarms:
    """Of one node's process."""

    def __init__(self, memory: NodeMemory, log: logging.Logger) -> None:
        self._memory, self._log = memory, log
        self._steady: Steady | None = None

    def look(self, connection: AnyConnection, now_ns: int) -> None:
        """Tell what has changed, once; `now_ns` is monotonic."""
        node = self._memory.card.node
        if self._steady is None:
            rows = connection.execute(load("events.last_alarms"), {"node": node}).fetchall()
            self._steady = Steady({thing: event_type.endswith("_lost") for thing, event_type in rows})
        for thing, is_lost in self._read(now_ns).items():
            if not self._steady.is_news(thing, is_lost, now_ns):
                continue
            is_feed = thing not in (PRICES, CACHE, LIMITS, CAPACITY)
            event_type = f"node.{'feed' if is_feed else thing}_{'lost' if is_lost else 'recovered'}"
            told = {"node": node, **({"exchange": thing} if is_feed else {})}
            emit(connection, None, event_type, told)
            self._steady.tell(thing, is_lost)
            self._log.warning("node alarm", extra={"fields": {"type": event_type, **told}})

    def _read(self, now_ns: int) -> dict[str, bool]:
        exchanges = read_exchanges(self._memory, read_sources(self._memory, now_ns))
        lost = {view.exchange: view.status == "down" for view in exchanges}
        lost[PRICES] = are_prices_lost(read_assets(self._memory, now_ns))
        lost[CACHE] = read_cache(self._memory, now_ns).state in ("down", "full")
        views = list(enumerate(read_processes(self._memory, now_ns)))
        # A process that is gone tells the workers nothing either.
        lost[LIMITS] = any(
            not view.alive or self._memory.control.block(index).read_gauge(_BOUNDED) == 1.0
            for index, view in views
            if view.kind == "cluster"
        )
        lost[CAPACITY] = any(
            view.alive and self._memory.control.block(index).read_gauge(_REFUSED) > 0
            for index, view in views
            if view.kind == "worker"
        )
        return lost
