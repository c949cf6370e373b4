"""trinity/node/exits.py"""

import pytest

from trinity.node.exits import Exited, cause_of


@pytest.mark.parametrize(
    ("event", "stuck", "cause"),
    [
        (Exited("a", 1, "ValueError: x"), False, "ValueError: x"),
        (Exited("a", -9), False, "killed by SIGKILL"),
        (Exited("a", -9), True, "it made no progress and was killed"),
        (Exited("a", 7), False, "it ended with exit code 7"),
        (Exited("a", -40), False, "killed by signal 40"),
    ],
)
def test_a_cause_is_one_phrase(event: Exited, stuck: bool, cause: str) -> None:
    """The message first, then the signal, then the code."""
    assert cause_of(event, stuck) == cause
