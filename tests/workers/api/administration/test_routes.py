"""workers/api/administration/routes.py"""

import httpx
from jsonschema import Draft202012Validator


async def test_every_change_is_documented_with_its_body(operator: httpx.AsyncClient) -> None:
    """The OpenAPI document has the fields of each POST, and knows no other method than GET beside it; with examples."""
    document = (await operator.get("/openapi.json")).json()
    paths = document["paths"]
    own = {path: methods for path, methods in paths.items() if path.startswith("/v1/administration")}
    assert len(own) >= 13
    for path, methods in own.items():
        assert set(methods) <= {"get", "post"}, path
        for method, operation in methods.items():
            assert operation["description"], path
            assert ("requestBody" in operation) == (method == "post"), path
            content = operation["requestBody" if method == "post" else "responses"]
            content = (content if method == "post" else content["200"])["content"]["application/json"]
            assert method == "get" or content["schema"]["additionalProperties"] is False, path
            Draft202012Validator(content["schema"] | {"components": document["components"]}).validate(
                content["example"]
            )
