"""The OpenAPI document and its page."""

import re

import httpx

from trinity.access.costs import MISTAKES, TABLE, cost_of
from workers.api.documentation import render_page
from workers.request.http import target

# Routes that are no calls of the document.
_UNDOCUMENTED = ("/ws", "/docs", "/openapi.json", "/administration", "/api/v3/key")


async def test_the_page_needs_no_other_host(optional_client: httpx.AsyncClient) -> None:
    """Every path of the document is on the page; script and style are files of this service, nothing else is there."""
    document = (await optional_client.get("/openapi.json")).json()
    page = (await optional_client.get("/docs")).text
    assert document["openapi"].startswith("3.")
    for path in document["paths"]:
        assert path in page
    assert re.findall(r'(?:src|href)="([^"#][^"]*)"', page) == [
        "/static/docs/icon.svg", "/openapi/docs.css", "/openapi/docs.js", "/openapi.json",
    ]  # fmt: skip
    assert not re.search(r"<script>|<style|<img|@import| style=| on[a-z]+=", page)
    for name in ("docs.css", "docs.js"):
        file = await optional_client.get(f"/openapi/{name}")
        assert (file.status_code, file.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert not re.search(r"https?://[a-z]|import |eval|innerHTML", file.text)
        again = await optional_client.get(f"/openapi/{name}", headers={"If-None-Match": file.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert (await optional_client.get("/static/docs/icon.svg")).status_code == 200
    assert "`" not in page.replace("&#x27;", "")
    assert (await optional_client.get("/openapi/document.py")).status_code == 404
    policy = (await optional_client.get("/docs")).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy


async def test_each_call_of_this_port_can_be_tried(optional_client: httpx.AsyncClient) -> None:
    """A form with a field for each parameter, filled with values that are answered; other ports are links."""
    document = (await optional_client.get("/openapi.json")).json()
    page = (await optional_client.get("/docs")).text
    for path, item in document["paths"].items():
        if "get" not in item:
            continue
        section = page.split(f"<code>GET {path}</code>")[1].split("</section>")[0]
        if path in ("/v1/health", "/health", "/live", "/ready", "/metrics"):
            assert "<form" not in section
            assert f'data-path="{path}"' in section
            continue
        assert f'<form data-path="{path}">' in section
        for parameter in item["get"].get("parameters", []):
            assert f'name="{parameter["name"]}"' in section
    assert 'data-port="8080"' in page
    assert 'data-port="8081"' in page
    assert 'data-port="9091"' in page


async def test_the_document_says_what_an_error_is(optional_client: httpx.AsyncClient) -> None:
    """The schema of every error is that of the answers, whose members it names all."""
    document = (await optional_client.get("/openapi.json")).json()
    schema = document["components"]["schemas"]["ProblemBody"]
    problem = (await optional_client.get("/history?asset=")).json()
    assert set(problem) <= set(schema["properties"])
    assert set(schema["required"]) <= set(problem)
    for path, item in document["paths"].items():
        responses = next(operation for method, operation in item.items() if method != "servers")["responses"]
        assert not {"400", "500"} & set(responses)
        (media,) = responses["4XX"]["content"]
        is_problem = not path.startswith(("/api/v3", "/udf")) and "servers" not in item
        assert media == ("application/problem+json" if is_problem else "application/json"), path


async def test_the_document_says_what_each_call_costs(optional_client: httpx.AsyncClient) -> None:
    """In the words of the one table, which has no row that stands for no route of either port."""
    document = (await optional_client.get("/openapi.json")).json()
    assert MISTAKES in document["info"]["description"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "servers" and operation.get("security") != []:
                assert operation["description"].endswith(f"Of the month: {cost_of(path).value}."), path
    paths = {*(path.removeprefix("/v1") for path in document["paths"]), *target.PATHS, *_UNDOCUMENTED}
    assert [row.path for row in TABLE if not any(f"{path}/".startswith(f"{row.path}/") for path in paths)] == []


def test_what_a_document_says_is_escaped() -> None:
    """Text of the document cannot become markup."""
    operation = {"description": "<b>", "parameters": [{"name": "<i>", "schema": {"enum": ["<u>"]}, "required": True}]}
    page = render_page({"info": {"title": "<t>"}, "paths": {"/<p>": {"get": operation}}})
    for markup in ("<b>", "<i>", "<u>", "<t>", "/<p>"):
        assert markup not in page
    assert "&lt;i&gt; (required)" in page
