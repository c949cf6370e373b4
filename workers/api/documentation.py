"""The OpenAPI document, and a page of it where each call can be tried: plain HTML made from the document.

Rules: everything on the page comes out of the document, escaped. Its script and style are files of this service, and
its policy forbids all others; what it tries it asks of this service alone, with the key that was typed, which is not
kept.
"""

import hashlib
import json
import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, Router, get
from litestar.datastructures import ResponseHeader
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.params import FromPath

from trinity.access.costs import MISTAKES
from workers.api.base.problems import ProblemError
from workers.api.openapi.document import complete

API_VERSION = "1"
DESCRIPTION = (
    "Prices, usage reports, history and explanations of a Trinity node, all its HTTP ports. A path with /v1 has a bare "
    "name, too, which is the same call. Errors are problem+json (RFC 9457) with a stable `code`, those of prices "
    '{"error":{"code":...}}; `field` names what is at fault. Every response has an X-Request-Id. Times are ISO 8601 or '
    f"seconds since 1970. A stream of prices is also a WebSocket: /v1/ws. {MISTAKES}"
)
# Where the application keeps what the document needs beside the router: (own paths, ports).
DOCUMENT = "document"
# And the document as it is sent, once it was asked for.
WRITTEN = "openapi_json"

_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_FILES = {"docs.js": "text/javascript", "docs.css": "text/css"}
_CODE = re.compile(r"`([^`]+)`")


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI document."""
    state = request.app.state
    if WRITTEN not in state:
        state[WRITTEN] = msgspec.json.encode(document_of(request.app))
    return Response(state[WRITTEN], media_type="application/json")


def document_of(app: Litestar) -> dict[str, Any]:
    """The whole document of an application."""
    own_paths, ports = app.state[DOCUMENT]
    return complete(app.openapi_schema.to_schema(), own_paths, ports)


@get("/openapi/{name:str}", include_in_schema=False, sync_to_thread=False)
def show_documentation_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """The page's script and style."""
    if name not in _FILES:
        raise ProblemError(404, "unknown_path", "there is no such file")
    content, etag = _read(name)
    headers = {**_PAGE_HEADERS, "ETag": etag, "Cache-Control": "no-cache"}
    is_known = request.headers.get("if-none-match") == etag
    status = 304 if is_known else 200
    return Response(b"" if is_known else content, status_code=status, headers=headers, media_type=_FILES[name])


@cache
def _read(name: str) -> tuple[bytes, str]:
    content = (files("workers.api.openapi") / name).read_bytes()
    return content, f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'


def page_router() -> Router:
    """Where the framework puts the page."""
    headers = [
        ResponseHeader(name=name, value=value, documentation_only=False) for name, value in _PAGE_HEADERS.items()
    ]
    return Router(path="/docs", route_handlers=[], include_in_schema=False, response_headers=headers)


class DocumentPage(OpenAPIRenderPlugin):
    """Renders `/docs`."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML, favicon="", style="")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002
        """The page."""
        return render_page(document_of(request.app)).encode()


def render_page(document: dict[str, Any]) -> str:
    """The document as HTML."""
    info = document["info"]
    operations = [
        (method.upper(), path, operation, item.get("servers", []))
        for path, item in sorted(document.get("paths", {}).items())
        for method, operation in item.items()
        if method != "servers"
    ]
    tags = sorted({tag for _, _, operation, _ in operations for tag in operation.get("tags", ["other"])})
    sections = "".join(
        f'<h1 id="{escape(tag)}">{escape(tag)}</h1>'
        + "".join(_section(*found) for found in operations if tag in found[2].get("tags", ["other"]))
        for tag in tags
    )
    links = "".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in tags)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="/static/docs/icon.svg">'
        '<link rel="stylesheet" href="/openapi/docs.css">'
        '<script type="module" src="/openapi/docs.js"></script></head><body>'
        f"<main><h1>{escape(info['title'])}</h1><p>{_prose(info.get('description', ''))}</p>"
        '<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>'
        '<p><label>API key, for trying <input id="key" type="password" autocomplete="off"></label></p>'
        f"<nav>{links}</nav>{sections}</main></body></html>"
    )


def _section(method: str, path: str, operation: dict[str, Any], servers: list[dict[str, Any]]) -> str:
    parameters = operation.get("parameters", [])
    rows = "".join(_parameter_row(parameter) for parameter in parameters)
    table = f"<table><tr><th>parameter<th>type<th>what</tr>{rows}</table>" if rows else ""
    text = _prose(operation.get("description") or operation.get("summary") or "")
    is_here = method == "GET" and (not servers or any(server["url"] == "/" for server in servers))
    form = _form(path, parameters) if is_here else ""
    return (
        f"<section><h2><code>{method} {escape(path)}</code></h2><p>{text}</p>{_elsewhere(path, servers)}{table}{form}"
        f"{_example(operation)}</section>"
    )


def _prose(text: str) -> str:
    """Sentences, with what stands in backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _elsewhere(path: str, servers: list[dict[str, Any]]) -> str:
    """The other ports that answer this; the script makes them links."""
    return "".join(
        f'<p>{escape(server["description"])}: <a data-port="{escape(server["url"].rpartition(":")[2])}" '
        f'data-path="{escape(path)}"><code>{escape(server["url"])}</code></a></p>'
        for server in servers
        if server["url"] != "/"
    )


def _form(path: str, parameters: list[dict[str, Any]]) -> str:
    fields = "".join(f"<label>{escape(found['name'])}{_field(found)}</label>" for found in parameters)
    return f'<form data-path="{escape(path)}">{fields}<button>Try it</button></form><pre hidden></pre>'


def _field(parameter: dict[str, Any]) -> str:
    name, value = escape(parameter["name"]), str(parameter.get("example", ""))
    values = [str(found) for found in parameter.get("schema", {}).get("enum") or () if found is not None]
    if values:
        options = "".join(
            f"<option{' selected' if found == value else ''}>{escape(found)}</option>" for found in ("", *values)
        )
        return f'<select name="{name}">{options}</select>'
    required = " required" if parameter.get("required") else ""
    return f'<input name="{name}" value="{escape(value)}"{required}>'


def _example(operation: dict[str, Any]) -> str:
    """What a node once answered."""
    found: dict[str, Any] = next(iter(operation.get("responses", {}).get("200", {}).get("content", {}).values()), {})
    if "example" not in found:
        return ""
    text = json.dumps(found["example"], indent=2, ensure_ascii=False)
    return f"<details><summary>an answer</summary><pre>{escape(text)}</pre></details>"


def _parameter_row(parameter: dict[str, Any]) -> str:
    name = escape(parameter["name"]) + ("" if not parameter.get("required") else " (required)")
    kind = escape(_type_of(parameter.get("schema", {})))
    return f"<tr><td><code>{name}</code><td>{kind}<td>{_prose(parameter.get('description', ''))}</tr>"


def _type_of(schema: dict[str, Any]) -> str:
    if "oneOf" in schema:
        return " or ".join(_type_of(part) for part in schema["oneOf"] if part.get("type") != "null")
    values = schema.get("enum")
    kind = " | ".join(map(str, values)) if values else str(schema.get("type", "any"))
    default = schema.get("default")
    return f"{kind}, default {default}" if default is not None else kind
