"""What holds for every route: unknown parameters, unknown paths, the form of an error."""

import ast
import asyncio
import ipaddress
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.workers.api.conftest import ADMIN_KEY, client_to, service, settings_of, tables_of
from trinity.memory.block_table import BlockTable
from trinity.store import migrate
from workers.api.accounts.signin import SESSION_COOKIE
from workers.api.base import context

ORIGIN = {"Origin": "https://elsewhere.example"}


def test_what_all_features_share_knows_none_of_them() -> None:
    """No module of workers/api/base imports another room of the service: a feature brings its own piece."""
    modules = sorted(Path(context.__file__).parent.rglob("*.py"))
    assert len(modules) > 10
    imported = {
        (path.name, name)
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _names_of(node)
        if name.startswith("workers.api") and not name.startswith("workers.api.base")
    }
    assert imported == set()


def _names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


async def test_an_unknown_parameter_is_refused_by_name(optional_client: httpx.AsyncClient) -> None:
    """A misspelt parameter is not dropped silently."""
    response = await optional_client.get("/account?granularty=day")
    body = response.json()
    assert (response.status_code, body["code"], body["field"]) == (400, "unknown_parameter", "granularty")


async def test_a_call_is_answered_in_its_own_task(
    optional_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread looks at its parameters, and no task brings what its handler works with: they cost half of a call."""
    loop = asyncio.get_running_loop()
    in_threads: list[Any] = []
    in_tasks: list[Any] = []
    run_in_executor = loop.run_in_executor

    def note_thread(executor: Any, function: Any, *arguments: Any) -> Any:
        in_threads.append(function.args[0])
        return run_in_executor(executor, function, *arguments)

    def note_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        in_tasks.append(work)
        return asyncio.Task(work, loop=loop, **options)

    monkeypatch.setattr(loop, "run_in_executor", note_thread)
    loop.set_task_factory(note_task)
    for path in ("/api/v3/simple/price?ids=bitcoin&vs_currencies=usd", "/account"):
        assert (await optional_client.get(path)).status_code == 200
    loop.set_task_factory(None)
    assert set(in_threads) <= {migrate.check}, "which the service itself asks now and then"
    assert in_tasks == []


@pytest.mark.parametrize("path", ["/", "/session", "/static/0/page.js", "/openapi.json", "/docs"])
async def test_what_is_not_in_the_document_has_no_parameters(optional_client: httpx.AsyncClient, path: str) -> None:
    """But for a key, which may stand everywhere."""
    response = await optional_client.get(f"{path}?x=1")
    assert (response.status_code, response.json()["code"], response.json()["field"]) == (400, "unknown_parameter", "x")
    assert (await optional_client.get(f"{path}?api_key=1")).status_code in (200, 404)


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
    assert response.json()["instance"] == f"urn:uuid:{response.headers['X-Request-Id']}"


@pytest.mark.parametrize(
    "path", ["/account", "/reports/summary", "/stream/prices", "/v2/updates/price/latest", "/none"]
)
async def test_a_page_of_another_origin_may_ask_with_a_key(optional_client: httpx.AsyncClient, path: str) -> None:
    """The preflight says so, and every answer is readable, errors as well; nothing is allowed with credentials."""
    wanted = "x-api-key, authorization, last-event-id, content-type, x-cg-demo-api-key, x-cg-pro-api-key"
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": wanted}
    preflight = await optional_client.options(path, headers={**ORIGIN, **asked})
    assert preflight.status_code == 204
    assert set(wanted.split(", ")) <= set(preflight.headers["Access-Control-Allow-Headers"].lower().split(", "))
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
    refused = await optional_client.get(path, headers={**ORIGIN, "X-API-Key": "not a key"})
    for answer in (preflight, refused):
        assert answer.headers.get_list("Access-Control-Allow-Origin") == ["*"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    exposed = refused.headers["Access-Control-Expose-Headers"].lower()
    assert "x-request-id" in exposed
    assert "retry-after" in exposed


async def test_a_page_may_send_any_header_and_the_preflight_costs_nothing(tmp_path: Path) -> None:
    """Those that it asks for come back by name, Authorization too; no key is needed, and nobody's rate is taken."""
    wanted = {"authorization", "x-stainless-lang", "x-stainless-retry-count", "x-made-up"}
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": ",".join(wanted)}
    settings = settings_of(tmp_path, auth="required", anonymous_rate=1)
    async with service(settings) as (_, app), client_to(app) as client:
        for path in ("/api/v3/simple/price", "/history", "/none") * 5:
            preflight = await client.options(path, headers={**ORIGIN, **asked})
            assert (preflight.status_code, preflight.headers["Access-Control-Max-Age"]) == (204, "86400")
            assert wanted <= set(preflight.headers["Access-Control-Allow-Headers"].lower().split(", "))


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("/history?asset=BTC&granularity=2m", "granularity", "one of 1m, 5m, 1h, 1d, not '2m'"),
        ("/history", "asset", "asset is missing"),
        ("/price_at?asset=BTC", "timestamp", "timestamp is missing: The moment: ISO 8601"),
        ("/stream/prices?interval_ms=x", "interval_ms", "a whole number from 0 to 60000, not 'x'"),
        ("/stream/prices?interval_ms=trk_secret", "interval_ms", "not ''"),
        ("/twap?asset=BTC&min_coverage=7", "min_coverage", "a number from 0 to 1"),
    ],
)
async def test_a_wrong_value_is_told_by_its_field_and_what_is_allowed(
    optional_client: httpx.AsyncClient, query: str, field: str, said: str
) -> None:
    """A list of values whole, and a number's bounds."""
    problem = (await optional_client.get(query)).json()
    assert (problem["status"], problem["code"], problem["field"]) == (400, "bad_parameter", field)
    assert said in problem["detail"]
    assert "secret" not in problem["detail"]


async def test_a_page_of_another_origin_may_change_nothing(optional_client: httpx.AsyncClient) -> None:
    """A login from there is not allowed by the preflight."""
    asked = {"Access-Control-Request-Method": "POST"}
    assert (await optional_client.options("/session", headers={**ORIGIN, **asked})).status_code == 400


async def test_a_blocked_address_is_refused_everywhere(tmp_path: Path) -> None:
    """Whom a trusted proxy names counts; another one is served, with the same key."""
    blocks = BlockTable.private()
    blocks.write([ipaddress.ip_network("192.0.2.0/24")])
    settings = settings_of(tmp_path, trusted_proxies=("127.0.0.1",))
    async with service(settings, tables_of(blocks=blocks)) as (parts, app), client_to(app) as client:
        client.headers["X-API-Key"] = ADMIN_KEY
        for path in ("/account", "/", "/nowhere", "/stream/prices"):
            response = await client.get(path, headers={"X-Forwarded-For": "203.0.113.1, 192.0.2.7"})
            assert (response.status_code, response.json()["code"]) == (403, "address_blocked")
            assert response.json()["request_id"] == response.headers["X-Request-Id"]
            assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert (await client.get("/account", headers={"X-Forwarded-For": "192.0.2.7, 203.0.113.1"})).status_code == 200
        assert [str(row.address) for row in parts.calls._rows] == ["192.0.2.7"] * 4 + ["203.0.113.1"]


async def test_the_cookie_is_secure_where_the_trusted_proxy_is(tmp_path: Path) -> None:
    """TLS ends at the proxy: its word about the scheme counts, a stranger's does not."""
    for proxies, secure in ((("127.0.0.1",), True), ((), False)):
        async with service(settings_of(tmp_path, trusted_proxies=proxies)) as (_, app), client_to(app) as client:
            headers = {"X-Forwarded-Proto": "https"}
            answer = await client.post("/session", json={"key": ADMIN_KEY}, headers=headers)
            cookie = next(text for text in answer.headers.get_list("set-cookie") if text.startswith(SESSION_COOKIE))
            assert ("; secure" in cookie.lower()) is secure


async def test_head_is_get_without_its_body(optional_client: httpx.AsyncClient) -> None:
    """With the same status and headers; a stream ends with them."""
    for path in ("/account", "/openapi.json", "/none"):
        get, head = await optional_client.get(path), await optional_client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
    stream = await optional_client.head("/stream/prices")
    assert (stream.status_code, stream.content) == (200, b"")
