"""benchmarks/parts/cluster/chaos.py; that it runs is tests/benchmarks/test_main_slow_parts.py."""

from collections import Counter

import pytest

from benchmarks.parts.cluster.chaos import judge_rows, most_in, schedule
from benchmarks.parts.cluster.clients import Account


def _account(ids: dict[int, int], unanswered: int) -> Account:
    account = Account()
    account.answers, account.unanswered, account.ids = sum(ids.values()), unanswered, Counter(ids)
    return account


@pytest.mark.parametrize(
    ("ids", "unanswered", "rows", "wrong"),
    [
        ({1: 1, 2: 1}, 0, [(1, 1, 1), (2, 1, 1)], (0, 0, 0)),
        ({1: 2}, 0, [(1, 2, 2)], (0, 0, 0)),  # two nodes gave the same number
        ({1: 1, 2: 1}, 0, [(1, 1, 1)], (1, 0, 0)),
        ({1: 1}, 0, [(1, 2, 1)], (0, 1, 1)),
        ({1: 1}, 1, [(1, 1, 1), (5, 1, 1)], (0, 0, 0)),  # asked and not answered: it may have been recorded
        ({1: 1}, 1, [(1, 1, 1), (5, 1, 1), (6, 1, 1)], (0, 0, 1)),
        ({1: 1, 2: 1}, 0, [(1, 1, 1), (3, 1, 1)], (1, 0, 0)),  # as many rows as answers, but not theirs
    ],
)
def test_the_ledger_is_exact_or_it_is_said_how_it_is_not(
    ids: dict[int, int], unanswered: int, rows: list[tuple[int, int, int]], wrong: tuple[int, int, int]
) -> None:
    """Missing, twice, and more than was asked."""
    found = judge_rows(_account(ids, unanswered), rows, 0)
    assert (found["missing"], found["twice"], found["surplus"]) == wrong


def test_answers_without_a_number_are_counted_against_all_rows() -> None:
    """Those over UDP."""
    account = Account()
    account.answers = 3
    assert judge_rows(account, [(1, 1, 1), (2, 1, 1)], 0)["missing"] == 1
    assert judge_rows(account, [(1, 1, 1), (2, 1, 1), (3, 1, 1)], 0)["missing"] == 0


def test_the_nodes_are_killed_in_turn_every_twenty_seconds_and_the_stores_in_between() -> None:
    """Valkey twice, once empty; PostgreSQL once."""
    planned = schedule(300.0, ["a", "b", "c"])
    assert planned == sorted(planned)
    assert [(second, part) for second, part, _ in planned if part in "abc"][:4] == [
        (20.0, "b"),
        (40.0, "c"),
        (60.0, "a"),
        (80.0, "b"),
    ]
    assert sum(part in "abc" for _, part, _ in planned) == 14
    assert [how for _, part, how in planned if part == "valkey"] == ["empty", "with what it had"]
    assert sum(part == "postgresql" for _, part, _ in planned) == 1


def test_the_most_of_any_window_is_found() -> None:
    """A window holds less than its length."""
    assert most_in([0.0, 1.0, 9.9, 10.0, 10.5, 30.0], 10.0) == 4
    assert most_in([], 10.0) == 0
