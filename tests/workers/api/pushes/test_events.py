"""workers/api/pushes/events.py"""

import httpx
import psycopg
import pytest

from tests.workers.api.pushes.conftest import refusal
from trinity.push import events


@pytest.fixture
def told(database_url: str, customer_keys: dict[str, str]) -> list[str]:
    """Beside those of the two keys: three events of acme, one of the nodes."""
    with psycopg.connect(database_url) as connection:
        found = [events.emit(connection, 1, "subscription.failing", {"subscription": number}) for number in range(3)]
        events.emit(connection, None, "node.feed_lost", {"exchange": "kraken"})
    return found


async def test_an_account_reads_its_own_events_newest_first_in_pages(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, told: list[str]
) -> None:
    """What was told of it since its first key."""
    page = (await acme.get("/v1/events?limit=2")).json()
    assert [event["uid"] for event in page["events"]] == [told[2], told[1]]
    assert page["events"][0]["data"] == {"subscription": 2}
    rest = (await acme.get(f"/events?before={page['next']}")).json()
    assert [event["type"] for event in rest["events"]] == ["subscription.failing", "key.created"]
    assert rest["next"] is None
    assert [event["type"] for event in (await rival.get("/events")).json()["events"]] == ["key.created"]


async def test_the_operator_reads_all_and_those_of_the_nodes(operator: httpx.AsyncClient, told: list[str]) -> None:
    """Each with its account."""
    found = (await operator.get("/events")).json()["events"]
    assert [(event["type"], event.get("account")) for event in found][:2] == [
        ("node.feed_lost", None), ("subscription.failing", "acme"),
    ]  # fmt: skip


async def test_a_filter_names_types(acme: httpx.AsyncClient, told: list[str]) -> None:
    """With commas, or by their beginning; a wrong one is refused by its field."""
    for query in (
        "types=key.*",
        "types=key.created",
        "types=key.created,key.revoked",
    ):
        assert [event["type"] for event in (await acme.get(f"/events?{query}")).json()["events"]] == ["key.created"]
    assert refusal(await acme.get("/events?types=keys")) == (400, "bad_parameter", "types")


async def test_the_types_are_listed_for_who_may_get_them(acme: httpx.AsyncClient, operator: httpx.AsyncClient) -> None:
    """Those of nodes for the operator alone."""
    own, all_of_them = [
        {kind["type"] for kind in (await client.get("/events/types")).json()["types"]} for client in (acme, operator)
    ]
    assert all_of_them == {kind.name for kind in events.EVENT_TYPES}
    assert own == {name for name in all_of_them if not name.startswith("node.")}


async def test_who_has_no_key_has_no_events(app: object, acme: httpx.AsyncClient) -> None:
    """Usage belongs to accounts, and so do events."""
    acme.headers.pop("X-API-Key")
    for path in ("/events", "/endpoints"):
        assert (await acme.get(path)).status_code == 401
