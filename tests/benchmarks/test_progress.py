"""Progress goes to stderr, with the time since the start."""

import pytest

from benchmarks.progress import Progress
from tests.support.clocks import ManualClock


def test_a_step_says_what_begins_and_when(capsys: pytest.CaptureFixture[str]) -> None:
    """The line holds the seconds since the start; stdout stays empty."""
    clock = ManualClock(5_000_000_000)
    progress = Progress(clock)
    clock.now_ns += 2_500_000_000
    progress.step("turn 1")
    printed = capsys.readouterr()
    assert printed.err == "[   2.5 s] turn 1\n"
    assert printed.out == ""


def test_a_quiet_one_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Quiet means no line at all."""
    Progress(ManualClock(5_000_000_000), quiet=True).step("turn 1")
    assert capsys.readouterr().err == ""
