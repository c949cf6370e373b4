"""workers/api/pushes/routes.py"""

from pathlib import Path

import httpx

from tests.workers.api.live import live
from tests.workers.api.pushes.conftest import PUBLIC, made, refusal
from trinity.access.costs import Cost, cost_of
from workers.api.pushes import deliveries, subscriptions


async def test_every_route_is_documented_with_an_example_and_its_refusals(acme: httpx.AsyncClient) -> None:
    """Under /v1/subscriptions; what is sent has an example; it costs no month."""
    document = (await acme.get("/openapi.json")).json()
    paths = {path: item for path, item in document["paths"].items() if path.startswith("/v1/subscriptions")}
    documented = sum(len(set(item) - {"servers"}) for item in paths.values())
    assert documented == len(subscriptions.HANDLERS) + len(deliveries.HANDLERS)
    for path, item in paths.items():
        for method, operation in item.items():
            assert operation["description"], (path, method)
            assert operation["responses"]["4XX"], (path, method)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                assert "example" in content, (path, method)
    assert cost_of("/v1/subscriptions/7/test") is Cost.FREE


async def test_every_method_is_served_over_a_real_connection(
    database_url: str, tmp_path: Path, customer_keys: dict[str, str]
) -> None:
    """POST, GET, HEAD, PATCH and DELETE, of the path with a version and of the bare one."""
    async with (
        live(tmp_path, database_url=database_url) as served,
        httpx.AsyncClient(base_url=served.url, headers={"X-API-Key": customer_keys["acme"]}, timeout=30) as client,
    ):
        path = f"/subscriptions/{(await made(client))['subscription']['id']}"
        assert (await client.get(f"/v1{path}")).json()["subscription"]["target"] == PUBLIC
        assert (await client.head(path)).status_code == 200
        assert (await client.patch(f"/v1{path}", json={"name": "other"})).json()["subscription"]["name"] == "other"
        assert refusal(await client.put(path, json={}))[:2] == (405, "method_not_allowed")
        assert refusal(await client.patch(path, content=b"[" * 10_000))[0] == 400
        assert (await client.delete(path)).status_code == 200
        assert refusal(await client.get(path)) == (404, "not_there", "subscription")
