"""trinity/access/plans.py, on a real PostgreSQL"""

from collections.abc import Iterator

import psycopg
import pytest

from trinity.access import plans
from trinity.access.keys import Connection
from trinity.access.plans import PlanChange
from trinity.errors import InputError


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connected:
        yield connected


def test_a_plan_is_changed_in_part(connection: Connection) -> None:
    """What is not given stays; the dry run is switched on and off."""
    plan, is_new = plans.set_plan(connection, "free", PlanChange(rate_requests=5))
    assert (plan.rate_per_second, plan.burst, plan.monthly_quota, plan.dry_run, is_new) == (
        5,
        20,
        1_000_000,
        False,
        False,
    )
    assert plans.set_plan(connection, "free", PlanChange(dry_run=True))[0].dry_run is True
    assert plans.set_plan(connection, "free", PlanChange(dry_run=False))[0].dry_run is False


def test_a_new_plan_needs_all_its_limits(connection: Connection) -> None:
    """What is missing is named."""
    with pytest.raises(InputError, match=r"--burst.*it needs --burst, --quota"):
        plans.set_plan(connection, "gold", PlanChange(rate_requests=5))
    plan, is_new = plans.set_plan(connection, "gold", PlanChange(5, 10, 0))
    assert is_new
    assert (plan.name, plan.keys) == ("gold", 0)
    assert [found.name for found in plans.list_plans(connection)] == ["free", "standard", "pro", "unlimited", "gold"]


def test_a_rate_without_a_burst_is_refused(connection: Connection) -> None:
    """It would refuse every request; nothing is changed, in an old plan as in a new one."""
    before = plans.list_plans(connection)
    for name in ("free", "gold"):
        with pytest.raises(InputError, match="--burst"):
            plans.set_plan(connection, name, PlanChange(5, 0, 0))
    assert plans.list_plans(connection) == before
