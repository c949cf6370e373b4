"""The launcher with real processes: forked, killed, drained and buried."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from trinity.errors import BugError
from trinity.node.launcher import _check_single_threaded

ROOT = Path(__file__).resolve().parents[3]


class TinyNode:
    """A running tiny_node.py."""

    def __init__(self, lives: tuple[str, ...]) -> None:
        self.name = f"tiny-{uuid.uuid4().hex[:12]}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.tiny_node", self.name, *lives],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def started(self) -> list[str]:
        """The next line that a started process printed: its life, its pid and a random number."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def end(self) -> tuple[int, str]:
        """Exit code and the message (the last line of standard error), once it has ended by itself."""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors.strip().rpartition("\n")[2]


@contextlib.contextmanager
def tiny_node(*lives: str) -> Iterator[TinyNode]:
    node = TinyNode(lives)
    try:
        yield node
    finally:
        with node.process:
            node.process.kill()
        Path(f"/dev/shm/trinity-{node.name}-control").unlink(missing_ok=True)


def wait_until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    """Look every 10 ms until it is so; fail after `seconds`."""
    never = threading.Event()
    for _ in range(int(seconds * 100)):
        if is_so():
            return
        never.wait(0.01)
    raise AssertionError("it did not happen")


def runs(pid: int) -> bool:
    """Whether the process lives; one that only waits for its burial by process 1 does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_process_is_replaced_and_the_others_live_on() -> None:
    """kill -9: a new process with the same life, a new pid and another random state."""
    with tiny_node("serve", "stubborn") as node:
        pids = {life: (int(pid), number) for life, pid, number in (node.started(), node.started())}
        assert pids["serve"][1] != pids["stubborn"][1], "each process is seeded anew"
        os.kill(pids["serve"][0], signal.SIGKILL)
        life, pid, number = node.started()
        assert life == "serve"
        assert int(pid) != pids["serve"][0]
        assert number != pids["serve"][1]
        assert psutil.pid_exists(pids["stubborn"][0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_drains_and_leaves_no_process(number: int) -> None:
    """The DRAIN command comes before SIGTERM; everything ends in order, with exit code 0 and no message."""
    with tiny_node("serve", "serve") as node:
        pids = [int(node.started()[1]) for _ in range(2)]
        node.process.send_signal(number)
        assert node.end() == (0, "")
        assert not any(psutil.pid_exists(pid) for pid in pids)


def test_who_ignores_sigterm_is_killed() -> None:
    """A drain ends by SIGKILL for whoever is left."""
    with tiny_node("stubborn") as node:
        pid = int(node.started()[1])
        node.process.send_signal(signal.SIGTERM)
        assert node.end() == (0, "")
        assert not psutil.pid_exists(pid)


def test_a_boot_failure_ends_the_node_and_names_the_cause() -> None:
    """A TrinityError before the first heartbeat: exit code 3 and its own sentence."""
    with tiny_node("serve", "cannot_boot") as node:
        code, message = node.end()
        assert code == 3
        assert message.startswith("cannot_boot-1 could not start: TCP_PORT_LPO=8080 is taken on 127.0.0.1")


def test_a_crash_loop_ends_the_node_and_names_the_cause() -> None:
    """A process that dies again and again: exit code 4 and its last error."""
    with tiny_node("serve", "crash") as node:
        code, message = node.end()
        assert code == 4
        assert message.startswith("crash-1 died 5 times in a row")
        assert message.endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("life", ["crash", "cannot_boot", "exit_3"])
def test_a_node_that_was_ready_lives_on_whatever_a_process_does(life: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies more often than a crash loop has deaths: an alarm, tried again and again, and the others serve."""
    monkeypatch.setenv("TINY_READY", "1")
    with tiny_node("serve", life) as node:
        lines = []
        while sum(line[0] == life for line in lines) < 7:
            lines.append(node.started())
            assert lines[-1], "the node ended"
        assert ["failing", life, "1"] in lines
        assert [line[0] for line in lines].count("serve") == 1
        node.process.send_signal(signal.SIGTERM)
        assert node.end()[0] == 0


def test_exit_code_3_of_a_process_that_worked_is_no_boot_failure() -> None:
    """Before the node was ready as well: then it is a crash loop in the end, and says so."""
    with tiny_node("serve", "exit_3") as node:
        code, message = node.end()
        assert code == 4
        assert message.startswith("exit_3-1 died 5 times in a row")


def test_no_process_outlives_a_killed_supervisor() -> None:
    """SIGKILL of the supervisor alone: the kernel ends the children, also one that ignores SIGTERM."""
    with tiny_node("serve", "stubborn") as node:
        pids = [int(node.started()[1]) for _ in range(2)]
        node.process.kill()
        node.process.wait(10)
        wait_until(lambda: not any(runs(pid) for pid in pids))


def test_ctrl_c_reaches_the_supervisor_alone() -> None:
    """Each child leads its own process group, so a terminal's signal cannot break the order of the drain."""
    with tiny_node("serve") as node:
        pid = int(node.started()[1])
        assert os.getpgid(pid) == pid
        assert os.getpgid(node.process.pid) != pid


def test_orphans_are_buried() -> None:
    """A process that was left to us, as to process 1 of a container, does not stay a zombie."""
    with tiny_node("leave_orphan") as node:
        lines = [node.started() for _ in range(2)]
        orphan = next(int(line[1]) for line in lines if line[0] == "orphan")
        wait_until(lambda: not psutil.pid_exists(orphan))  # a zombie still exists


def test_it_does_not_fork_beside_a_second_thread() -> None:
    """A lock that a thread holds at the fork would stay locked in the child forever."""
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        with pytest.raises(BugError, match="must not fork"):
            _check_single_threaded()
    finally:
        ended.set()
        thread.join()
