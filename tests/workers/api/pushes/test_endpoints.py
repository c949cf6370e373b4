"""workers/api/pushes/endpoints.py"""

import httpx
import psycopg
import pytest

from tests.workers.api.pushes.conftest import refusal
from trinity.push import events

PUBLIC = "https://93.184.216.34/events"  # an address, so nobody is asked for a name


async def make(client: httpx.AsyncClient, **changes: object) -> dict[str, object]:
    answer = await client.post("/endpoints", json={"url": PUBLIC} | changes)
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()
    return found


async def test_an_endpoint_s_whole_life(acme: httpx.AsyncClient) -> None:
    """Made, listed, changed, paused, resumed, given another secret, tested, replayed, deleted."""
    made = await make(acme, types=["key.*"], name="books")
    endpoint = made["endpoint"]
    assert isinstance(endpoint, dict)
    assert (endpoint["account"], endpoint["state"], endpoint["name"]) == ("acme", "active", "books")
    assert "key.created" in endpoint["types"]
    path = f"/v1/endpoints/{endpoint['id']}"
    assert (await acme.get("/endpoints")).json() == {"endpoints": [endpoint]}
    changed = (await acme.patch(path, json={"types": []})).json()["endpoint"]
    assert (changed["types"], changed["name"]) == ([], "books")
    for word, state in (("pause", "paused"), ("resume", "active")):
        assert (await acme.post(f"{path}/{word}", json={})).json()["endpoint"]["state"] == state
    rotated = (await acme.post(f"{path}/rotate", json={"grace": "1h"})).json()
    shown = (await acme.get(f"{path}/secret")).json()
    assert shown == {"secret": rotated["secret"], "old_secret": made["secret"]}
    answer = await acme.post(f"{path}/test", json={})
    assert answer.status_code == 202
    uid = answer.json()["event"]
    deliveries = (await acme.get(f"{path}/deliveries")).json()["deliveries"]
    assert [(one["event"], one["type"], one["state"]) for one in deliveries] == [(uid, "endpoint.test", "waiting")]
    assert (await acme.post(f"{path}/replay", json={"event": uid})).json() == {"queued": 1, "event": uid}
    assert (await acme.post(f"{path}/replay", json={"since": "24h"})).json() == {"queued": 0, "event": None}
    assert (await acme.delete(path)).json() == {"deleted": endpoint["id"]}
    assert refusal(await acme.get(path)) == (404, "not_there", "endpoint")


async def test_an_idempotency_key_makes_one_endpoint(acme: httpx.AsyncClient) -> None:
    """The second answer is the first one, with its secret."""
    headers = {"Idempotency-Key": "an-endpoint"}
    first, second = [await acme.post("/endpoints", json={"url": PUBLIC}, headers=headers) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len((await acme.get("/endpoints")).json()["endpoints"]) == 1


async def test_another_account_s_endpoint_is_not_there(acme: httpx.AsyncClient, rival: httpx.AsyncClient) -> None:
    """Whatever is asked of it; the operator sees it, but not its secret."""
    made = await make(acme)
    endpoint = made["endpoint"]
    assert isinstance(endpoint, dict)
    path = f"/endpoints/{endpoint['id']}"
    calls = [
        rival.get(path), rival.patch(path, json={}), rival.delete(path), rival.get(f"{path}/secret"),
        rival.get(f"{path}/deliveries"), rival.post(f"{path}/replay", json={"since": "1h"}),
        *(rival.post(f"{path}/{word}", json={}) for word in ("pause", "resume", "rotate", "test")),
    ]  # fmt: skip
    for call in calls:
        assert refusal(await call) == (404, "not_there", "endpoint")
    assert (await rival.get("/endpoints")).json() == {"endpoints": []}


async def test_the_operator_has_endpoints_of_its_own_and_sees_all(
    acme: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    """For the nodes' alarms; a customer's secret is not the operator's to see."""
    customers = (await make(acme))["endpoint"]
    own = (await make(operator))["endpoint"]
    assert isinstance(customers, dict)
    assert isinstance(own, dict)
    assert [one["id"] for one in (await operator.get("/endpoints")).json()["endpoints"]] == [own["id"], customers["id"]]
    assert refusal(await operator.get(f"/endpoints/{customers['id']}/secret"))[:2] == (403, "owner_only")
    assert (await operator.get(f"/endpoints/{own['id']}/secret")).json()["secret"].startswith("whsec_")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://example.com/"}, "url"),
        ({"url": "udp://93.184.216.34:9"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://[::1]/"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": PUBLIC, "types": ["keys"]}, "types"),
        ({"url": PUBLIC, "secret": "x"}, "secret"),
        ({}, "url"),
    ],
)
async def test_what_is_wrong_is_named_by_its_field(
    acme: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    """An address that must not be dialled as well, also when it is changed later."""
    status, _, found = refusal(await acme.post("/endpoints", json=body))
    assert (status, found) == (400, field)
    if field == "url" and body:
        made = (await make(acme))["endpoint"]
        assert isinstance(made, dict)
        assert refusal(await acme.patch(f"/endpoints/{made['id']}", json=body))[0] == 400


async def test_a_replay_names_one_event_or_a_time(acme: httpx.AsyncClient) -> None:
    """Not both, not neither, and nothing that lies ahead."""
    made = (await make(acme))["endpoint"]
    assert isinstance(made, dict)
    path = f"/endpoints/{made['id']}/replay"
    for body in ({}, {"event": "msg_1", "since": "1h"}, {"since": "tomorrow"}, {"since": "2999-01-01T00:00:00Z"}):
        assert refusal(await acme.post(path, json=body)) == (400, "bad_parameter", "since")
    assert refusal(await acme.post(path, json={"event": "msg_1"})) == (404, "not_there", "event")
    assert refusal(await acme.post(path, json={"event": "\0"})) == (400, "bad_parameter", "event")
    assert refusal(await acme.post(f"/endpoints/{made['id']}/rotate", json={"grace": "8d"}))[2] == "grace"


async def test_what_failed_is_replayed_with_the_ids_that_it_had(acme: httpx.AsyncClient, database_url: str) -> None:
    """All of it that is within the time."""
    made = (await make(acme))["endpoint"]
    assert isinstance(made, dict)
    with psycopg.connect(database_url) as connection:
        uid = events.emit(connection, 1, "key.created", {"key": 1})
        connection.execute("UPDATE push_event_deliveries SET state = 'failed', attempts = 10")
    path = f"/endpoints/{made['id']}"
    assert (await acme.post(f"{path}/replay", json={"since": "1h"})).json()["queued"] == 1
    (one,) = (await acme.get(f"{path}/deliveries")).json()["deliveries"]
    assert (one["event"], one["state"], one["attempts"]) == (uid, "waiting", 0)
