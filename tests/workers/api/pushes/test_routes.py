"""workers/api/pushes/routes.py"""

import httpx

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
