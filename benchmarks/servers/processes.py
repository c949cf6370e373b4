"""Servers under measurement: started on one core, watched through /proc, stopped by their own pid.

Rules: a server is a process and all that it forked. Processor time is the scheduler's own account in nanoseconds
(/proc/<pid>/task/<tid>/schedstat), memory the proportional set size, so shared pages are counted once.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from benchmarks.errors import PeerError
from trinity.config import NodeSection

# A node compiles at its very first start: a minute on a quiet machine, several on a busy one.
START_SECONDS_MAX = 400
# SIGTERM drains a node in under 5 s; after twice that it is killed.
STOP_SECONDS = 10
_POLL_SECONDS = 0.05


class Server:
    """A running server; `pid` is the process that was started."""

    def __init__(
        self,
        name: str,
        process: "subprocess.Popen[bytes]",
        log_file: Path,
        start: Callable[[], "subprocess.Popen[bytes]"],
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._process = process
        self._start = start
        self.pid = process.pid

    def start_again(self) -> None:
        """The same command, after its end."""
        self._process = self._start()
        self.pid = self._process.pid

    def ended_within(self, seconds: float) -> bool:
        """Wait for so long; True as soon as the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it and everything that it forked."""
        pids = family_of(self.pid)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._process.kill()
        self._process.wait()
        for pid in pids[1:]:
            _kill(pid)


def _kill(pid: int) -> None:
    """Kill a process that is not our child, if it still runs, and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        watch = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(watch, signal.SIGKILL)
            select.select([watch], [], [], STOP_SECONDS)
        finally:
            os.close(watch)


def start(
    name: str,
    command: Sequence[str],
    folder: Path,
    cpu: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Server:
    """Start a server, on one core if `cpu` is given; its output goes to `folder/<name>.log`."""
    log_file = folder / f"{name}.log"

    def run() -> "subprocess.Popen[bytes]":
        with _on_cpu(cpu), log_file.open("wb") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
            )

    return Server(name, run(), log_file, run)


def wait_for_port(server: Server, port: int) -> None:
    """Until the server accepts connections on loopback; PeerError with the end of its log when it does not."""
    for _ in range(int(START_SECONDS_MAX / _POLL_SECONDS)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if server.ended_within(_POLL_SECONDS):
            break
    lines = server.log_file.read_text(errors="replace").strip().splitlines()
    server.stop()
    raise PeerError(server.name, f"did not start: {' | '.join(lines[-3:])[-400:]}")


@contextlib.contextmanager
def _on_cpu(cpu: int | None) -> Iterator[None]:
    """What is started meanwhile inherits this processor."""
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@cache
def cores() -> tuple[int, int]:
    """(the server's core, the client's core), as the first call found them; the same one if there is no second."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def data_dir() -> Path:
    """Where compiled code is cached and results go, the same for us and for every node that we start."""
    return Path(os.environ.get("TRINITY_DATA_DIR") or NodeSection().data_dir).resolve()


def raise_file_limit() -> None:
    """As many open files as the machine permits, for us and what we start: 4,096 connections need more than 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A loopback port that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def family_of(pid: int) -> list[int]:
    """The process and all that descend from it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    family = [pid]
    for member in family:
        family.extend(children.get(member, []))
    return family


def cpu_ns(pids: Sequence[int]) -> int:
    """Processor time that these processes' living threads have used, user and system."""
    total = 0
    for pid in pids:
        for task in _entries(pid, "task"):
            with contextlib.suppress(OSError, IndexError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


def pss_bytes(pid: int) -> int:
    """Proportional set size: own pages, and each shared page divided by the number of its users."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def thread_count(pids: Sequence[int]) -> int:
    return sum(len(_entries(pid, "task")) for pid in pids)


def descriptor_count(pids: Sequence[int]) -> int:
    return sum(len(_entries(pid, "fd")) for pid in pids)


def _entries(pid: int, part: str) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/{part}").iterdir())
    except OSError:
        return []
