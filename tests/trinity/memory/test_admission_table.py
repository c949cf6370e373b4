"""trinity/memory/admission_table.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.memory.admission_table import (
    ADMITTED,
    CLASSES,
    DATAGRAM_LIMIT,
    DELAY_P50_NS,
    DELAY_P90_NS,
    IN_FLIGHT,
    LIMIT,
    LINE_WORDS,
    OPEN,
    REFUSED,
    TOLD_AT_NS,
    WANTED,
    WORKERS_MAX,
    AdmissionTable,
    WorkerAdmission,
    line_at,
)

pytestmark = pytest.mark.uncompiled

WORDS = st.lists(st.integers(0, 2**63 - 1), min_size=LINE_WORDS, max_size=LINE_WORDS)


@given(worker=st.integers(0, 2), words=WORDS)
def test_a_line_is_read_as_its_worker_wrote_it_and_no_other_is_touched(worker: int, words: list[int]) -> None:
    """Each word comes out under its own name, whatever the others are."""
    table = AdmissionTable.private(3)
    at = line_at(worker)
    table.words[at : at + LINE_WORDS] = words
    assert table.read(worker) == WorkerAdmission(
        limit=words[LIMIT],
        in_flight=words[IN_FLIGHT],
        delay_p50_ns=words[DELAY_P50_NS],
        delay_p90_ns=words[DELAY_P90_NS],
        datagram_limit=words[DATAGRAM_LIMIT],
        open=words[OPEN],
        admitted=words[ADMITTED],
        refused=tuple(words[REFUSED : REFUSED + CLASSES]),
        wanted=words[WANTED],
    )
    empty = WorkerAdmission(0, 0, 0, 0, 0, 0, 0, (0,) * CLASSES, 0)
    assert [line for i, line in enumerate(table.read_all()) if i != worker] == [empty] * 2
    assert table.workers == 3


def test_no_two_workers_write_the_same_cache_line() -> None:
    """A line begins where a cache line does, behind the node's words, and is a whole number of them."""
    starts = [line_at(worker) for worker in range(WORKERS_MAX)]
    assert {start * 8 % 64 for start in starts} == {0}
    assert min(np.diff([0, *starts])) * 8 >= 64
    assert AdmissionTable.private().words.size == starts[-1] + LINE_WORDS
    assert WANTED < LINE_WORDS


def test_a_worker_that_begins_clears_its_own_line_alone() -> None:
    """What a killed one held is nobody's; what the others hold stays, and so does the node's limit."""
    table = AdmissionTable.private(3)
    table.tell_limit(600, 7)
    for worker in range(3):
        table.words[line_at(worker) : line_at(worker) + LINE_WORDS] = worker + 1
    table.clear(1)
    assert [line.open for line in table.read_all()] == [1, 0, 3]
    assert [line.wanted for line in table.read_all()] == [1, 0, 3]
    assert (table.workers, table.connections_limit) == (3, 600)


@pytest.mark.parametrize(("told", "limit"), [(6_000, 6_000), (1, 1), (0, 1), (-5, 1)])
def test_a_node_may_always_have_one_connection(told: int, limit: int) -> None:
    """Nobody would ever ask a node that takes none, so it would never get more; before it is told it has no limit."""
    table = AdmissionTable.private(1)
    assert table.connections_limit > 1_000_000_000
    table.tell_limit(told, 99)
    assert table.connections_limit == limit
    assert table.words[TOLD_AT_NS] == 99


def test_a_tool_reads_the_table_of_a_node_that_runs(segment_name: str) -> None:
    """By its name, and what is written later, too."""
    table = AdmissionTable.create(segment_name, 2)
    assert table.segment is not None
    seen = AdmissionTable.attach(segment_name)
    assert seen.workers == 2
    table.tell_limit(250, 1)
    table.words[line_at(1) + OPEN] = 17
    assert seen.connections_limit == 250
    assert [line.open for line in seen.read_all()] == [0, 17]
    table.segment.unlink()
