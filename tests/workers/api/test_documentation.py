"""The OpenAPI document and its page."""

import re

import httpx

from trinity.access.costs import MISTAKES, TABLE, cost_of
from workers.api.documentation import render_page
from workers.request.http import target

# Routes that are no calls of the document.
_UNDOCUMENTED = ("/ws", "/docs", "/openapi.json", "/administration", "/api/v3/key")


async def test_the_page_needs_no_other_host(optional_client: httpx.AsyncClient) -> None:
    """Every path of the document is on the page; no address, script or image comes from elsewhere."""
    document = (await optional_client.get("/openapi.json")).json()
    page = (await optional_client.get("/docs")).text
    assert document["openapi"].startswith("3.")
    for path in document["paths"]:
        assert path in page
    assert not re.search(r"https?://|<script|<img|@import|<link", page)


async def test_the_document_says_what_an_error_is(optional_client: httpx.AsyncClient) -> None:
    """The schema of every error is that of the answers, whose members it names all."""
    document = (await optional_client.get("/openapi.json")).json()
    schema = document["components"]["schemas"]["ProblemBody"]
    problem = (await optional_client.get("/history?asset=")).json()
    assert set(problem) == set(schema["properties"])
    assert set(schema["required"]) <= set(problem)
    for item in document["paths"].values():
        for operation in item.values():
            assert not {"400", "500"} & set(operation["responses"])
            assert operation["responses"]["4XX"] == {"$ref": "#/components/responses/Problem"}
    assert "application/problem+json" in document["components"]["responses"]["Problem"]["content"]


async def test_the_document_says_what_each_call_costs(optional_client: httpx.AsyncClient) -> None:
    """In the words of the one table, which has no row that stands for no route of either port."""
    document = (await optional_client.get("/openapi.json")).json()
    assert MISTAKES in document["info"]["description"]
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["description"].endswith(f"Of the month: {cost_of(path).value}."), path
    paths = {*document["paths"], *target.PATHS, *_UNDOCUMENTED}
    assert [row.path for row in TABLE if not any(f"{path}/".startswith(f"{row.path}/") for path in paths)] == []


def test_what_a_document_says_is_escaped() -> None:
    """Text of the document cannot become markup."""
    operation = {"description": "<b>", "parameters": [{"name": "<i>", "schema": {"enum": ["<u>"]}, "required": True}]}
    page = render_page({"info": {"title": "<t>"}, "paths": {"/<p>": {"get": operation}}})
    for markup in ("<b>", "<i>", "<u>", "<t>", "/<p>"):
        assert markup not in page
    assert "&lt;i&gt; (required)" in page
