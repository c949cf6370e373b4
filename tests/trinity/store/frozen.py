"""A PostgreSQL that can be frozen: every process of it stopped, as a hanging disk does it."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped] # it ships no types

from tests.support.database import DatabaseServer


@contextlib.contextmanager
def running_server(data_dir: Path) -> Iterator[DatabaseServer]:
    """A server of its own, which nobody else waits for."""
    server = DatabaseServer(data_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The server whose first process this is stands still."""
    first = psutil.Process(pid)
    stopped: list[psutil.Process] = []
    try:
        first.send_signal(signal.SIGSTOP)  # from here on there are no new ones
        stopped = [first, *first.children(recursive=True)]
        for process in stopped[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in [*stopped[1:], first]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
