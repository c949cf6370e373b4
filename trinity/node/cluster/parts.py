"""The parts of a cluster on one machine as programs: how one is started, asked, told to stop and killed.

Rules: a part has a process group of its own, so that Ctrl-C reaches the launcher alone and the order of the stop holds;
it is told to stop by the kernel when the launcher dies, however that happens (PR_SET_PDEATHSIG), so nothing is left
behind. What it prints goes to a file. The launcher has one thread: it forks again at every restart.
"""

import contextlib
import ctypes
import http.client
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from trinity.linux import PR_SET_PDEATHSIG
from trinity.store.embedded import Server

# A question whether a part is ready; the launcher has one thread.
ASKING_SECONDS = 1.0
_LAST_BYTES = 2000
_LAST_LINES = 3


class ClusterPart(Protocol):
    """What the launcher asks of a part."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    def start(self) -> None: ...
    def exit_code(self) -> int | None: ...
    def is_ready(self) -> bool: ...
    def tell_to_stop(self) -> None: ...
    def kill(self) -> None: ...
    def last_words(self) -> str: ...


class Program:
    """A program, its log file, and the question whether it is ready."""

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        log_file: Path,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str],
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.is_ready = is_ready
        self._command, self._log_file, self._environment = command, log_file, environment
        self._stop_signal = stop_signal
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() comes first"
        return self._process.pid

    def start(self) -> None:
        """Raises OSError where it cannot be started."""
        launcher = os.getpid()

        def bind_to_launcher() -> None:
            if self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0 or os.getppid() != launcher:
                os._exit(1)

        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environment),
                process_group=0,
                preexec_fn=bind_to_launcher,
            )

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process is not None else None

    def tell_to_stop(self) -> None:
        self._send(self._stop_signal)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def last_words(self) -> str:
        """The end of what it printed, on one line."""
        with contextlib.suppress(OSError), self._log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
            return " / ".join(line.strip() for line in lines[-_LAST_LINES:]) or "it said nothing"
        return "it said nothing"

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


class DatabasePart:
    """The embedded PostgreSQL as a part: `turn` is called while it is being made, which takes seconds."""

    name = "postgresql"

    def __init__(self, make_server: Callable[[], Server], turn: Callable[[], None]) -> None:
        self._make_server, self._turn = make_server, turn
        self._server: Server | None = None

    @property
    def pid(self) -> int:
        assert self._server is not None, "start() comes first"
        return self._server.pid

    def start(self) -> None:
        self._server = None  # while `turn` looks at all parts, this one neither runs nor has ended
        server = self._make_server()
        server.start(self._turn)
        self._server = server

    def exit_code(self) -> int | None:
        if self._server is None:
            return None
        self._server.pass_on_log(0)
        return self._server.exit_code()

    def is_ready(self) -> bool:
        return self._server is not None and self._server.answers()

    def tell_to_stop(self) -> None:
        if self._server is not None and self._server.exit_code() is None:
            self._server.shut_down()

    def kill(self) -> None:
        if self._server is not None and self._server.exit_code() is None:
            os.kill(self._server.pid, signal.SIGKILL)

    def last_words(self) -> str:
        return self._server.failure_message() if self._server is not None else "it said nothing"


def get_status(host: str, port: int, path: str) -> int:
    """The status of an answer; 0 when there is none."""
    connection = http.client.HTTPConnection(host, port, timeout=ASKING_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
