"""workers/access/cache.py"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trinity.rates import rate_of
from workers.access.cache import AccessCache
from workers.access.rows import ACTIVE, END_NEVER, KEY_DTYPE, NULL, REVOKED, SUSPENDED, PlanRow, Rows

PLANS = (PlanRow(1, 10, 20, 1000, False), PlanRow(2, 0, 0, 0, True))
NOW = 1_000_000


def make_rows(*ids: int, **fields: int) -> Rows:
    """Active keys of plan 1 without limits of their own or an end."""
    rows = np.zeros(len(ids), dtype=KEY_DTYPE)
    rows["id"] = ids
    defaults = {"plan_id": 1, "state": ACTIVE, "rate": NULL, "burst": NULL, "monthly_quota": NULL}
    for field, value in (defaults | {"ends_at_us": END_NEVER} | fields).items():
        rows[field] = value
    rows["digest"] = np.array(ids, dtype=np.uint8)[:, None]
    return rows


def make_cache(*rows: Rows) -> AccessCache:
    """A cache of 100 keys at most."""
    cache = AccessCache(100)
    cache.put_plans(PLANS)
    for some in rows:
        cache.put_keys(some)
    return cache


def test_only_what_differs_is_a_change() -> None:
    """The same row again changes nothing; any other field does."""
    cache = make_cache()
    assert cache.put_keys(make_rows(1, 2, 3)).tolist() == [1, 2, 3]
    assert cache.put_keys(make_rows(1, 2, 3)).tolist() == []
    assert cache.put_keys(make_rows(2, state=SUSPENDED)).tolist() == [2]
    assert cache.put_keys(make_rows(3, burst=7)).tolist() == [3]
    assert cache.key_count == 3


def test_a_key_is_granted_its_own_limits_else_its_plans() -> None:
    """Nothing of its own: all of the plan's; one limit of its own: that one alone."""
    cache = make_cache(make_rows(1), make_rows(2, rate=5), make_rows(3, plan_id=2))
    grants = cache.grants(np.array([1, 2, 3]), NOW)
    assert grants.states.tolist() == [ACTIVE] * 3
    assert grants.rates.tolist() == [10, 5, 0]
    assert grants.bursts.tolist() == [20, 20, 0]
    assert grants.monthly_quotas.tolist() == [1000, 1000, 0]
    assert grants.dry_runs.tolist() == [False, False, True]
    assert grants.digests[:, 0].tolist() == [1, 2, 3]


def test_a_rate_of_its_own_under_a_plan_without_a_burst_can_be_used() -> None:
    """A burst of 0 would refuse everything: a second's requests take its place."""
    grants = make_cache(make_rows(1, plan_id=2, rate=5)).grants(np.array([1]), NOW)
    assert grants.bursts.tolist() == [5]


def test_a_changed_plan_touches_its_keys() -> None:
    """And no others; the same plans again touch nobody."""
    cache = make_cache(make_rows(1, 2), make_rows(3, plan_id=2))
    assert cache.put_plans(PLANS).tolist() == []
    assert cache.put_plans((PLANS[0], PlanRow(2, 1, 1, 1, False))).tolist() == [3]
    assert cache.grants(np.array([3]), NOW).rates.tolist() == [1]


def test_a_key_of_an_unknown_plan_gets_hardly_anything() -> None:
    """A row that overtook its plan does not get a free ride, whatever the plan's number."""
    cache = make_cache(make_rows(1, plan_id=3), make_rows(2, plan_id=30_000))
    assert cache.grants(np.array([1, 2]), NOW).rates.tolist() == [1, 1]


def test_a_key_past_its_end_is_revoked_once() -> None:
    """It is found when its end comes, and not again; keys without an end never are."""
    cache = make_cache(make_rows(1), make_rows(2, ends_at_us=NOW), make_rows(3, ends_at_us=NOW + 5))
    assert cache.ended(NOW - 1).tolist() == []
    assert cache.grants(np.array([2]), NOW - 1).states.tolist() == [ACTIVE]
    assert cache.ended(NOW).tolist() == [2]
    assert cache.ended(NOW + 4).tolist() == []
    assert cache.ended(NOW + 5).tolist() == [3]
    assert cache.ended(2**62).tolist() == []
    assert cache.grants(np.array([1, 2, 3]), NOW + 5).states.tolist() == [ACTIVE, REVOKED, REVOKED]


def test_what_a_clock_ended_too_early_is_found_again() -> None:
    """It was ahead for a while: a review names the keys with an end, and their true end is noticed when it comes."""
    cache = make_cache(make_rows(1), make_rows(2, ends_at_us=NOW), make_rows(3, ends_at_us=NOW + 5))
    assert cache.ended(NOW + 100).tolist() == [2, 3]
    assert cache.review_ends(NOW + 1).tolist() == [2, 3]
    assert cache.grants(np.array([1, 2, 3]), NOW + 1).states.tolist() == [ACTIVE, REVOKED, ACTIVE]
    assert cache.ended(NOW + 4).tolist() == []
    assert cache.ended(NOW + 5).tolist() == [3]
    assert make_cache(make_rows(1)).review_ends(NOW).tolist() == []


def test_another_key_under_a_known_number_is_noticed() -> None:
    """Not a change of the same key, nor one of which nothing was known yet; without room it is left out."""
    cache = make_cache(make_rows(1, 2))
    other = make_rows(1, 2, 3, 250)
    other["digest"][1:] = 99
    assert cache.reused(other, every_key_is_known=False).tolist() == [2]
    assert cache.reused(other, every_key_is_known=True).tolist() == [2, 3]
    assert cache.reused(make_rows(1, 2, state=SUSPENDED), every_key_is_known=True).tolist() == []
    cache.begin_comparison()
    cache.end_comparison()
    assert cache.reused(other, every_key_is_known=False).tolist() == [2], "a number that was free for a while"


def test_a_key_that_is_gone_is_revoked() -> None:
    """A comparison finds what the database no longer has, and only that."""
    cache = make_cache(make_rows(1, 2, 3))
    cache.begin_comparison()
    cache.put_keys(make_rows(1, 3))
    gone = cache.end_comparison()
    assert gone.tolist() == [2]
    assert cache.grants(gone, NOW).states.tolist() == [REVOKED]
    assert cache.ids().tolist() == [1, 3]
    assert [cache.rows(first, 2)["id"].tolist() for first in (0, 2)] == [[1], [3]]


def test_keys_without_room_are_counted_and_left_out() -> None:
    """No index beyond the table, and a later comparison counts anew."""
    cache = make_cache()
    assert cache.put_keys(make_rows(100, 101, 250)).tolist() == [100]
    assert cache.keys_beyond == 2
    cache.begin_comparison()
    cache.put_keys(make_rows(100))
    assert cache.end_comparison().tolist() == []
    assert cache.keys_beyond == 0


@given(st.lists(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 3), st.integers(0, 50)), max_size=8), max_size=6))
def test_after_any_changes_the_grants_are_those_of_the_last_rows(
    batches: list[list[tuple[int, int, int]]],
) -> None:
    """Whoever applies only the reported changes holds what a full application would hold."""
    cache = make_cache()
    applied: dict[int, tuple[int, int]] = {}
    last: dict[int, tuple[int, int]] = {}
    for batch in batches:
        rows = {number: (state, burst) for number, state, burst in batch}
        last |= rows
        if not rows:
            continue
        made = np.concatenate([make_rows(n, state=state, burst=burst) for n, (state, burst) in rows.items()])
        grants = cache.grants(cache.put_keys(made.astype(KEY_DTYPE)), NOW)
        held = zip(grants.states.tolist(), grants.bursts.tolist(), strict=True)
        applied |= dict(zip(grants.ids.tolist(), held, strict=True))
    assert applied == {n: (state, burst or 10) for n, (state, burst) in last.items()}


def test_rates_of_an_hour_pass_the_row_of_32_bits() -> None:
    """One an hour is a negative number in the row's signed column, and the same rate in the grant."""
    rate = rate_of(7, 3600)
    cache = make_cache(make_rows(1, rate=rate - 2**32), make_rows(2, rate=rate_of(1, 5), plan_id=2))
    grants = cache.grants(np.array([1, 2]), NOW)
    assert grants.rates.tolist() == [rate, rate_of(1, 5)]
    assert grants.bursts.tolist() == [20, 1]
