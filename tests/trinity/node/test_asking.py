"""trinity/node/asking.py"""

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from trinity.errors import NodeAbsentError
from trinity.node.asking import LOCK, OUTCOME, WANTED, ReloadOutcome, ReloadRequest, ask, read_outcome, supervisor_pid


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """SIGHUPs that this process, which plays the supervisor, was sent."""
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _frame: heard.append(number))
    yield heard
    signal.signal(signal.SIGHUP, before)


def test_who_holds_the_lock_is_asked(tmp_path: Path, signals: list[int]) -> None:
    """The wish stands in the directory before the signal comes."""
    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        assert supervisor_pid(tmp_path) == os.getpid()
        wanted = ReloadRequest("token", ("worker",))
        ask(tmp_path, "east", wanted)
    assert signals == [signal.SIGHUP]
    assert msgspec.json.decode((tmp_path / WANTED).read_bytes(), type=ReloadRequest) == wanted


@pytest.mark.parametrize("text", [None, "", "12", "no number"])
def test_a_directory_in_which_nobody_works_is_told_by_the_nodes_name(
    tmp_path: Path, signals: list[int], text: str | None
) -> None:
    """Also where a dead node's lock file is left, whatever stands in it: nobody is sent a signal."""
    if text is not None:
        (tmp_path / LOCK).write_text(text)
    with pytest.raises(NodeAbsentError, match="east"):
        ask(tmp_path, "east", ReloadRequest())
    assert signals == []
    assert not (tmp_path / WANTED).exists()


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"token": 1}'])
def test_an_outcome_that_is_not_there_or_not_whole_is_none(tmp_path: Path, content: bytes | None) -> None:
    """Who waits looks again."""
    if content is not None:
        (tmp_path / OUTCOME).write_bytes(content)
    assert read_outcome(tmp_path) is None


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    """State, processes and reason."""
    outcome = ReloadOutcome("t", "failed", ("FREE_RATE",), replaced=("worker-0",), reason="why")
    (tmp_path / OUTCOME).write_bytes(msgspec.json.encode(outcome))
    assert read_outcome(tmp_path) == outcome
