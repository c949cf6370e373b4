"""One named piece of shared memory with a checked header.

    word 0   magic            "TRINITY1" as bytes
    word 1   layout version   raised by hand when the meaning of bytes changes
    word 2   layout hash      hash of the structure's dtype, names and counts
    word 3   owner pid        the process that created it
    word 4   owner start      that process's start time (clock ticks since boot), so that a reused pid is seen
    word 5   total words      header and body
    word 6   body hash mark   1 once the creator has filled the body in
    word 7   reserved
    word 8.. body

Rules: the supervisor creates and alone unlinks; children inherit the mapping through fork; only tools attach by
name. A leftover of a dead owner is removed at creation; a live owner's segment is an error. Every byte is written
at creation, so that a full /dev/shm fails at start and not at the first write. Python's resource tracker is kept
out: it would unlink the memory of a living node when any tool that attached ends.
"""

import contextlib
import os
from collections.abc import Iterator
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import numpy as np

from trinity.errors import LayoutError, NodeRunningError
from trinity.memory.atomics import Words

MAGIC = int.from_bytes(b"TRINITY1", "little")
HEADER_WORDS = 8
WORD_BYTES = 8

_MAGIC, _VERSION, _HASH, _OWNER_PID, _OWNER_START, _TOTAL_WORDS, _FILLED = range(7)


class _Mapping(shared_memory.SharedMemory):
    """SharedMemory that is unmapped when the last array over it goes, not while one is still in use."""

    _fd: int

    def __del__(self) -> None:
        """The base class would close the mapping here, and raise BufferError because arrays still point into it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Segment:
    """A created or attached piece of shared memory; `body` is all of it behind the header."""

    def __init__(self, memory: _Mapping, owned: bool) -> None:
        self._memory = memory
        self._owned = owned
        words: Words = _words_of(memory)
        self._header = words[:HEADER_WORDS]
        total_words = int(self._header[_TOTAL_WORDS]) or words.size
        self.body: Words = words[HEADER_WORDS:total_words]

    @property
    def name(self) -> str:
        return self._memory.name

    @property
    def owner_pid(self) -> int:
        return int(self._header[_OWNER_PID])

    @classmethod
    def create(cls, name: str, version: int, layout_hash: int, body_words: int) -> "Segment":
        """Make the segment, all zero behind the header.

        Raises NodeRunningError when a live process owns the name, OSError when /dev/shm is too small.
        """
        total_words = HEADER_WORDS + body_words
        remove_leftover(name)
        with _untracked():
            memory = _Mapping(name, create=True, size=total_words * WORD_BYTES)
        _reserve(name, memory)
        words = _words_of(memory)
        words[:] = 0
        words[_VERSION] = version
        words[_HASH] = layout_hash
        words[_OWNER_PID] = os.getpid()
        words[_OWNER_START] = process_start_ticks(os.getpid()) or 0
        words[_TOTAL_WORDS] = total_words
        words[_FILLED] = 1
        words[_MAGIC] = MAGIC
        del words
        return cls(memory, owned=True)

    @classmethod
    def attach(cls, name: str, version: int, layout_hash: int | None) -> "Segment":
        """Open a segment by name and check its header; `layout_hash` None skips that one check.

        Raises FileNotFoundError when no node made it, LayoutError when another layout did.
        """
        with _untracked():
            memory = _Mapping(name)
        words = _words_of(memory)
        found = {"magic": int(words[_MAGIC]), "layout version": int(words[_VERSION])}
        expected = {"magic": MAGIC, "layout version": version}
        if layout_hash is not None:
            found["layout hash"] = int(words[_HASH])
            expected["layout hash"] = layout_hash
        del words
        for what, value in expected.items():
            if found[what] != value:
                memory.close()
                raise LayoutError(name, what, value, found[what])
        return cls(memory, owned=False)

    def unlink(self) -> None:
        """Remove the name; the memory lives on until the last process that maps it ends."""
        if self._owned:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_path(self.name))


def remove_leftover(name: str) -> bool:
    """Remove the segment `name` if its owner is dead; True when one was removed.

    Raises NodeRunningError when its owner lives.
    """
    try:
        with _path(name).open("rb") as file:
            raw = file.read(HEADER_WORDS * WORD_BYTES)
    except FileNotFoundError:
        return False
    if len(raw) == HEADER_WORDS * WORD_BYTES:
        header = np.frombuffer(raw, dtype=np.uint64)
        pid = int(header[_OWNER_PID])
        start = process_start_ticks(pid) if pid else None
        if start is not None and start == int(header[_OWNER_START]) and pid != os.getpid():
            raise NodeRunningError(name, pid)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(name))
    return True


def process_start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (proc(5), field 22), None when it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in ("Z", "X") else int(fields[18])


def _words_of(memory: _Mapping) -> Words:
    assert memory.buf is not None, "the mapping is open"
    return np.frombuffer(memory.buf, dtype=np.uint64)


def _path(name: str) -> Path:
    return Path("/dev/shm") / name  # noqa: S108 - where Linux keeps POSIX shared memory


def _reserve(name: str, memory: _Mapping) -> None:
    """Make the kernel hand out every page now: a full /dev/shm is an OSError here and a SIGBUS later."""
    with _path(name).open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, memory.size)
        except OSError:
            _path(name).unlink()
            raise


@contextlib.contextmanager
def _untracked() -> Iterator[None]:
    """Keep Python's resource tracker out, as `track=False` does from 3.13 on.

    It would unlink the memory of a living node when a tool ends, and it is a process of its own: the node would
    have one that the supervisor does not know, and that outlives it.
    """
    register = resource_tracker.register
    resource_tracker.register = lambda name, rtype: None  # noqa: ARG005 - called by these names
    try:
        yield
    finally:
        resource_tracker.register = register
