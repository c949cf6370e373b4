"""One named piece of shared memory with a checked header.

    word 0   magic            "TRINITY1" as bytes; written last
    word 1   layout version   raised by hand when the meaning of bytes changes
    word 2   layout hash      hash of the structure's dtype, names and counts
    word 3   owner pid        the process that created it, for messages: in another container it is somebody else's
    word 4   total words      header and body
    word 5-7 reserved
    word 8.. body

Rules: the supervisor creates and alone unlinks; children inherit the mapping through fork; only tools attach by
name. Whose it is says a lock (flock) on the open file, which the mapping keeps: it holds for every process of the node,
across namespaces of process numbers, and is free when the last one has ended. Only who holds it writes, or removes the
leftover of a dead node. Every byte is written at creation, so that a full /dev/shm fails at start and not at the first
write. The mapping goes with the last array over it.
"""

import contextlib
import fcntl
import mmap
import os
import select
from pathlib import Path

import numpy as np

from trinity.errors import LayoutError, NodeRunningError
from trinity.memory.atomics import Words

MAGIC = int.from_bytes(b"TRINITY1", "little")
HEADER_WORDS = 8
WORD_BYTES = 8

_MAGIC, _VERSION, _HASH, _OWNER_PID, _TOTAL_WORDS = range(5)

# After a SIGKILL of the whole node its last process may take some 100 ms to be gone, as in data_dir.py.
_CLAIM_TRIES = 20
_CLAIM_WAIT_SECONDS = 0.1


class Segment:
    """A created or attached piece of shared memory; `body` is all of it behind the header."""

    def __init__(self, name: str, words: Words, inode: int, owned: bool) -> None:
        self.name = name
        self._inode = inode
        self._owned = owned
        self._header = words[:HEADER_WORDS]
        self.body: Words = words[HEADER_WORDS : int(self._header[_TOTAL_WORDS])]

    @property
    def owner_pid(self) -> int:
        return int(self._header[_OWNER_PID])

    @classmethod
    def create(cls, name: str, version: int, layout_hash: int, body_words: int) -> "Segment":
        """Make the segment, all zero behind the header.

        Raises NodeRunningError when a live node has the name, OSError when /dev/shm is too small.
        """
        total_words = HEADER_WORDS + body_words
        fd = _claim(name)
        try:
            # The kernel hands out every page now: a full /dev/shm is an OSError here and would be a SIGBUS later.
            os.posix_fallocate(fd, 0, total_words * WORD_BYTES)
            words, inode = _map(fd), os.fstat(fd).st_ino
        except OSError:
            _path(name).unlink()
            raise
        finally:
            os.close(fd)  # the mapping has its own, with the same lock
        words[_VERSION] = version
        words[_HASH] = layout_hash
        words[_OWNER_PID] = os.getpid()
        words[_TOTAL_WORDS] = total_words
        words[_MAGIC] = MAGIC
        return cls(name, words, inode, owned=True)

    @classmethod
    def attach(cls, name: str, version: int, layout_hash: int | None) -> "Segment":
        """Open a segment by name and check its header; `layout_hash` None skips that one check.

        Raises FileNotFoundError when no node made it, or has not finished it, LayoutError when another layout did.
        """
        fd = os.open(_path(name), os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < HEADER_WORDS * WORD_BYTES:
                raise FileNotFoundError(name)
            words, inode = _map(fd), os.fstat(fd).st_ino
        finally:
            os.close(fd)
        if not words[_MAGIC]:
            raise FileNotFoundError(name)
        checks = [("magic", _MAGIC, MAGIC), ("layout version", _VERSION, version)]
        if layout_hash is not None:
            checks.append(("layout hash", _HASH, layout_hash))
        for what, word, expected in checks:
            if (found := int(words[word])) != expected:
                raise LayoutError(name, what, expected, found)
        return cls(name, words, inode, owned=False)

    def is_in_use(self) -> bool:
        """Whether a process of the node that made it lives, in whatever container."""
        if self._owned:
            return True
        try:
            fd = os.open(_path(self.name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return os.fstat(fd).st_ino == self._inode and not _is_lock_free(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def unlink(self) -> None:
        """Remove the name; the memory lives on until the last process that maps it ends."""
        if self._owned:
            with contextlib.suppress(FileNotFoundError):
                if _path(self.name).stat().st_ino == self._inode:
                    _path(self.name).unlink()


def _claim(name: str) -> int:
    """An empty file of this name, open and locked by us; NodeRunningError when a live node has it."""
    for _ in range(_CLAIM_TRIES):
        fd = os.open(_path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _is_lock_free(fd, fcntl.LOCK_EX):
            owner_pid = _owner_of(fd)
            os.close(fd)
            select.select([], [], [], _CLAIM_WAIT_SECONDS)
            continue
        # Locked, but is it what has the name? Somebody may have removed it since we opened it.
        try:
            has_name = os.stat(_path(name)).st_ino == os.fstat(fd).st_ino
        except FileNotFoundError:
            has_name = False
        if has_name and os.fstat(fd).st_size == 0:
            return fd
        if has_name:
            _path(name).unlink()  # a dead node's: tools may still look at it, so it is not written over
        os.close(fd)
        owner_pid = 0
    raise NodeRunningError(name, owner_pid)


def _is_lock_free(fd: int, kind: int) -> bool:
    """Take the lock if it can be had at once; it goes with the open file."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner_of(fd: int) -> int:
    raw = os.pread(fd, HEADER_WORDS * WORD_BYTES, 0)
    return int(np.frombuffer(raw, dtype=np.uint64)[_OWNER_PID]) if len(raw) == HEADER_WORDS * WORD_BYTES else 0


def _map(fd: int) -> Words:
    mapping = mmap.mmap(fd, 0)
    return np.frombuffer(mapping, dtype=np.uint64, count=len(mapping) // WORD_BYTES)


def _path(name: str) -> Path:
    return Path("/dev/shm") / name  # noqa: S108 - where Linux keeps POSIX shared memory
