"""PostgreSQL's own programs: those that come with the embedded server, bound to the life of whoever starts them.

Rules: a program dies with the thread that started it, so nobody's kill leaves one behind. Passwords go by the
environment, for everybody can read a command line; nothing else of the node's environment is passed on. What a program
said last is the reason of its failure. They yield to everybody else: prices come first.
"""

import ctypes
import os
import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from trinity.errors import BackupToolError
from trinity.linux import PR_SET_PDEATHSIG
from trinity.store.embedded import PROGRAMS

_NICENESS = 10
_LAST_LINES = 3
_STOP_SECONDS = 5.0
_SECRETS = {"password": "PGPASSWORD", "sslpassword": "PGSSLPASSWORD"}
# A server that is gone without a word is noticed after this time.
_VANISHED_SECONDS = 15


class Tool:
    """A running program; `finish` it, or `stop` it."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], errors: Path) -> None:
        self._name, self._errors = name, errors
        libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

        def bind_to_parent() -> None:
            if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
                os._exit(1)
            os.nice(_NICENESS)

        # Into a file: nobody reads a pipe while the work is waited for, and a full one would stop it.
        with errors.open("wb") as said:
            self._process = subprocess.Popen(
                [str(PROGRAMS / name), *arguments],
                cwd="/",
                env={"LC_ALL": "C", "PATH": str(PROGRAMS), **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                preexec_fn=bind_to_parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> BinaryIO:
        assert self._process.stdout is not None
        return self._process.stdout  # type: ignore[return-value]

    def exit_code(self) -> int | None:
        return self._process.poll()

    def said(self) -> str:
        """Its last lines."""
        try:
            lines = deque(self._errors.read_text(errors="replace").splitlines(), _LAST_LINES)
        except OSError:
            lines = deque()
        return " / ".join(line.strip() for line in lines) or "it said nothing"

    def finish(self) -> None:
        """Wait for its end; BackupToolError when it was not a good one."""
        self.output.close()
        code = self._process.wait()
        if code != 0:
            raise BackupToolError(self._name, f"it ended with {code}: {self.said()}")

    def stop(self) -> None:
        """End it now, if it has not ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.output.close()


def run_tool(name: str, arguments: Sequence[str], errors: Path) -> None:
    """A program that needs no server, to its end; BackupToolError."""
    tool = Tool(name, arguments, {}, errors)
    while tool.output.read(65536):
        pass
    tool.finish()


def server_arguments(url: str, application: str) -> tuple[list[str], dict[str, str]]:
    """How a program is told of the server: arguments without secrets, and the environment that has them."""
    fields = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
    secrets = {_SECRETS[name]: str(fields.pop(name)) for name in _SECRETS if name in fields}
    defaults: dict[str, Any] = {
        "connect_timeout": 5,
        "keepalives_idle": _VANISHED_SECONDS // 3,
        "keepalives_interval": _VANISHED_SECONDS // 3,
        "keepalives_count": 2,
        "tcp_user_timeout": _VANISHED_SECONDS * 1000,
    }
    conninfo = make_conninfo(**(defaults | fields | {"application_name": f"trinity {application}"}))
    return ["--no-password", "--dbname", conninfo], secrets
