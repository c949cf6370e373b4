"""The flood is what it says; tests/workers/ledger/usage/test_refusals.py loads it."""

import numpy as np

from benchmarks.parts.service.refusals import make_flood, measure_refusals
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_a_flood_has_its_refusals_and_answers() -> None:
    """As many as were asked for, in the order of their times, from many networks."""
    flood = make_flood(20_000, 100, 10**18)
    refused = flood["key_id"] == 0
    assert (refused.sum(), (~refused).sum()) == (20_000, 100)
    assert (flood["code"][refused] > 0).all()
    assert (flood["code"][~refused] == 0).all()
    assert (np.diff(flood["time_ns"]) > 0).all()
    assert len(np.unique(flood["address"][:, 12:15], axis=0)) > 10_000


def test_it_measures() -> None:
    """A small flood through the whole way: all rows of keys, few of refusals."""
    found = measure_refusals(30_000, Progress(SystemClock()))
    assert found["rows_of_keys"] == found["answers_of_keys"] == 300
    assert found["rows_of_refusals"] <= 20
    assert 0 < found["database_bytes"] < 2_000_000
