"""The OpenAPI document, and a page of it that needs no other host: plain HTML made from the document.

Rules: everything on the page comes out of the document, escaped; no script, no font, no image from anywhere. What the
framework says of errors is replaced by what they are (problems.py).
"""

from html import escape
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.openapi.plugins import OpenAPIRenderPlugin

from trinity.access.costs import MISTAKES, cost_of
from workers.api.base.problems import MEDIA_TYPE, ProblemBody

API_VERSION = "1"
DESCRIPTION = (
    "Usage reports, prices and explanations of a Trinity node. Errors are problem+json (RFC 9457) with a stable "
    "`code`; every response has an X-Request-Id. Times are ISO 8601 or seconds since 1970. What a call costs "
    f"of a key's month stands beside it. {MISTAKES}"
)

_STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}section{border-top:1px solid #8886;padding:.5rem 0}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0}
h2 code{font-size:1.1rem}nav a{margin-right:1rem}
"""


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI document."""
    state = request.app.state
    if "openapi_json" not in state:
        state["openapi_json"] = msgspec.json.encode(with_problems(request.app.openapi_schema.to_schema()))
    return Response(state["openapi_json"], media_type="application/json")


def with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every error as the problem that it is."""
    (_, schemas) = msgspec.json.schema_components([ProblemBody], ref_template="#/components/schemas/{name}")
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    components = document["components"]
    components["schemas"] = components.get("schemas", {}) | schemas
    components["responses"] = {"Problem": {"description": "Refused or failed; `code` says why.", "content": content}}
    for path, item in document["paths"].items():
        for operation in item.values():
            operation["description"] = f"{operation.get('description', '')}\n\nOf the month: {cost_of(path).value}."
            good = {status: found for status, found in operation["responses"].items() if status < "4"}
            problem = {"$ref": "#/components/responses/Problem"}
            operation["responses"] = good | {"4XX": problem, "5XX": problem}
    return document


class DocumentPage(OpenAPIRenderPlugin):
    """Renders `/docs`."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML, favicon="", style="")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002
        """The page."""
        return render_page(openapi_schema).encode()


def render_page(document: dict[str, Any]) -> str:
    """The document as HTML."""
    info = document["info"]
    operations = [
        (method.upper(), path, operation)
        for path, item in sorted(document.get("paths", {}).items())
        for method, operation in item.items()
    ]
    sections = "".join(_section(*operation) for operation in operations)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<main><h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>"
        f'<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>{sections}</main></body></html>'
    )


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(_parameter_row(parameter) for parameter in operation.get("parameters", []))
    table = f"<table><tr><th>parameter<th>type<th>what</tr>{rows}</table>" if rows else ""
    text = escape(operation.get("description") or operation.get("summary") or "")
    return f"<section><h2><code>{method} {escape(path)}</code></h2><p>{text}</p>{table}</section>"


def _parameter_row(parameter: dict[str, Any]) -> str:
    name = escape(parameter["name"]) + ("" if not parameter.get("required") else " (required)")
    kind = escape(_type_of(parameter.get("schema", {})))
    return f"<tr><td><code>{name}</code><td>{kind}<td>{escape(parameter.get('description', ''))}</tr>"


def _type_of(schema: dict[str, Any]) -> str:
    if "oneOf" in schema:
        return " or ".join(_type_of(part) for part in schema["oneOf"] if part.get("type") != "null")
    values = schema.get("enum")
    kind = " | ".join(map(str, values)) if values else str(schema.get("type", "any"))
    default = schema.get("default")
    return f"{kind}, default {default}" if default is not None else kind
