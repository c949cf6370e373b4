"""Errors of the reporting service as problem+json (RFC 9457), with a stable code and the id of the request.

    {"type":"urn:trinity:problem:bad_parameter","title":"Bad Request","status":400,"code":"bad_parameter",
     "detail":"...","field":"from","request_id":"...","instance":"urn:uuid:..."}

Rules: a handler raises `ProblemError`; codes never change, sentences may. What nobody foresaw is a 500 without details,
and its cause goes to the log under the same request id. A database that does not answer is a 503 with its own code.
What is refused outside of the router, or instead of a WebSocket, is the same response (`refuse`).
"""

import re
from typing import Any

import msgspec
import psycopg
import psycopg_pool
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, NotFoundException, ValidationException
from litestar.openapi.spec import Parameter
from litestar.types import ExceptionHandlersMap, Scope, Send

from trinity.errors import TrinityError
from trinity.native.nearest import nearest_of
from trinity.vocabulary import KEY_START, problem_for, status_reason
from workers.api.base.allowed import explain_decoding, in_words

MEDIA_TYPE = "application/problem+json"

# Codes of what the framework itself refuses; other statuses are their class's.
_CODES = {
    400: "bad_request",
    401: "invalid_key",
    404: "unknown_path",
    405: "method_not_allowed",
    413: "body_not_accepted",
    415: "body_not_accepted",
    429: "rate_limited",
}
_MISSING = re.compile(r"Missing required \w+ parameter '([^']*)'")
# What the framework calls the body of a call, and how much of a wrong value is said again.
_BODY = "data"
_SHOWN_MAX = 32
# Where the application keeps its paths with their ports, and those that are told although nobody asked for them.
GUIDE = "guide"
_ELSEWHERE = ("/health", "/metrics")
_METHODS_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
_DATABASE_RETRY_SECONDS = 2
# The database does not answer, or its tables are still being made.
DATABASE_ERRORS: tuple[type[Exception], ...] = (
    psycopg.OperationalError,
    psycopg.errors.UndefinedTable,
    psycopg_pool.PoolTimeout,
)


class ProblemBody(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of every error; `nearest` is a path that may have been meant, on `port` of this node."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    instance: str = ""
    field: str | None = None
    nearest: str | None = None
    port: int | None = None


class ProblemError(TrinityError):
    """A request is refused; `field` names the parameter that is to blame."""

    def __init__(
        self, status: int, code: str, detail: str, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, code, detail, field)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.headers = headers or {}

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.detail}"


def refusal_of(
    code: str, cause: str = "", *, field: str | None = None, headers: dict[str, str] | None = None
) -> ProblemError:
    """A refusal of the node's own table (trinity/vocabulary.py), as the request workers make it too."""
    problem = problem_for(code, cause)
    return ProblemError(problem.status, code, problem.text, field or problem.field or None, headers)


def bad_parameter(field: str, detail: str) -> ProblemError:
    """The usual refusal: one parameter is wrong, and the sentence says what would be right."""
    return ProblemError(400, "bad_parameter", detail, field)


def database_unavailable() -> ProblemError:
    """PostgreSQL does not answer; prices go on without it."""
    retry = {"Retry-After": str(_DATABASE_RETRY_SECONDS)}
    return ProblemError(503, "database_unavailable", "the database does not answer: try again soon", headers=retry)


def query_timeout() -> ProblemError:
    """PostgreSQL answers, but not soon enough for this question."""
    detail = "the database needs too long for this: ask for a shorter span or a coarser granularity"
    return ProblemError(503, "query_timeout", detail)


def body_of(problem: ProblemError, request_id: str) -> ProblemBody:
    """The problem as its body."""
    return ProblemBody(
        type=f"urn:trinity:problem:{problem.code}",
        title=status_reason(problem.status),
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        request_id=request_id,
        instance=f"urn:uuid:{request_id}" if request_id else "",
        field=problem.field,
    )


async def refuse(scope: Scope, send: Send, problem: ProblemError) -> None:
    """Send the problem as the whole response, also to who asked for a WebSocket (ASGI: websocket.http.response)."""
    prefix = "websocket." if scope["type"] == ScopeType.WEBSOCKET else ""
    body = msgspec.json.encode(body_of(problem, scope["state"].get("request_id", "")))
    headers = {
        "Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Access-Control-Allow-Origin": "*",
    } | problem.headers  # fmt: skip
    packed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    start = {"type": f"{prefix}http.response.start", "status": problem.status, "headers": packed}
    await send(start)  # type: ignore[arg-type]
    await send({"type": f"{prefix}http.response.body", "body": body, "more_body": False})  # type: ignore[arg-type, misc]


def problem_of(error: Exception) -> ProblemError:
    """What an error says to the caller; a bug says nothing of itself."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, psycopg.errors.QueryCanceled):
        return query_timeout()
    if isinstance(error, DATABASE_ERRORS):
        return database_unavailable()
    return ProblemError(500, "internal_error", "this is a fault of the service; its log has the request id")


def _respond(request: Request[Any, Any, Any], problem: ProblemError, **more: Any) -> Response[bytes]:
    body = msgspec.structs.replace(body_of(problem, request.scope["state"].get("request_id", "")), **more)
    return Response(
        msgspec.json.encode(body), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers
    )


def _on_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return _respond(request, problem_of(error))


def _on_validation(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    return _respond(request, wrong_parameter(request, error))


def wrong_parameter(request: Request[Any, Any, Any], error: ValidationException) -> ProblemError:
    """Litestar names the Python argument: `from_` is the parameter `from`; what is allowed there says the document."""
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    missing = _MISSING.search(error.detail)
    field = missing[1] if missing else str(first.get("key", "")).removesuffix("_")
    if field == _BODY:
        return ProblemError(400, "bad_parameter", *explain_decoding(first["message"], {}))
    words = schemas_of(request).get(field)
    if words is None:
        detail = str(first.get("message") or error.detail)
    elif missing:
        detail = f"{field} is missing: {words.get('description') or in_words(words)}"
    else:
        detail = f"{field} is {in_words(words)}, not {_shown(request.query_params.get(field, ''))}"
    return ProblemError(400, "bad_parameter", detail, field or None)


def schemas_of(connection: ASGIConnection[Any, Any, Any, Any]) -> dict[str, dict[str, Any]]:
    """The query parameters of this call's path by the OpenAPI document, each with its schema."""
    app, path = connection.app, connection.scope["path_template"]
    cache: dict[str, dict[str, dict[str, Any]]] = app.state.setdefault("documented_parameters", {})
    if path not in cache:
        item = (app.openapi_schema.paths or {}).get(path)
        parameters = (item.get.parameters or []) if item is not None and item.get is not None else []
        cache[path] = {
            parameter.name: parameter.schema.to_schema() if parameter.schema is not None else {}
            for parameter in parameters
            if isinstance(parameter, Parameter) and parameter.param_in == "query"
        }
    return cache[path]


def _shown(text: str) -> str:
    """A client's own word, cut, and without what might be a key."""
    return repr(text[:_SHOWN_MAX].partition(KEY_START)[0])


def _on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    status = error.status_code
    if isinstance(error, NotFoundException):
        return _on_unknown_path(request)
    code = _CODES.get(status, "bad_request" if status < 500 else "internal_error")
    return _respond(request, ProblemError(status, code, error.detail, headers=error.headers))


def _on_unknown_path(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What there is on this port and the others, and which of it may have been meant."""
    guide: dict[str, int] = request.app.state[GUIDE]
    nearest = nearest_of(list(guide), request.scope["path"])
    places = " and ".join(f"{path} is on port {port}" for path, port in guide.items() if path in _ELSEWHERE)
    detail = f"there is no such path; /docs lists those of this port, {places}"
    problem = ProblemError(404, _CODES[404], detail)
    return _respond(request, problem, nearest=nearest, port=guide[nearest] if nearest else None)


def _on_nesting(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """What is read of a body nests no deeper than a list of texts; without one it is a fault of ours."""
    if request.method not in _METHODS_WITH_BODY:
        return _on_bug(request, error)
    return _respond(request, ProblemError(400, "bad_request", "the body is nested too deeply"))


def _on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    request.scope["state"]["failure"] = error
    return _respond(request, problem_of(error))


HANDLERS: ExceptionHandlersMap = {
    ProblemError: _on_problem,
    ValidationException: _on_validation,
    HTTPException: _on_http,
    **dict.fromkeys(DATABASE_ERRORS, _on_problem),
    RecursionError: _on_nesting,
    Exception: _on_bug,
}
