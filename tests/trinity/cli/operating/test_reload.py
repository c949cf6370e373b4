"""`trinity reload`: what it makes of a node's word; the whole of it on a node: tests/node/test_replacing.py."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.trinity.cli.conftest import Run
from trinity.node.asking import LOCK, OUTCOME, WANTED, ReloadOutcome, ReloadRequest

Answer = Callable[[ReloadRequest], ReloadOutcome]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Callable[[Answer], None]]:
    """This process as the one that works in the directory: at SIGHUP it answers as the test says."""
    before = signal.getsignal(signal.SIGHUP)
    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()

        def answer_with(answer: Answer) -> None:
            def heard(_number: int, _frame: object) -> None:
                wanted = msgspec.json.decode((tmp_path / WANTED).read_bytes(), type=ReloadRequest)
                (tmp_path / OUTCOME).write_bytes(msgspec.json.encode(answer(wanted)))

            signal.signal(signal.SIGHUP, heard)

        yield answer_with
    signal.signal(signal.SIGHUP, before)


def test_what_was_applied_and_replaced_is_told(trinity_json: Run, supervisor: Callable[[Answer], None]) -> None:
    """Exit code 0; `--workers` asks for both pools."""
    supervisor(lambda wanted: ReloadOutcome(wanted.token, "done", ("FREE_RATE",), replaced=wanted.kinds))
    code, told, _ = trinity_json("reload", "--workers")
    assert (code, told["applied"], told["replaced"]) == (0, ["FREE_RATE"], ["worker", "reporter"])


def test_a_refused_configuration_names_its_setting(trinity_json: Run, supervisor: Callable[[Answer], None]) -> None:
    """Exit code 2, as at a start, and that the node goes on."""
    supervisor(lambda wanted: ReloadOutcome(wanted.token, "refused", key="FREE_RATE", reason="'many' is not a rate"))
    code, _, errors = trinity_json("reload")
    assert code == 2
    assert "FREE_RATE" in str(errors)
    assert "the node goes on as it was" in str(errors)


def test_a_reload_that_was_taken_back_is_a_failure(trinity_json: Run, supervisor: Callable[[Answer], None]) -> None:
    """Exit code 1 and the reason; an outcome of somebody else's reload is not taken for it."""
    supervisor(lambda _wanted: ReloadOutcome("another", "done"))
    code, _, errors = trinity_json("reload", "--timeout", "0.2")
    assert code == 1
    assert "no end of it" in str(errors)
    supervisor(lambda wanted: ReloadOutcome(wanted.token, "failed", reason="worker-2 could not begin: x"))
    code, _, errors = trinity_json("reload")
    assert code == 1
    assert "could not begin" in str(errors)


def test_without_a_node_there_is_nothing_to_reload(trinity_json: Run) -> None:
    """Exit code 1, at once."""
    code, _, errors = trinity_json("reload")
    assert code == 1
    assert "no node named" in str(errors)
