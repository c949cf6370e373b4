"""workers/api/administration/plans.py"""

import httpx
import pytest

from tests.workers.api.administration.conftest import change, listed, refused


async def test_a_plan_is_changed_and_made(operator: httpx.AsyncClient) -> None:
    """What is left out stays; a new one needs rate, burst and quota."""
    found = await change(operator, "plans/free", burst=33, dry_run=True)
    assert (found["created"], found["plan"]["burst"], found["plan"]["rate_requests"]) == (False, 33, 10)
    assert found["plan"]["dry_run"] is True
    made = await change(operator, "plans/trial", rate="90/m", burst=5, quota=1000)
    assert (made["created"], made["plan"]["rate_seconds"], made["plan"]["monthly_quota"]) == (True, 60, 1000)
    names = [plan["name"] for plan in (await listed(operator, "plans"))["plans"]]
    assert names == ["free", "standard", "pro", "unlimited", "trial"]


async def test_a_plan_has_a_price_from_a_day_on(operator: httpx.AsyncClient) -> None:
    """Exact, as text; the audit says who set it."""
    made = await change(operator, "plans/pro/price", price="49.90", currency="EUR", **{"from": "2026-01-01"})
    assert made == {"plan": "pro", "since": "2026-01-01", "price": "49.90", "currency": "EUR"}
    pro = next(plan for plan in (await listed(operator, "plans"))["plans"] if plan["name"] == "pro")
    assert (pro["price"], pro["currency"]) == ("49.90", "EUR")
    (entry,) = (await listed(operator, "audit"))["entries"]
    assert (entry["action"], entry["kind"], entry["name"]) == ("plans price", "price", "pro")
    assert entry["after"]["price"] == "49.90"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("plans/trial", {"rate": 5}, "burst"),
        ("plans/free", {"rate": None}, "rate"),
        ("plans/free", {"burst": 0}, "burst"),
        ("plans/free", {"dry_run": "on"}, "dry_run"),
        ("plans/%0A", {"burst": 1}, "plan"),
        ("plans/free/price", {"price": "much", "currency": "EUR"}, "price"),
        ("plans/free/price", {"price": 1, "currency": "euros"}, "currency"),
        ("plans/free/price", {"price": 1, "currency": "EUR", "from": "soon"}, "from"),
        ("plans/free/price", {"price": 1}, "currency"),
    ],
)
async def test_what_is_wrong_is_named(
    operator: httpx.AsyncClient, path: str, body: dict[str, object], field: str
) -> None:
    """400 with the field; the plans are as they were."""
    before = await listed(operator, "plans")
    assert (await refused(operator, path, **body))[:2] == (400, field)
    assert await listed(operator, "plans") == before
