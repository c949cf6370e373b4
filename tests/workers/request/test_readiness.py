"""workers/request/readiness.py"""

import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.clocks import NOW_NS, ManualClock
from trinity.limits import LISTEN_WAIT_MAX_NS
from trinity.memory.answer_table import ANSWER_DTYPE, AnswerState, AnswerTable
from workers.request.readiness import wait_for_prices

ASSETS = 10


@pytest.fixture
def answers() -> Iterator[AnswerTable]:
    table = AnswerTable.create(f"t-{uuid.uuid4().hex[:12]}-answers", 2, ASSETS, ASSETS)
    yield table
    table.segment.unlink()


def _write(answers: AnswerTable, asset: int, state: AnswerState, valid_until_ns: int) -> None:
    record = np.zeros(1, dtype=ANSWER_DTYPE)
    record["state"], record["valid_until_ns"] = state, valid_until_ns
    answers.write(answers.row_of(asset), record)


def test_a_worker_waits_until_most_assets_have_a_price_and_beats_meanwhile(answers: AnswerTable) -> None:
    """A price that is over, or was refused, is none."""
    clock, beats = ManualClock(), []
    _write(answers, 8, AnswerState.GOOD, NOW_NS)
    _write(answers, 9, AnswerState.TOO_FEW_SOURCES, 2 * NOW_NS)

    def beat(now_ns: int) -> None:
        beats.append(now_ns)
        _write(answers, len(beats) - 1, AnswerState.GOOD, 2 * NOW_NS)

    assert wait_for_prices(answers, clock, beat)
    assert len(beats) == ASSETS - 1
    assert max(np.diff(beats)) <= 250_000_000


def test_a_worker_whose_prices_do_not_come_listens_all_the_same(answers: AnswerTable) -> None:
    """Not before the time is up."""
    clock = ManualClock()
    assert not wait_for_prices(answers, clock, lambda _: None)
    assert 0 <= clock.now_ns - NOW_NS - LISTEN_WAIT_MAX_NS < 250_000_000


def test_a_worker_that_is_started_again_in_a_node_with_prices_does_not_wait(answers: AnswerTable) -> None:
    """One asset in trouble keeps nobody."""
    for asset in range(ASSETS - 1):
        _write(answers, asset, AnswerState.GOOD, 2 * NOW_NS)
    clock = ManualClock()
    assert wait_for_prices(answers, clock, lambda _: pytest.fail("it waited"))
    assert clock.now_ns == NOW_NS
