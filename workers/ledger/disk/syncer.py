"""The sync's thread: what stays in the spool for longer than a second is brought to the disk.

Rules: what the disk refuses here is a state of the world, and not the drain's: a write goes to memory and succeeds
while the disk fails behind it. It is told once per change and shown (`is_synced`), as is a sync that never returns.
Anything else is a fault of ours: the process's loop raises it.
"""

import logging
import threading

from trinity.clock import NS_PER_SECOND, Clock
from trinity.observe.log import Settled
from workers.ledger.disk.spool import Spool

_TURN_SECONDS = 1.0
# A sync of some MB takes 10 ms to 1 s, on a disk that a load has filled up some seconds; beyond this it hangs.
_LATE_NS = 10 * NS_PER_SECOND


class Syncer(threading.Thread):
    """Syncs the spool until the process ends."""

    def __init__(self, spool: Spool, clock: Clock, log: logging.Logger, turn_seconds: float = _TURN_SECONDS) -> None:
        super().__init__(name="sync", daemon=True)
        self._spool, self._clock, self._log, self._turn_seconds = spool, clock, log, turn_seconds
        self._synced_at_ns = clock.monotonic_ns()
        self._refusal = ""
        self._told = Settled(True)
        self._failure: BaseException | None = None

    def run(self) -> None:
        never = threading.Event()
        try:
            while not never.wait(self._turn_seconds):
                self._sync()
        except BaseException as error:  # noqa: BLE001 - the border of the thread: the process's loop raises it
            self._failure = error

    def raise_failure(self) -> None:
        """In the process's loop: what ended the thread ends the process."""
        if self._failure is not None:
            raise self._failure

    def is_synced(self) -> bool:
        """Whether the disk has what it should, as far as one can see; a change is told. Ask at every turn."""
        now_ns = self._clock.monotonic_ns()
        is_late = now_ns - self._synced_at_ns > _LATE_NS
        is_synced = not self._refusal and not is_late
        if self._told.is_news(is_synced, now_ns):
            reason = {"reason": self._refusal or "the disk does not answer"}
            if is_synced:
                self._log.warning(f"the disk confirms the {self._spool.kind.name} spool again")
            else:
                self._log.critical(
                    f"the disk does not confirm the {self._spool.kind.name} spool", extra={"fields": reason}
                )
        return is_synced

    def _sync(self) -> None:
        try:
            self._spool.sync()
        except OSError as error:
            self._refusal = str(error)
        else:
            self._refusal = ""
            self._synced_at_ns = self._clock.monotonic_ns()
