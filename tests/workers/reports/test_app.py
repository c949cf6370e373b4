"""What holds for every route: unknown parameters, unknown paths, the form of an error."""

import uuid

import httpx
import pytest


async def test_an_unknown_parameter_is_refused_by_name(optional_client: httpx.AsyncClient) -> None:
    """A misspelt parameter is not dropped silently."""
    response = await optional_client.get("/account?granularty=day")
    body = response.json()
    assert (response.status_code, body["code"], body["field"]) == (400, "unknown_parameter", "granularty")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nothing", 404, "unknown_path"), ("POST", "/account", 405, "method_not_allowed")],
)
async def test_refusals_of_the_router_have_the_same_form(
    optional_client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    """problem+json with the id that the header has."""
    response = await optional_client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["X-Request-Id"]
    uuid.UUID(response.headers["X-Request-Id"])
