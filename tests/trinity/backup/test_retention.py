"""trinity/backup/retention.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trinity.backup.test_catalog import NODE, SIZE, base, catalog, piece
from trinity.backup.catalog import BackupCatalog, Base, Window
from trinity.backup.layout import BundleName, WalPiece
from trinity.backup.retention import BasePolicy, DueBase, due_base, has_gap, obsolete

DAY = 86_400
POLICY = BasePolicy(DAY, 7 * DAY, 7)


def _due(found: BackupCatalog, now: int, may_build: bool = True, timeline: int = 1) -> DueBase | None:
    return due_base(found, timeline, now, POLICY, lambda _: may_build)


def test_the_first_base_is_due_at_once_and_the_next_after_its_time() -> None:
    """Changes alone, where the base before is known here; else all of it."""
    assert _due(catalog(), 0) == DueBase(None)
    known = catalog(base("a", 1, 100), piece(1, 110))
    assert _due(known, 100 + DAY - 1) is None
    assert _due(known, 100 + DAY) == DueBase(known.bases[0])
    assert _due(known, 100 + DAY, may_build=False) == DueBase(None)
    assert _due(known, 100 + 7 * DAY) == DueBase(None)


def test_a_new_timeline_or_a_gap_in_the_log_makes_one_due() -> None:
    """What is behind the gap cannot be restored before there is one."""
    broken = catalog(base("a", 1, 100), piece(1, 110), piece(3, 120))
    assert has_gap(broken, broken.bases[0])
    assert _due(broken, 130) == DueBase(broken.bases[0])
    assert _due(catalog(base("a", 1, 100), piece(1, 110)), 130, timeline=2) == DueBase(None)
    assert not has_gap(catalog(base("a", 1, 100), piece(1, 110), piece(2, 120, end=9)), broken.bases[0])


def test_changes_that_are_half_of_the_whole_do_not_pay() -> None:
    """Then the whole is taken again."""
    second = base("b", 2, 100 + DAY, "a")
    assert _due(catalog(base("a", 1, 100), second, piece(1, 110), piece(2, 120)), 100 + 2 * DAY) == DueBase(None)


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=12, unique=True),
    st.lists(st.integers(0, 45), max_size=12),
    st.integers(1, 30),
    st.integers(0, 45),
)
def test_every_second_of_the_days_that_are_kept_stays_restorable(
    days: list[int], bundle_days: list[int], keep: int, today: int
) -> None:
    """Whatever may go is away: what could be restored of those days before still can."""
    bases = [
        base(
            f"{day:02}", day + 1, day * DAY + 100, parent=f"{previous:02}" if previous is not None and day % 3 else None
        )
        for previous, day in zip([None, *sorted(days)], sorted(days), strict=False)
    ]
    pieces = [piece(number + 1, number * DAY + DAY - 1) for number in range(46)]
    bundles = [BundleName("7", NODE, day * DAY, 0) for day in set(bundle_days)]
    before, now = catalog(*bases, *pieces, *bundles), today * DAY
    gone = set(obsolete(before, now, keep))

    def is_kept(part: Base | WalPiece | BundleName) -> bool:
        return (f"7/base/{part.label}/base.json" if isinstance(part, Base) else part.name) not in gone

    after = catalog(*filter(is_kept, (*bases, *pieces, *bundles)))
    for moment in range(max(now - keep * DAY, 0), now, DAY // 2):
        if _can(before, moment):
            assert _can(after, moment)
    assert (before.bundle_of(NODE, None) is None) == (after.bundle_of(NODE, None) is None)


def _can(found: BackupCatalog, moment: int) -> bool:
    windows = [window for one in found.bases if (window := found.window_of(one))]
    return any(window.earliest <= moment <= window.newest for window in windows)


def test_joined_pieces_and_half_bases_go_but_not_the_one_that_is_being_taken() -> None:
    """What the long piece has whole is there twice."""
    parts = [piece(1, 10, 0, 500), piece(1, 11, 500, 900), piece(1, 12, 0, SIZE), piece(2, 13, 0, 100)]
    halves = ("7/base/20260101T000000Z-full/data.age", "7/base/20260102T000000Z-full/data.age")
    found = catalog(*parts)._replace(unfinished=halves)
    assert obsolete(found, 20, 7, "20260102T000000Z-full") == [halves[0], parts[0].name, parts[1].name]


@pytest.mark.parametrize("keep", [1, 7])
def test_the_window_shrinks_with_the_days(keep: int) -> None:
    """A day more than is promised, so that a restore is not overtaken."""
    bases = [base(f"{day:02}", day + 1, day * DAY + 100) for day in range(20)]
    pieces = [piece(number + 1, number * DAY + DAY - 1) for number in range(20)]
    gone = set(obsolete(catalog(*bases, *pieces), 20 * DAY, keep))
    kept = [one for one in bases if f"7/base/{one.label}/base.json" not in gone]
    assert kept[0].label == f"{20 - keep - 2:02}"
    after = catalog(*kept, *(part for part in pieces if part.name not in gone))
    assert after.window() == Window(kept[0].ended_at, 20 * DAY - 1)
