"""workers/api/administration/routes.py"""

import httpx


async def test_every_change_is_documented_with_its_body(operator: httpx.AsyncClient) -> None:
    """The OpenAPI document has the fields of each POST, and knows no other method than GET beside it."""
    paths = (await operator.get("/openapi.json")).json()["paths"]
    own = {path: methods for path, methods in paths.items() if path.startswith("/v1/administration")}
    assert len(own) >= 13
    for path, methods in own.items():
        assert set(methods) <= {"get", "post"}, path
        for method, operation in methods.items():
            assert operation["description"], path
            assert ("requestBody" in operation) == (method == "post"), path
            if method == "post":
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                assert schema["additionalProperties"] is False, path
