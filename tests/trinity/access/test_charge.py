"""trinity/access/charge.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.quota import quota_used
from tests.trinity.access.door import KEY, NOW_NS, Door
from trinity.access.charge import MISTAKE, charge
from trinity.access.gate import OVERRUN, QUOTA_LEFT, RETRY_AFTER_MS
from trinity.clock import NS_PER_SECOND
from trinity.limits import MISTAKES_PER_MINUTE
from trinity.memory.limit_table import NODES
from trinity.vocabulary import CODES

pytestmark = pytest.mark.uncompiled


def test_a_month_counts_prices_and_a_refusal_takes_none() -> None:
    """Each price that is given is one; what does not fit is refused whole, and what is left stays."""
    door = Door()
    door.allow(KEY, quota=10)
    for lookups, code, left in ((4, "ok", 6), (1, "ok", 5), (6, "quota_exceeded", 5), (5, "ok", 0)):
        assert door.buy(lookups) == code
        assert door.told(QUOTA_LEFT) == left
        assert (door.told(RETRY_AFTER_MS) > 0) == (code != "ok")
    assert door.ask(KEY) == "quota_exceeded"
    assert door.refused("quota_exceeded") == 2
    assert quota_used(door.access.limits, 7)[1] == 10


def test_several_lookups_in_dry_run_are_counted_and_let_go_on() -> None:
    """Once a request, whatever it asks for."""
    door = Door()
    door.allow(KEY, quota=5, dry_run=True)
    assert door.buy(6) == "ok"
    assert CODES[door.told(OVERRUN)] == "quota_exceeded"
    assert door.in_dry_run("quota_exceeded") == 1
    assert quota_used(door.access.limits, 7)[1] == 0


@given(quota=st.integers(1, 40), asked=st.lists(st.integers(0, 15), max_size=12))
def test_lookups_are_charged_to_the_last_one(quota: int, asked: list[int]) -> None:
    """Never more than the quota, nothing is lost to what was refused, and an answer without a price costs nothing."""
    door = Door()
    door.allow(KEY, quota=quota)
    used = 0
    for lookups in asked:
        admitted = door.buy(lookups) == "ok"
        assert admitted == (used < quota and used + lookups <= quota)
        used += lookups if admitted else 0
        assert quota_used(door.access.limits, 7)[1] == used


def test_mistakes_cost_nothing_up_to_a_bound_a_minute_and_then_as_much_as_a_price() -> None:
    """The next minute has all of them again; a month that cannot pay for one more refuses it."""
    door = Door()
    door.allow(KEY, quota=3)
    for minute in range(2):
        now_ns = NOW_NS + minute * 60 * NS_PER_SECOND
        assert {door.buy(MISTAKE, now_ns=now_ns) for _ in range(MISTAKES_PER_MINUTE)} == {"ok"}
        assert quota_used(door.access.limits, 7)[1] == minute
        assert door.buy(MISTAKE, now_ns=now_ns) == "ok"
        assert quota_used(door.access.limits, 7)[1] == minute + 1
    assert door.buy(1) == "ok"
    assert door.ask(KEY) == "quota_exceeded"


def test_the_last_mistake_that_a_month_cannot_pay_is_refused() -> None:
    """Two were let in while one was left: the second finds nothing."""
    door = Door()
    door.allow(KEY, quota=1)
    other = door.worker()
    for _ in range(MISTAKES_PER_MINUTE):
        assert door.buy(MISTAKE) == "ok"
    assert [door.ask(KEY), door.ask(KEY, gate=other)] == ["ok", "ok"]
    assert [CODES[charge(gate, MISTAKE, NOW_NS)] for gate in (door.gate, other)] == ["ok", "quota_exceeded"]


def test_without_a_key_or_a_quota_nothing_is_charged() -> None:
    """A rate counts requests."""
    door = Door("optional", anonymous_rate=2)
    assert [(door.ask(), CODES[charge(door.gate, 256, NOW_NS)]) for _ in range(2)] == [("ok", "ok")] * 2
    door.allow(KEY)
    assert {door.buy(lookups) for lookups in [256, *[MISTAKE] * (MISTAKES_PER_MINUTE + 1)]} == {"ok"}
    assert quota_used(door.access.limits, 7)[1] == 0


def test_in_a_cluster_lookups_without_a_quota_are_counted_too() -> None:
    """What a key used is told of every key; what is free, and a mistake, is nothing."""
    door = Door()
    door.access.limits.words[NODES] = 3
    door.allow(KEY)
    assert [door.buy(lookups) for lookups in (3, 4, 0, MISTAKE)] == ["ok"] * 4
    assert door.ask(KEY, is_free=True) == "ok"
    assert CODES[charge(door.gate, 100, NOW_NS)] == "ok"
    assert quota_used(door.access.limits, 7)[1] == 7


def test_what_is_free_is_never_charged() -> None:
    """Whatever its handler says: the page's streams of prices as well."""
    door = Door()
    door.allow(KEY, rate=5, burst=5, quota=2)
    assert door.ask(KEY, is_free=True) == "ok"
    assert CODES[charge(door.gate, 100, NOW_NS)] == "ok"
    assert quota_used(door.access.limits, 7)[1] == 0
