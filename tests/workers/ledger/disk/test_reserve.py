"""workers/ledger/disk/reserve.py"""

from pathlib import Path

import numpy as np
import pytest

from tests.workers.ledger.ledger_fixture import DAY_NS, in_order, make_records
from workers.ledger.disk import reserve as module
from workers.ledger.disk.reserve import Reserve
from workers.ledger.sums import Span, Sums
from workers.ledger.usage.usage_sums import merge_groups, sum_records
from workers.ledger.usage.usage_tables import USAGE


def _sums(first: int, end: int, seed: int = 1, keys: int = 3) -> Sums:
    return Sums((Span(0, first, end),), sum_records(make_records(end - first, seed=seed, keys=keys)))


def test_sums_are_added_and_found_again(tmp_path: Path) -> None:
    """By the next process as well; cleared is empty."""
    reserve = Reserve(USAGE, tmp_path / "reserve")
    assert reserve.sums.requests == 0
    assert reserve.add(_sums(0, 30))
    assert reserve.add(_sums(30, 70, seed=2))
    again = Reserve(USAGE, tmp_path / "reserve")
    assert again.sums.spans == (Span(0, 0, 70),)
    assert int(again.sums.groups["requests"].sum()) == 70
    again.clear()
    assert Reserve(USAGE, tmp_path / "reserve").sums.requests == 0


def test_a_writer_killed_at_any_moment_leaves_the_older_or_the_newer_sums(tmp_path: Path) -> None:
    """However much of a slot was written: without its generation it does not count, and a torn one neither."""
    reserve = Reserve(USAGE, tmp_path / "reserve")
    reserve.add(_sums(0, 30))
    before = reserve._bytes.copy()
    reserve.add(_sums(30, 70))
    after = reserve._bytes.copy()
    changed = np.flatnonzero(before != after)
    generation = changed[changed % module.SLOT_BYTES < 8]
    for count in (0, 1, len(changed) // 2, len(changed)):
        torn = before.copy()
        torn[changed[len(changed) - count :]] = after[changed[len(changed) - count :]]
        torn[generation] = before[generation]
        (tmp_path / "torn").write_bytes(torn.tobytes())
        assert Reserve(USAGE, tmp_path / "torn").sums.requests == 30
    assert Reserve(USAGE, tmp_path / "reserve").sums.requests == 70
    damaged = after.copy()
    damaged[changed[-1]] ^= 0xFF
    (tmp_path / "damaged").write_bytes(damaged.tobytes())
    assert Reserve(USAGE, tmp_path / "damaged").sums.requests == 30


def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More groups than a slot holds."""
    monkeypatch.setattr(module, "SLOT_BYTES", 1 << 14)
    reserve = Reserve(USAGE, tmp_path / "reserve")
    assert reserve.add(_sums(0, 5))
    assert not reserve.add(_sums(5, 2000, keys=1000))
    assert reserve.sums.requests == 5


def test_where_minutes_do_not_fit_hours_are_kept_then_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days of many minutes in one small slot: the sums of the days stay exact."""
    monkeypatch.setattr(module, "SLOT_BYTES", 1 << 13)
    reserve, units = Reserve(USAGE, tmp_path / "reserve"), set()
    records = make_records(4000, keys=1)
    records["time_ns"] += np.arange(len(records)) * (2 * DAY_NS // len(records))
    for at in range(0, len(records), 500):
        assert reserve.add(Sums((Span(0, at, at + 500),), sum_records(records[at : at + 500])))
        units.add(reserve.sums.unit_minutes)
    assert units == {1, 60, 1440}
    again = Reserve(USAGE, tmp_path / "reserve").sums
    assert (again.requests, again.unit_minutes) == (4000, 1440)
    expected = merge_groups([sum_records(records)], 1440)
    assert in_order(again.groups) == in_order(expected)
    assert (tmp_path / "reserve").stat().st_mode & 0o777 == 0o600
