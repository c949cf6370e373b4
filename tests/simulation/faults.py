"""What kills and what refuses: the death of a writer between two stores, and a disk that lies.

Rules: everything else of the code under test is real. `Stores` lets a turn of the consensus end behind the chosen
store. `Disk` stands in the place of the module `os` in the spool's modules, over a real folder: it knows what was
synced and so what a crash of the machine leaves; files' names are kept (a journal), their unsynced ends are not.
"""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from trinity import files
from trinity.memory import usage_ring
from trinity.memory.answer_table import ROW_WORDS, SLOT_WORDS, AnswerTable
from trinity.memory.cell import COUNTER_WORDS
from workers.ledger.disk import spool, unit
from workers.request import ledger as request_ledger

Words = NDArray[np.uint64]

TAKES, FULL, TEARS = range(3)  # what the disk does with a write


class Killed(BaseException):
    """SIGKILL. Not an Exception, so that no handler of the code under test lives on."""


class FatalWords(np.ndarray):  # type: ignore[type-arg]
    """Shared words whose writer dies behind its store number `left`."""

    left: int

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, value)
        self.left -= 1
        if self.left == 0:
            raise Killed


def fatal(words: Words, stores: int) -> FatalWords:
    view = words.view(FatalWords)
    view.left = stores
    return view


def source_of(function: Any) -> Any:
    """The plain Python function behind a compiled one."""
    return getattr(function, "py_func", function)


class Stores:
    """The stores of a consensus turn. Armed with n, the next turn dies behind its n-th store.

    The turn is one compiled function, so it is let through and then undone from its n-th store on: answers are written
    row by row in the order of the table, a slot's words first and its counter last (cell.py). What the process says of
    itself, its heartbeat among that, comes behind all of them.
    """

    def __init__(self) -> None:
        self._left = 0

    def arm(self, stores: int) -> None:
        self._left = stores

    def disarm(self) -> None:
        self._left = 0

    def turn(self, answers: AnswerTable, control: Words, act: Callable[[], object]) -> None:
        """Let `act` write its answers, as far as it comes."""
        if self._left == 0:
            act()
            return
        before, said_before = answers.words.copy(), control.copy()
        act()
        if self._cut(answers, before):
            control[:] = said_before
            raise Killed

    def _cut(self, answers: AnswerTable, before: Words) -> bool:
        """Undo what was written behind the last store; whether there was anything."""
        words, left, is_dead = answers.words, self._left, False
        for base in range(0, answers.verdicts_base, ROW_WORDS):
            if words[base] == before[base]:
                continue
            if is_dead:
                words[base : base + ROW_WORDS] = before[base : base + ROW_WORDS]
            elif left > SLOT_WORDS:
                left -= SLOT_WORDS + 1
                is_dead = left == 0
            else:
                slot = base + COUNTER_WORDS + (int(words[base]) & 1) * SLOT_WORDS
                words[slot + left : slot + SLOT_WORDS] = before[slot + left : slot + SLOT_WORDS]
                words[base], is_dead = before[base], True
        if is_dead:
            words[answers.verdicts_base :] = before[answers.verdicts_base :]
        return is_dead

    def append_and_die(self, ledger: Any, caller: Any, now_ns: int, stores: int) -> None:
        """Write a usage record as a worker does that dies behind so many of its stores."""
        with patch.object(request_ledger, "append_record", source_of(usage_ring.append_record)):
            words = fatal(ledger.ring, stores)
            source_of(request_ledger.record)(ledger._replace(ring=words), caller, now_ns, now_ns)
        raise Killed


class Disk:
    """`os` for the spool: counts calls, refuses, tears, kills, and remembers what was synced."""

    def __init__(self, folder: Path, undo: contextlib.ExitStack) -> None:
        self._folder = str(folder)
        self._spool = folder / "usage" / "spool"
        self.mode = TAKES
        self._left = 0
        self._is_dead = False
        self._synced: dict[int, int] = {}  # inode -> bytes
        self._images: dict[Path, bytes] = {}  # mapped files as the kernel wrote them back
        for module in (files, spool, unit):
            undo.enter_context(patch.object(module, "os", self))
        for name in ("unlink", "rename"):
            undo.enter_context(patch.object(Path, name, self._path_call(getattr(Path, name))))

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def set(self, mode: int) -> None:
        self.mode = mode

    def heal(self) -> None:
        self.mode, self._left = TAKES, 0

    def arm(self, calls: int) -> None:
        """The process dies at its n-th call from now on."""
        self._left = calls

    def revive(self) -> None:
        self._left, self._is_dead = 0, False

    def _call(self) -> bool:
        """Count a call; True when the process dies within it."""
        if self._is_dead:
            raise Killed  # while the stack of a dead process unwinds, nothing more happens to the disk
        if self._left:
            self._left -= 1
            if self._left == 0:
                self._is_dead = True
                return True
        return False

    def _path_call(self, real: Any) -> Any:
        def stand_in(path: Path, *args: Any, **kwargs: Any) -> Any:
            if str(path).startswith(self._folder) and self._call():
                raise Killed
            return real(path, *args, **kwargs)

        return stand_in

    # --- what the modules call -----------------------------------------------------------------------------

    def writev(self, fd: int, parts: list[Any]) -> int:
        return self.write(fd, b"".join(bytes(part) for part in parts))

    def write(self, fd: int, data: bytes) -> int:
        if self._call():
            os.write(fd, data[: len(data) // 2])
            raise Killed
        if self.mode == FULL:
            raise OSError(errno.ENOSPC, "full")
        if self.mode == TEARS:
            return os.write(fd, data[: len(data) // 3])
        return os.write(fd, data)

    def pwrite(self, fd: int, data: bytes, at: int) -> int:
        if self._call():
            raise Killed
        if self.mode != TAKES and at + len(data) > os.fstat(fd).st_size:  # what is there already needs no room
            raise OSError(errno.ENOSPC, "full")
        return os.pwrite(fd, data, at)

    def ftruncate(self, fd: int, size: int) -> None:
        if self._call():
            raise Killed
        os.ftruncate(fd, size)
        inode = os.fstat(fd).st_ino
        self._synced[inode] = min(self._synced.get(inode, 0), size)

    def fsync(self, fd: int) -> None:
        if self._call():
            raise Killed
        if self.mode != TAKES:
            raise OSError(errno.ENOSPC, "full")
        found = os.fstat(fd)
        self._synced[found.st_ino] = found.st_size

    fdatasync = fsync

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        if not str(path).startswith(self._folder):
            return os.open(path, flags, mode)  # of another disk: machine code that is kept, if some is compiled now
        if self._call():
            raise Killed
        if self.mode == FULL and flags & os.O_CREAT and not os.path.exists(path):
            raise OSError(errno.ENOSPC, "full")
        fd = os.open(path, flags, mode)
        if flags & os.O_EXCL:
            self._synced[os.fstat(fd).st_ino] = 0
        return fd

    # --- the machine's crash -------------------------------------------------------------------------------

    def write_back(self, rings: Any, callers: Any) -> None:
        """The kernel writes its mapped files to the disk, as it does every half minute."""
        for path in [*(ring.path for ring in rings), callers.limits_path]:
            self._images[path] = path.read_bytes()
        callers.written_back()

    def crash(self) -> None:
        """What a power cut leaves: synced bytes of the spool, mapped files as they were last written back."""
        for path in self._spool.iterdir():
            found = path.stat()
            os.truncate(path, min(found.st_size, self._synced.get(found.st_ino, 0)))
        for path, image in self._images.items():
            path.unlink()
            path.write_bytes(image)
