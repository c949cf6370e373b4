"""trinity/memory/limit_table.py, in a cluster: what is reserved, what silence leaves, what is counted elsewhere"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forks import at_once
from tests.support.limit_tables import BOOT, MONTH, NOW_NS, SECOND, WALL_NS, open_table, spend, take
from tests.support.quota import quota_used
from trinity.memory.atomics import Words
from trinity.memory.gcra import interval_of
from trinity.memory.limit_table import (
    ADMITTED,
    CEILING,
    ELSEWHERE,
    ENTRY_WORDS,
    EXCHANGED_AT_NS,
    HEADER_WORDS,
    MOVED_AT,
    NODES,
    REFUSED,
    LimitTable,
    credit_of,
    quota_left,
    take_lookups,
)


def shared(nodes: int, exchanged_at_ns: int = NOW_NS) -> LimitTable:
    table = LimitTable.private(70)
    table.words[NODES], table.words[EXCHANGED_AT_NS] = nodes, exchanged_at_ns
    return table


def entry_of(table: LimitTable, key_id: int = 1) -> Words:
    at = HEADER_WORDS + key_id * ENTRY_WORDS
    return table.words[at : at + ENTRY_WORDS]


def moved(table: LimitTable) -> list[int]:
    bits = np.unpackbits(table.words[MOVED_AT:HEADER_WORDS].view(np.uint8), bitorder="little")
    return [int(i) for i in np.flatnonzero(bits)]


@pytest.mark.uncompiled
def test_a_node_of_no_cluster_counts_nothing_for_one() -> None:
    """Its keys have their whole plan, and the words of the exchange stay as they were."""
    table = shared(nodes=0)
    spend(table, 1)
    assert take(table, 1) == SECOND
    assert take_lookups(table.words, 1, MONTH, 10, 1) == 9
    assert list(entry_of(table)[ADMITTED:]) == [0, 0, 0, 0]
    assert moved(table) == []


@pytest.mark.uncompiled
@given(ceiling=st.integers(1, 30), asked=st.integers(0, 40), burst=st.integers(1, 40))
def test_a_node_gives_what_was_reserved_for_it_and_at_the_pace_of_the_plan(
    ceiling: int, asked: int, burst: int
) -> None:
    """Neither more than the ceiling nor more than the burst at once; every request is counted, admitted or refused."""
    table = shared(nodes=3)
    entry_of(table)[CEILING] = ceiling
    admitted = sum(take(table, 1, burst=burst) == 0 for _ in range(asked))
    assert admitted == min(asked, ceiling, burst)
    assert list(entry_of(table)[[ADMITTED, REFUSED]]) == [admitted, asked - admitted]
    assert moved(table) == ([1] if asked else [])


@pytest.mark.uncompiled
@given(nodes=st.integers(1, 9), rate=st.integers(1, 5_000), burst=st.integers(1, 5_000))
def test_before_the_exchange_knows_a_key_the_nodes_together_stay_within_the_bound(
    nodes: int, rate: int, burst: int
) -> None:
    """At most 2.5 % over what the plan gives in 10 s, or one request per further node; alone, all of the plan."""
    credit = credit_of(nodes, interval_of(rate), burst)
    assert (nodes - 1) * credit <= max((10 * rate + burst) / 40, nodes - 1)
    assert credit >= burst or nodes > 1
    table = shared(nodes)
    asked = min(credit + 2, 50)
    assert sum(take(table, 3, rate=rate, burst=burst) == 0 for _ in range(asked)) == min(asked, credit, burst)


@pytest.mark.uncompiled
@given(nodes=st.integers(1, 9), rate=st.integers(1, 300), burst=st.integers(1, 300), silent_ms=st.integers(201, 10**6))
def test_a_node_that_hears_nothing_gives_its_share_and_neither_more_nor_nothing(
    nodes: int, rate: int, burst: int, silent_ms: int
) -> None:
    """Rate and burst divided by the nodes, a burst of at least one; whatever the ceiling says."""
    table = shared(nodes, NOW_NS - silent_ms * 1_000_000)
    entry_of(table)[CEILING] = 1
    at_once = sum(take(table, 1, rate=rate, burst=burst) == 0 for _ in range(burst + 2))
    assert at_once == max(burst // nodes, 1)
    later_ns = NOW_NS + 1_000 * SECOND
    slow = sum(take(table, 1, later_ns + i * SECOND // rate, rate, burst) == 0 for i in range(3 * rate + burst))
    assert slow <= (3 * rate + burst) / nodes + max(burst / nodes, 1) + 1
    assert slow >= min(3 * rate // nodes, 1)


@pytest.mark.uncompiled
def test_the_share_begins_when_the_last_word_is_older_than_200_ms() -> None:
    """Not a moment before: a lost exchange or nine of them change nothing."""
    table = shared(nodes=2)
    entry_of(table)[CEILING] = 100
    at_ns = NOW_NS + 200_000_000
    assert [take(table, 1, at_ns, rate=1, burst=4) for _ in range(4)] == [0, 0, 0, 0]
    table = shared(nodes=2)
    entry_of(table)[CEILING] = 100
    assert [take(table, 1, at_ns + 1, rate=1, burst=4) > 0 for _ in range(4)] == [False, False, True, True]


@pytest.mark.uncompiled
def test_every_key_that_is_counted_is_marked_for_the_exchange_once() -> None:
    """By its rate, refused or admitted, and by its month."""
    table = shared(nodes=2)
    entry_of(table, 64)[CEILING] = 1
    for key_id in (1, 63, 64, 64, 64):
        take(table, key_id)
    take_lookups(table.words, 70, MONTH, 10, 1)
    assert moved(table) == [1, 63, 64, 70]


@pytest.mark.uncompiled
@given(
    quota=st.integers(1, 20), elsewhere=st.lists(st.integers(0, 8), min_size=1, max_size=10), turns=st.integers(0, 3)
)
def test_a_month_holds_with_what_the_other_nodes_counted(quota: int, elsewhere: list[int], turns: int) -> None:
    """What is counted elsewhere is gone here too; of another month it counts nothing."""
    table, own, others = shared(nodes=2), 0, 0
    for more in elsewhere:
        others += more
        entry_of(table)[ELSEWHERE] = MONTH << 48 | others
        assert quota_left(table.words, 1, MONTH, quota) == max(quota - own - others, 0)
        left = take_lookups(table.words, 1, MONTH, quota, 1)
        assert left == (quota - own - others - 1 if own + others < quota else -1)
        own += left >= 0
        assert quota_used(table, 1)[1] == own
    assert quota_left(table.words, 1, MONTH + 1 + turns, quota) == quota


def _share(table: LimitTable, count: int) -> tuple[int, ...]:
    return (sum(take(table, 3, burst=10_000) == 0 for _ in range(count)),)


def test_four_processes_share_what_is_reserved_and_not_one_more(tmp_path: Path) -> None:
    """32,000 requests at one moment against 7,000 that are reserved; each is counted once."""
    table = LimitTable.open(tmp_path / "limits", 10, BOOT, NOW_NS, WALL_NS, in_cluster=True)
    table.words[EXCHANGED_AT_NS], entry_of(table, 3)[CEILING] = NOW_NS, 7_000
    _share(shared(nodes=2), 1)  # what is compiled is loaded before the fork
    assert sum(row[0] for row in at_once(_share, table, 8_000)) == 7_000
    assert list(entry_of(table, 3)[[ADMITTED, REFUSED]]) == [7_000, 25_000]


@pytest.mark.uncompiled
def test_a_node_that_starts_without_a_word_knows_how_many_nodes_there_were(tmp_path: Path) -> None:
    """Bounded from its first request on where it was in a cluster; all of the plan where it is in none any more."""
    path = tmp_path / "limits"
    table = LimitTable.open(path, 10, BOOT, NOW_NS, WALL_NS, in_cluster=True)
    assert table.words[NODES] == 1
    table.words[NODES], table.words[EXCHANGED_AT_NS] = 3, NOW_NS
    again = LimitTable.open(path, 10, BOOT, NOW_NS, WALL_NS, in_cluster=True)
    assert list(again.words[[NODES, EXCHANGED_AT_NS]]) == [3, 0]
    assert open_table(path).words[NODES] == 0
