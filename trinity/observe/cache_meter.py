"""How a process does with Valkey, in its metrics and its log: the one watcher of the cache's clients.

Rules: the process's register has `metrics.OF_CACHE`. An outage is told once when it begins and once when it ends.
"""

import logging

from trinity.clock import Clock
from trinity.memory.control import ProcessBlock
from trinity.observe.log import Outage
from trinity.observe.register import Register


class CacheMeter:
    """Told by a client (trinity/cache/client.py) how the cache does."""

    def __init__(self, block: ProcessBlock, register: Register, log: logging.Logger, clock: Clock) -> None:
        self._block, self._clock, self._log = block, clock, log
        self._up, self._full = register.index("cache_up"), register.index("cache_full")
        self._errors = register.index("cache_errors_total")
        self._outage = Outage(log, logging.WARNING, "without the cache", "the cache answers")
        block.set_gauge(self._up, 0.0)  # whatever a predecessor said
        block.set_gauge(self._full, 0.0)

    def up(self) -> None:
        self._block.set_gauge(self._up, 1.0)
        self._outage.up()

    def down(self, reason: str) -> None:
        self._block.set_gauge(self._up, 0.0)
        self._outage.down(reason, self._clock.monotonic_ns())

    def failed(self) -> None:
        self._block.count(self._errors)

    def full(self, is_full: bool) -> None:
        self._block.set_gauge(self._full, float(is_full))
        said = "the cache is full: it takes nothing more" if is_full else "the cache has room again"
        self._log.warning(said)
