"""The outgoing heartbeat: HEARTBEAT_URL is asked once a minute while prices are fresh, so that silence raises an alarm.

Whoever is told (a monitor somewhere else, on another power supply) alarms when it has heard nothing for some minutes:
then the machine is gone, or the node, its network or its prices. Told is `GET`, and any answer from 200 to 299 is good;
no redirect is followed. A try that came to nothing is made again soon.

Rules: fresh means what /health means: the node is not down, and most assets have a price. The address is a secret: no
log and no metric has it, nor any words of a library that may hold it.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import aiohttp

from trinity.clock import NS_PER_SECOND, Clock
from trinity.memory.control import ProcessBlock
from trinity.net.egress import failure_of
from trinity.observe.log import Outage, Settled
from trinity.observe.metrics import HEALTH
from trinity.observe.readings import are_prices_lost
from trinity.observe.reasons import DOWN, Reading

PERIOD_NS = 60 * NS_PER_SECOND
AGAIN_NS = 10 * NS_PER_SECOND
# How often it is looked whether prices are fresh and a beat is due.
LOOK_SECONDS = 5.0
_TRY_SECONDS = 8.0  # less than AGAIN_NS
_GOOD = range(200, 300)

_FAILING, _WITHHELD = HEALTH.index("heartbeat_failing"), HEALTH.index("heartbeat_withheld")


class HeartbeatSettings(NamedTuple):
    """Who is told, and through which proxy; None: directly."""

    url: str
    proxy: str | None


class OutgoingHeartbeat:
    """Of one node. `turn` is called every LOOK_SECONDS."""

    def __init__(
        self,
        settings: HeartbeatSettings,
        session: aiohttp.ClientSession,
        clock: Clock,
        block: ProcessBlock,
        log: logging.Logger,
    ) -> None:
        self._settings, self._session, self._clock, self._block, self._log = settings, session, clock, block, log
        self._due_ns = 0
        self._is_withheld = Settled(state=False)
        self._outage = Outage(log, logging.WARNING, "the heartbeat does not get through", "the heartbeat gets through")

    async def turn(self, read: Callable[[], Reading]) -> None:
        """Tell it, when prices are fresh and it is due."""
        now_ns = self._clock.monotonic_ns()
        is_fresh = is_worth_a_beat(read())
        self._block.set_gauge(_WITHHELD, float(not is_fresh))
        if self._is_withheld.is_news(not is_fresh, now_ns):
            event = "the heartbeat goes on" if is_fresh else "the heartbeat is withheld: prices are not fresh"
            self._log.warning(event)
        if not is_fresh or now_ns < self._due_ns:
            return
        reason = await self._tell()
        self._block.count(HEALTH.index("heartbeats_total", "sent" if reason is None else "failed"))
        self._block.set_gauge(_FAILING, float(reason is not None))
        self._due_ns = now_ns + (PERIOD_NS if reason is None else AGAIN_NS)
        if reason is None:
            self._outage.up()
        else:
            self._outage.down(reason, now_ns)

    async def _tell(self) -> str | None:
        """Why it was not taken; None when it was."""
        limit = aiohttp.ClientTimeout(total=_TRY_SECONDS)
        url, proxy = self._settings
        try:
            async with self._session.get(url, proxy=proxy, timeout=limit, allow_redirects=False) as response:
                return None if response.status in _GOOD else f"HTTP {response.status}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return failure_of(error).kind  # its words may hold the address


def is_worth_a_beat(reading: Reading) -> bool:
    """Whether the node answers, and most of its prices are fresh."""
    return not are_prices_lost(reading.assets) and not any(reason.sentences(reading) for reason in DOWN)
