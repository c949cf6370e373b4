"""An embedded database of its own, for as long as a measurement lasts."""

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.errors import PeerError
from trinity.store.embedded import Server, embedded_url
from trinity.store.migrate import ensure

_START_SECONDS_MAX = 120.0
_PAUSE_SECONDS = 0.05
_LOG_WAIT_MS = 50


@contextlib.contextmanager
def database_in(folder: Path) -> Iterator[tuple[str, int]]:
    """The address of a server in this folder, with all tables, and its process; PeerError when it does not answer."""
    server = Server(folder, logging.getLogger(__name__))
    server.start(lambda: time.sleep(_PAUSE_SECONDS))
    try:
        until = time.monotonic() + _START_SECONDS_MAX
        while not server.answers():
            if time.monotonic() > until:
                raise PeerError("postgresql", f"does not answer after {_START_SECONDS_MAX:g} s")
            server.pass_on_log(_LOG_WAIT_MS)
        url = embedded_url(folder)
        ensure(url)
        yield url, server.pid
    finally:
        server.shut_down()
        while server.exit_code() is None:
            server.pass_on_log(_LOG_WAIT_MS)
