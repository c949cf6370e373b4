"""Whether the database answers at all; who waits for one that does not is cut off, with a true word.

A server that is frozen (stopped, its disk hangs, its machine swaps) takes connections and then says nothing: none of
its own time limits runs, and a socket on the same machine has none either. So a thread asks it each ASK_SECONDS, on a
connection of its own. Where no answer comes within ANSWER_SECONDS:

    is_up            False, at the latest SILENCE_SECONDS after the server froze; True again with the next answer
    who waits        their connections are shut down: psycopg raises OperationalError in the thread or task that waits

Rules: a slow statement is none of this: the server answers others meanwhile, and the statement has its own limit. A
server that refuses (no room, starting, a wrong password) has answered; each user hears it from it themselves. A
transaction that was cut off is open: nobody knows whether its commit arrived, and whoever cares looks afterwards.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import psycopg

from trinity.errors import StoreSilentError
from trinity.store.connect import CONNECT_SECONDS, AnyConnection, bounded, is_silence

# One short question, on a socket of the same machine nearly always.
ASK_SECONDS = 0.5
# A server that has not answered SELECT 1 for so long is not slow but gone: it takes 0.1 ms.
ANSWER_SECONDS = 2.0
SILENCE_SECONDS = ASK_SECONDS + max(ANSWER_SECONDS, CONNECT_SECONDS)


class Watch:
    """The thread; `start` it once. What it guards may be of any thread or event loop."""

    def __init__(self, url: str) -> None:
        self._url = bounded(url, "watch", ANSWER_SECONDS)
        self._guarded: WeakSet[psycopg.Connection[Any] | psycopg.AsyncConnection[Any]] = WeakSet()
        self._adding = threading.Lock()
        self._stopping = threading.Event()
        self.is_up = True

    def start(self) -> None:
        """Begin to ask; a call that is over before has cost no connection."""
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Ask no more; the thread ends with its next turn."""
        self._stopping.set()

    def guard(self, connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
        """Cut this connection off when the server says nothing any more."""
        with self._adding:
            self._guarded.add(connection)

    def _run(self) -> None:
        own: AnyConnection | None = None
        while not self._stopping.wait(ASK_SECONDS):
            own, self.is_up, is_silent = self._ask(own)
            if is_silent:
                with self._adding:
                    guarded = list(self._guarded)
                for connection in guarded:
                    cut_off(connection)
        if own is not None:
            own.close()

    def _ask(self, own: AnyConnection | None) -> tuple[AnyConnection | None, bool, bool]:
        """The connection to ask on next, whether the server answered, and whether it said nothing."""
        silent = threading.Event()
        try:
            if own is None:
                own = psycopg.connect(self._url, autocommit=True)
            timer = threading.Timer(ANSWER_SECONDS, _give_up, [own, silent])
            timer.daemon = True
            timer.start()
            try:
                own.execute("SELECT 1")
            finally:
                timer.cancel()
        except psycopg.Error as error:
            if own is not None:
                own.close()
            return None, error.sqlstate is not None, silent.is_set() or is_silence(error)
        return own, True, False


@contextlib.contextmanager
def watched(url: str, connection: AnyConnection) -> Iterator[None]:
    """A short-lived user's connection under a watch of its own; StoreSilentError when it was cut off."""
    watch = Watch(url)
    watch.guard(connection)
    watch.start()
    try:
        yield
    except psycopg.OperationalError:
        if not watch.is_up:
            raise StoreSilentError(SILENCE_SECONDS) from None
        raise
    finally:
        watch.stop()


def _give_up(connection: AnyConnection, silent: threading.Event) -> None:
    silent.set()
    cut_off(connection)


def cut_off(connection: "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]") -> None:
    """End the connection under whoever waits on it: they read its end. Closing is theirs."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
