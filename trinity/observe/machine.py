"""What the node takes of its machine: processor time and memory of its processes, room on its disk.

Rules: read from the kernel at each question; None where it says nothing, because the process or the folder is gone.
The machine is what the node is given: where a container or a unit has a limit (a control group of version 2), that one
and what is used of it count, not the whole host's.
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


class MachineUse(NamedTuple):
    """Of all that runs there: processor time since it started, on so many processors; memory in use, of how much."""

    cpu_seconds: float
    cpus: float
    memory_used_bytes: int
    memory_size_bytes: int


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


def read_machine_use(root: Path = Path("/")) -> MachineUse | None:
    """Of the machine, or of the nearest control group that limits this process; `root` holds proc and sys."""
    try:
        groups = _groups_of(root)
        cpu_seconds, cpus = _limited_cpu(groups) or _machine_cpu(root)
        used_bytes, size_bytes = _limited_memory(groups) or _machine_memory(root)
    except (OSError, ValueError, LookupError):
        return None
    return MachineUse(cpu_seconds, cpus, used_bytes, size_bytes)


def _groups_of(root: Path) -> list[Path]:
    """The control group of this process and those around it, the nearest first; none where there are none."""
    lines = (root / "proc/self/cgroup").read_text().splitlines()
    inside = next((line[len("0::/") :] for line in lines if line.startswith("0::/")), None)
    if inside is None:
        return []
    top = root / "sys/fs/cgroup"
    group = top / inside
    return [group, *(parent for parent in group.parents if parent.is_relative_to(top))]


def _limited_cpu(groups: list[Path]) -> tuple[float, float] | None:
    for group in groups:
        if not (limit := group / "cpu.max").exists():
            continue
        quota, period = limit.read_text().split()
        if quota != "max":
            return _fields(group / "cpu.stat")["usage_usec"] / 1e6, int(quota) / int(period)
    return None


def _limited_memory(groups: list[Path]) -> tuple[int, int] | None:
    """Without what the kernel may drop at once: pages of files that nobody read lately."""
    for group in groups:
        if not (limit := group / "memory.max").exists():
            continue
        size = limit.read_text().strip()
        if size != "max":
            used_bytes = int((group / "memory.current").read_text())
            return used_bytes - _fields(group / "memory.stat")["inactive_file"], int(size)
    return None


def _machine_cpu(root: Path) -> tuple[float, float]:
    """proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user and nice already."""
    lines = (root / "proc/stat").read_text().splitlines()
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, lines[0].split()[1:9])
    cpus = sum(line.startswith("cpu") for line in lines) - 1
    return (user + nice + system + interrupts + soft + stolen) / _TICKS_PER_SECOND, float(cpus)


def _machine_memory(root: Path) -> tuple[int, int]:
    fields = _fields(root / "proc/meminfo")
    return (fields["MemTotal:"] - fields["MemAvailable:"]) * 1024, fields["MemTotal:"] * 1024


def _fields(path: Path) -> dict[str, int]:
    """Lines of a name, a number and perhaps a unit."""
    return {parts[0]: int(parts[1]) for line in path.read_text().splitlines() if len(parts := line.split()) > 1}
