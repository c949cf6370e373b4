"""A base backup on a thread and a connection of its own: it takes minutes, and the log goes on meanwhile."""

import threading

import psycopg

from trinity.backup.base import Origin, ServerFacts, take_base
from trinity.backup.catalog import Base
from trinity.backup.layout import base_label
from trinity.backup.target import BackupTarget
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import TrinityError
from trinity.store.connect import connect


class BaseRun(threading.Thread):
    """One base; look at it until it `is_over`."""

    def __init__(
        self, origin: Origin, target: BackupTarget, facts: ServerFacts, moment: int, parent: Base | None, clock: Clock
    ) -> None:
        super().__init__(name="base backup", daemon=True)
        self._origin, self._target, self._facts = origin, target, facts
        self._moment, self._parent, self._clock = moment, parent, clock
        self.label = base_label(moment, "incremental" if parent else "full")
        self.base: Base | None = None
        self.failure: Exception | None = None
        self.seconds = 0.0

    @property
    def is_over(self) -> bool:
        return not self.is_alive()

    def run(self) -> None:
        began_ns = self._clock.monotonic_ns()
        try:
            with connect(self._origin.url, "base backup", autocommit=True) as connection:
                self.base = take_base(self._origin, self._target, connection, self._facts, self._moment, self._parent)
        except (TrinityError, psycopg.Error, OSError) as error:
            self.failure = error
        except BaseException as error:  # noqa: BLE001 - the border of the thread: who looks at it raises it
            self.failure = RuntimeError(f"{type(error).__name__}: {error}")
        self.seconds = (self._clock.monotonic_ns() - began_ns) / NS_PER_SECOND
