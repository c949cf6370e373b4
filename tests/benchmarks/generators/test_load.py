"""Counters of the compiled loops become an outcome."""

import json

import numpy as np
import pytest

from benchmarks.generators import checks, load
from benchmarks.generators.histogram import Latencies


@pytest.mark.uncompiled
def test_what_was_neither_answered_nor_wrong_is_lost() -> None:
    """Of 10 requests 6 were answered, 1 was refused and 1 known to be lost: 3 are lost in all."""
    counters = np.zeros(load.COUNTER_WORDS, dtype=np.int64)
    counters[load.SENT], counters[load.ANSWERED], counters[load.LOOKUPS] = 10, 6, 12
    counters[load.STARTED_NS], counters[load.ENDED_NS] = 1_000_000_000, 3_000_000_000
    counters[load.FAULT_BASE + checks.REFUSED] = 1
    counters[load.FAULT_BASE + checks.LOST] = 1
    assert load.in_flight(counters) == 2
    outcome = load.outcome_of(counters, Latencies())
    assert outcome.faults == {"refused": 1, "lost": 3}
    assert outcome.per_second == 3.0
    assert outcome.lookups_per_second == 6.0
    assert json.loads(json.dumps(outcome.as_dict()))["sent"] == 10


@pytest.mark.uncompiled
def test_a_run_without_any_answer_has_the_rate_zero() -> None:
    """No answer means no end: rates are 0 and nothing divides by it."""
    outcome = load.outcome_of(np.zeros(load.COUNTER_WORDS, dtype=np.int64), Latencies())
    assert (outcome.per_second, outcome.lookups_per_second, outcome.faults) == (0.0, 0.0, {})
