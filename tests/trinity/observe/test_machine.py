"""trinity/observe/machine.py, beside what psutil and `df` say of the same process and disk"""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from trinity.observe.machine import read_disk_room, read_process_use

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
