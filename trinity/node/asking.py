"""How the running node is asked to reload, and tells what became of it: two files in its data directory, and SIGHUP.

    lock            held by the node; its text is the supervisor's number
    reload-wanted   who asks, and what is to be replaced all the same; the supervisor removes it
    reload.json     what became of it, written anew at each step

Rules: light, because a command that asks a question must not wait for numba and every room's imports.
"""

import fcntl
import os
import signal
from pathlib import Path
from typing import Literal

import msgspec

from trinity.errors import ConfigError, NodeAbsentError
from trinity.files import Durability, write_whole

LOCK, WANTED, OUTCOME = "lock", "reload-wanted", "reload.json"
# Kinds of processes of which a spare begins before one ends.
POOLS = ("worker", "reporter")


class ReloadRequest(msgspec.Struct, frozen=True):
    """What `trinity reload` asks for: `token` is how it knows its own outcome."""

    token: str = ""
    kinds: tuple[str, ...] = ()


class ReloadOutcome(msgspec.Struct, frozen=True):
    """What became of a reload."""

    token: str
    state: Literal["running", "done", "refused", "failed"]
    applied: tuple[str, ...] = ()
    replacing: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()  # processes
    key: str = ""  # of what was refused
    reason: str = ""


def ask(data_dir: Path, node: str, wanted: ReloadRequest) -> None:
    """Have the node of this directory reload; NodeAbsentError, or ConfigError for a directory that is not ours."""
    pid = supervisor_pid(data_dir)
    if pid is None:
        raise NodeAbsentError(node)
    try:
        write_whole(data_dir / WANTED, [msgspec.json.encode(wanted)], Durability.RENAMED)
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        raise NodeAbsentError(node) from None
    except OSError as error:
        raise ConfigError("TRINITY_DATA_DIR", f"{data_dir}: {error.strerror}: run it as the node's user") from None


def supervisor_pid(data_dir: Path) -> int | None:
    """The number of the supervisor that works in the directory now; None when nobody does."""
    try:
        with (data_dir / LOCK).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or b"0") or None
    except (OSError, ValueError):
        return None
    return None


def read_outcome(data_dir: Path) -> ReloadOutcome | None:
    """What the node says of its last reload; None where there was none, or its file is being written."""
    try:
        return msgspec.json.decode((data_dir / OUTCOME).read_bytes(), type=ReloadOutcome)
    except (OSError, msgspec.DecodeError):
        return None
