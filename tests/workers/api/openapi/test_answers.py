"""The table of answers."""

import httpx

from workers.api.openapi.answers import ANSWERS, OPERATIONS
from workers.api.openapi.words import SERVICES


async def test_every_row_is_of_a_call_and_asks_by_its_parameters(optional_client: httpx.AsyncClient) -> None:
    """No row is left over, and no example value is of a parameter that there is not."""
    paths = (await optional_client.get("/openapi.json")).json()["paths"]
    for path, answer in ANSWERS.items():
        item = paths.get(f"/v1{path}") or paths[path]
        assert set(answer.ask) <= {parameter["name"] for parameter in item["get"].get("parameters", [])}, path
    for operation in OPERATIONS:
        assert set(operation.answer.ask) <= {parameter.name for parameter in operation.parameters}
        assert set(operation.services) <= set(SERVICES)
