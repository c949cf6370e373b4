"""trinity/observe/machine.py, beside what psutil and `df` say of the same process and disk"""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from trinity.observe.machine import MachineUse, read_disk_room, read_machine_use, read_process_use

NOBODY = 2**22 + 1  # higher than any pid (proc(5): pid_max)


def test_a_process_s_use_is_what_psutil_says() -> None:
    """Of this process, which has used both."""
    use = read_process_use(os.getpid())
    assert use is not None
    other = psutil.Process()
    times = other.cpu_times()
    assert use.cpu_seconds == pytest.approx(times.user + times.system, abs=0.1)
    assert use.resident_bytes == pytest.approx(other.memory_info().rss, rel=0.1)


def test_a_name_with_parentheses_and_blanks_shifts_nothing() -> None:
    """The kernel writes a process's name unescaped."""
    code = "import setproctitle; setproctitle.setproctitle(') R 1 (x y'); print('named', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"named\n"
        use = read_process_use(process.pid)
        assert use is not None
        assert use.resident_bytes == pytest.approx(psutil.Process(process.pid).memory_info().rss, rel=0.1)
        process.kill()


def test_what_is_gone_has_no_use() -> None:
    """Neither a process nor a folder."""
    assert read_process_use(NOBODY) is None
    assert read_disk_room(Path("/nothing/here")) is None


def test_a_disk_s_room_is_what_df_says(tmp_path: Path) -> None:
    """The whole, and what is left for who is not root."""
    room = read_disk_room(tmp_path)
    assert room is not None
    df = subprocess.run(["df", "-B1", "--output=size,avail", tmp_path], capture_output=True, text=True, check=True)
    size, free = (int(number) for number in df.stdout.splitlines()[1].split())
    assert room.size_bytes == size
    assert room.free_bytes == pytest.approx(free, abs=2**30), "others write meanwhile"


def test_the_machine_s_use_is_what_psutil_says() -> None:
    """Of this machine, whatever limits it has."""
    use = read_machine_use()
    assert use is not None
    assert 0 < use.cpus <= os.cpu_count()  # type: ignore[operator]
    assert use.cpu_seconds > 0
    assert 0 < use.memory_used_bytes < use.memory_size_bytes <= psutil.virtual_memory().total


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


MACHINE = {
    "proc/self/cgroup": "0::/system.slice/trinity.service\n",
    "proc/stat": "cpu  100 0 100 5000 0 0 0 0 0 0\ncpu0 50 0 50 2500 0 0 0 0 0 0\ncpu1 50 0 50 2500 0 0 0 0 0 0\n",
    "proc/meminfo": "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\n",
}
UNIT = "sys/fs/cgroup/system.slice/trinity.service/"


def test_a_container_s_limits_count_not_the_host_s(tmp_path: Path) -> None:
    """Of the group itself, or of the nearest around it; what has none is the machine's."""
    _write(tmp_path, MACHINE)
    ticks = os.sysconf("SC_CLK_TCK")
    assert read_machine_use(tmp_path) == MachineUse(200 / ticks, 2.0, 600 * 1024, 1000 * 1024)
    _write(tmp_path, {f"{UNIT}cpu.max": "max 100000\n", f"{UNIT}memory.max": "max\n"})
    assert read_machine_use(tmp_path) == MachineUse(200 / ticks, 2.0, 600 * 1024, 1000 * 1024)
    slice_of_all = "sys/fs/cgroup/system.slice/"
    _write(tmp_path, {f"{slice_of_all}cpu.max": "150000 100000\n", f"{slice_of_all}cpu.stat": "usage_usec 3000000\n"})
    _write(
        tmp_path,
        {
            f"{UNIT}memory.max": "300000\n",
            f"{UNIT}memory.current": "250000\n",
            f"{UNIT}memory.stat": "anon 100\ninactive_file 50000\n",
        },
    )
    assert read_machine_use(tmp_path) == MachineUse(3.0, 1.5, 200_000, 300_000)


def test_a_kernel_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    """There is no such file, or it holds something else."""
    assert read_machine_use(tmp_path) is None
    _write(tmp_path, {**MACHINE, "proc/stat": "cpu\n"})
    assert read_machine_use(tmp_path) is None
