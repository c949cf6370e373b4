"""A thread that lives on the database: one connection after the other, until it is told to stop.

    connection ends      the next one is tried for after a back-off (trinity/backoff.py), which a good one clears
    database is frozen   the thread hangs with it until its watch cuts the connection off (watch.py)
    a fault of ours      ends the thread; the process's loop raises it (`raise_failure`), and so ends the process

Rules: what psycopg, the store or the disk raise is a state of the world, which a subclass tells and swallows; whatever
it lets out is a fault. The process's loop waits for none of this.
"""

import abc
import threading
from random import Random

from trinity.backoff import Backoff
from trinity.clock import NS_PER_SECOND, Clock
from trinity.store.watch import Watch

# A server that comes back finds everybody within a second, spread.
RETRY_FLOOR_SECONDS, RETRY_BASE_SECONDS, RETRY_CAP_SECONDS = 0.25, 0.25, 1.0


class SessionThread(threading.Thread, abc.ABC):
    """Subclasses say what one connection is for; they call `_on_good` once it works."""

    def __init__(self, name: str, url: str, clock: Clock) -> None:
        super().__init__(name=name, daemon=True)
        self._url, self._clock = url, clock
        self._watch = Watch(url)
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._backoff = Backoff(Random(), RETRY_FLOOR_SECONDS, RETRY_BASE_SECONDS, RETRY_CAP_SECONDS, reset_seconds=0)

    def run(self) -> None:
        self._watch.start()
        try:
            while not self._stopping.is_set():
                self._backoff.on_try(self._clock.monotonic_ns())
                self._live_one_connection()
                now_ns = self._clock.monotonic_ns()
                self._backoff.on_failure(now_ns)
                self._stopping.wait((self._backoff.due_ns - now_ns) / NS_PER_SECOND)
        except BaseException as error:  # noqa: BLE001 - the border of the thread: the process's loop raises it
            self._failure = error
        finally:
            self._watch.stop()

    def raise_failure(self) -> None:
        """In the process's loop: what ended the thread ends the process."""
        if self._failure is not None:
            raise self._failure

    def finish(self, seconds: float) -> None:
        """Let it do what is left, but wait no longer than this."""
        self._stopping.set()
        self.join(seconds)
        self.raise_failure()

    def _on_good(self) -> None:
        """The connection works: the next failure is the first."""
        self._backoff.on_good(self._clock.monotonic_ns())

    @abc.abstractmethod
    def _live_one_connection(self) -> None:
        """Connect, and do what the connection is for until it ends or `_stopping` is set."""
