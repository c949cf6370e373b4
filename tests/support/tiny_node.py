"""A launcher over a few tiny processes, run as a program by test_launcher.py: `tiny_node NAME LIFE...`.

Each LIFE is a function below; the process list is theirs in order. Standard output has a line a started process; the
exit code and the last line of standard error are those of the supervisor's stop. With TINY_READY set the node counts as
ready from its start; `failing <life> <0 or 1>` is printed when the alarm of a life changes.
"""

import ctypes
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable

from trinity.clock import SystemClock
from trinity.errors import PortTakenError
from trinity.memory.control import COMMAND, FAILING, Command, Control, ProcessBlock
from trinity.net.seat import Seat
from trinity.node.launcher import Launcher, Process
from trinity.node.supervisor import ProcessSpec

_PR_SET_CHILD_SUBREAPER = 36


def say(line: str) -> None:
    """One write a line: the processes share standard output."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def serve(block: ProcessBlock) -> None:
    """Beats until SIGTERM, then ends in order, if the DRAIN command was there before the signal."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    while not stop.wait(0.02):
        block.beat(SystemClock().monotonic_ns())
    assert block.read(COMMAND) in (Command.DRAIN, Command.RETIRE)


def stubborn(block: ProcessBlock) -> None:
    """Beats and ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        block.beat(SystemClock().monotonic_ns())
        threading.Event().wait(0.02)


def cannot_boot(_block: ProcessBlock) -> None:
    """Fails on purpose before its first beat."""
    raise PortTakenError("TCP_PORT_LPO", "127.0.0.1", 8080)


def crash(block: ProcessBlock) -> None:
    """Has a bug."""
    block.beat(SystemClock().monotonic_ns())
    raise ZeroDivisionError("division by zero")


def exit_3(block: ProcessBlock) -> None:
    """Ends with the code of a boot failure, as any program or library may."""
    block.beat(SystemClock().monotonic_ns())
    os._exit(3)


def leave_orphan(block: ProcessBlock) -> None:
    """Starts a process that outlives it for a moment, once, and lives on."""
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            say(f"orphan {os.getpid()}")
        os._exit(0)
    os.waitpid(child, 0)
    serve(block)


LIVES: dict[str, Callable[[ProcessBlock], None]] = {
    life.__name__: life for life in (serve, stubborn, cannot_boot, crash, exit_3, leave_orphan)
}


def main(name: str, lives: list[str]) -> int:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans come to us, as they come to process 1
    control = Control.create(f"trinity-{name}-control", len(lives))
    processes = []
    for index, life in enumerate(lives):
        block = control.block(index)

        def run(_seat: Seat | None, life: str = life, block: ProcessBlock = block) -> None:
            say(f"{life} {os.getpid()} {random.random()}")
            LIVES[life](block)

        processes.append(Process(ProcessSpec(f"{life}-{index}", 0), run, block, os.eventfd(0, os.EFD_NONBLOCK)))
    try:
        log = logging.getLogger("trinity.node.supervisor")
        log.addHandler(logging.NullHandler())
        shown = [0] * len(lives)

        def on_turn() -> bool:
            for index, life in enumerate(lives):
                if (failing := control.block(index).read(FAILING)) != shown[index]:
                    shown[index] = failing
                    say(f"failing {life} {failing}")
            return "TINY_READY" in os.environ

        stop = Launcher(processes, SystemClock(), log, on_turn, lambda _phase: None).run()
    finally:
        control.segment.unlink()
    print(stop.message, file=sys.stderr, flush=True)
    return stop.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
