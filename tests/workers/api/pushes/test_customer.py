"""workers/api/pushes/customer.py"""

import asyncio
import dataclasses
from pathlib import Path

import httpx
import psycopg

from tests.workers.api.conftest import application_of, client_to, opened, settings_of
from tests.workers.api.pushes.conftest import WANTED, made, refusal
from trinity.errors import DeliveryError
from trinity.push.addresses import AllowList
from workers.api.pushes.customer import CHANGES, Pushes
from workers.api.server import Service


class Names:
    """A resolver that knows what the test says, and can be held."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.free = asyncio.Event()
        self.free.set()
        self.asked = 0

    async def addresses_of(self, host: str) -> list[str]:
        self.asked += 1
        await self.free.wait()
        if host not in self.known:
            raise DeliveryError("resolve", f"{host}: there is no such name")
        return self.known[host]


def with_names(service: Service, names: Names) -> Service:
    """The same, asking them."""
    features = service.features._replace(pushes=Pushes(AllowList(), (), names))
    return dataclasses.replace(service, features=features)


async def test_every_address_of_a_name_is_checked_before_anything_is_made(
    database_url: str, tmp_path: Path, customer_keys: dict[str, str]
) -> None:
    """At a creation, a change and a test; an answer that is not clear is a refusal; a replay asks for no name."""
    names = Names()
    body = WANTED | {"target": "https://hooks.example.com/"}
    async with opened(settings_of(tmp_path, database_url=database_url)) as made_service:
        service = with_names(made_service, names)
        async with client_to(application_of(service)) as client:
            client.headers["X-API-Key"] = customer_keys["acme"]
            assert refusal(await client.post("/subscriptions", json=body)) == (400, "bad_parameter", "target")
            names.known = {"hooks.example.com": ["93.184.216.34", "10.0.0.1"]}
            refused = await client.post("/subscriptions", json=body)
            assert refusal(refused) == (400, "bad_parameter", "target")
            assert "private" in refused.json()["detail"]
            names.known = {"hooks.example.com": ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]}
            header = {"Idempotency-Key": "one"}
            first = await client.post("/subscriptions", json=body, headers=header)
            assert first.status_code == 201
            names.known = {"hooks.example.com": ["169.254.169.254"]}
            assert (await client.post("/subscriptions", json=body, headers=header)).content == first.content
            path = f"/subscriptions/{first.json()['subscription']['id']}"
            assert refusal(await client.post(f"{path}/test")) == (400, "bad_parameter", "target")
            assert refusal(await client.patch(path, json={"target": "udp://gone.example:1"}))[2] == "target"
            assert (await client.get("/subscriptions")).json()["subscriptions"] == [first.json()["subscription"]]


async def test_a_slow_resolver_holds_places_of_its_caller_alone(
    database_url: str, tmp_path: Path, customer_keys: dict[str, str]
) -> None:
    """Who has as many changes under way as one may is refused (429); another customer's go through meanwhile."""
    names = Names()
    names.known = {"slow.example": ["93.184.216.34"]}
    names.free.clear()
    slow = WANTED | {"target": "https://slow.example/"}
    async with opened(settings_of(tmp_path, database_url=database_url)) as made_service:
        service = with_names(made_service, names)
        async with client_to(application_of(service)) as client:
            mine, theirs = ({"X-API-Key": customer_keys[name]} for name in ("acme", "rival"))
            waiting = [
                asyncio.create_task(client.post("/subscriptions", json=slow, headers=mine))
                for _ in range(CHANGES.max_per_client)
            ]
            async with asyncio.timeout(30):
                while names.asked < CHANGES.max_per_client:
                    await asyncio.sleep(0.01)
            refused = await client.post("/subscriptions", json=WANTED, headers=mine)
            assert refusal(refused)[:2] == (429, "too_many_push_changes")
            assert refused.headers["Retry-After"] == "1"
            assert (await client.post("/subscriptions", json=WANTED, headers=theirs)).status_code == 201
            names.free.set()
            assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {201}


async def test_a_change_is_written_down_with_who_made_it(
    acme: httpx.AsyncClient, operator: httpx.AsyncClient, database_url: str
) -> None:
    """A key by its number, the operator by name; what changed, and nothing where nothing did."""
    path = f"/subscriptions/{(await made(acme))['subscription']['id']}"
    await operator.patch(path, json={"interval_s": 30})
    await acme.post(f"{path}/resume")
    await acme.delete(path)
    with psycopg.connect(database_url) as connection:
        entries = connection.execute("SELECT actor, via, action, before, after FROM audit_log ORDER BY id").fetchall()
    assert [entry[:3] for entry in entries] == [
        ("key 1", "api", "push create"), ("admin", "api", "push set"), ("key 1", "api", "push delete"),
    ]  # fmt: skip
    assert entries[1][3:] == ({"interval_s": 10}, {"interval_s": 30})
