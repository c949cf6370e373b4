"""trinity/node/cluster/parts.py"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.support.database import TEST_SETTINGS
from tests.support.patience import PATIENCE
from trinity.node.cluster.parts import DatabasePart, Program
from trinity.store.embedded import Server

SECONDS = 10 * PATIENCE
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def _program(folder: Path, code: str) -> Program:
    return Program("part", (sys.executable, "-c", code), folder / "log", lambda: True, os.environ)


def _wait(ready: object) -> None:
    deadline = time.monotonic() + SECONDS
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_program_s_last_words_are_the_end_of_what_it_printed(tmp_path: Path) -> None:
    """On one line, also where it ended badly."""
    program = _program(tmp_path, "for i in range(9): print('line', i)\nraise SystemExit(3)")
    program.start()
    _wait(lambda: program.exit_code() is not None)
    assert program.exit_code() == 3
    assert program.last_words() == "line 6 / line 7 / line 8"


def test_a_program_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    """SIGTERM first; SIGKILL is not refused."""
    program = _program(tmp_path, STUBBORN)
    program.start()
    _wait(lambda: program.last_words() == "up")
    program.tell_to_stop()
    assert program.exit_code() is None
    program.kill()
    _wait(lambda: program.exit_code() == -signal.SIGKILL)


def test_a_program_does_not_outlive_whoever_started_it_and_has_a_group_of_its_own(tmp_path: Path) -> None:
    """The starter is killed; Ctrl-C in its terminal would not have reached the program."""
    starter = (
        "import os, time; from pathlib import Path; from trinity.node.cluster.parts import Program\n"
        f"program = Program('part', ('sleep', '600'), Path({str(tmp_path / 'log')!r}), lambda: True, os.environ)\n"
        "program.start(); print(program.pid, os.getpgid(program.pid), os.getpgid(0), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        pid, group, of_starter = map(int, started.stdout.readline().split())
        assert group == pid != of_starter
        started.kill()
    _wait(lambda: not Path(f"/proc/{pid}").exists() or "(zombie)" in Path(f"/proc/{pid}/status").read_text())


def test_a_database_that_was_killed_is_started_again_on_the_same_data(tmp_path: Path) -> None:
    """It is a part as any other, whose start takes seconds and gives turns to the others meanwhile."""
    turns: list[int] = []

    def turn() -> None:
        turns.append(1)
        threading.Event().wait(0.02)

    part = DatabasePart(lambda: Server(tmp_path, logging.getLogger("tests"), TEST_SETTINGS), turn)
    assert part.exit_code() is None
    part.start()
    assert turns
    _wait(part.is_ready)
    part.kill()
    _wait(lambda: part.exit_code() is not None)
    assert not part.is_ready()
    part.start()
    _wait(part.is_ready)
    part.tell_to_stop()
    _wait(lambda: part.exit_code() is not None)
    assert part.exit_code() == 0
