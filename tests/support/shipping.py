"""The log of a test's server on its way into the target, all the time."""

import threading

from tests.support.backups import BackedUp
from trinity.store.connect import connect


class Shipping(threading.Thread):
    """The log goes into the target all the time, as the backup's process does it."""

    def __init__(self, backed_up: BackedUp) -> None:
        super().__init__(daemon=True)
        self._backed_up, self._stopping = backed_up, threading.Event()

    def run(self) -> None:
        with connect(self._backed_up.url, "shipping", autocommit=True) as connection:
            while not self._stopping.wait(0.05):
                self._backed_up.stream.turn(connection)

    def stop(self) -> None:
        self._stopping.set()
        self.join()
