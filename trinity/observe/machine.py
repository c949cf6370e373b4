"""What the node takes of its machine: processor time and memory of its processes, room on its disk.

Rules: read from the kernel at each question; None where it says nothing, because the process or the folder is gone.
"""

import os
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessUse(NamedTuple):
    """`cpu_seconds`: in user and kernel mode, since it started. `resident_bytes`: with what it shares with others."""

    cpu_seconds: float
    resident_bytes: int


class DiskRoom(NamedTuple):
    """Of the file system that a folder is on; `free_bytes`: what may still be written there without being root."""

    size_bytes: int
    free_bytes: int


def read_process_use(pid: int) -> ProcessUse | None:
    """Of one process, by its number (proc_pid_stat(5))."""
    try:
        # The second field is the name in parentheses, which may hold anything, also blanks and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    user_ticks, system_ticks, pages = int(fields[11]), int(fields[12]), int(fields[21])
    return ProcessUse((user_ticks + system_ticks) / _TICKS_PER_SECOND, pages * _PAGE_BYTES)


def read_disk_room(folder: Path) -> DiskRoom | None:
    """Of the file system that holds the folder; waits as long as the disk does."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return DiskRoom(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
