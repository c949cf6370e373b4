"""How a process ended, in one phrase, and with which code a node itself ends. Pure."""

import signal
from typing import NamedTuple

# Exit codes of the node itself; 2 is a wrong configuration, before there is a supervisor.
EXIT_DRAINED = 0
EXIT_NODE_BOOT_FAILURE = 3
EXIT_CRASH_LOOP = 4


class Exited(NamedTuple):
    """A process ended: exit code, or minus the signal that killed it; `failure_message` is its own account, if any."""

    name: str
    code: int
    failure_message: str = ""


def cause_of(event: Exited, killed_as_stuck: bool = False) -> str:
    """One phrase that says why a process ended."""
    if killed_as_stuck:
        return "it made no progress and was killed"
    if event.failure_message:
        return event.failure_message
    if event.code < 0:
        # Real-time signals have no name.
        names = {int(known): known.name for known in signal.Signals}
        return f"killed by {names.get(-event.code, f'signal {-event.code}')}"
    return f"it ended with exit code {event.code}"
