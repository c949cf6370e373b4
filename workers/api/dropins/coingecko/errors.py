"""Refusals in CoinGecko's own two forms, with this node's stable code beside them.

    {"error":"coin not found","code":"unknown_coin","field":"id"}
    {"status":{"timestamp":...,"error_code":429,"error_message":...},"code":...}         401, 403, 429

Rules: a wait that a client would sleep through without a word is not said in `Retry-After`: urllib3, and so pycoingecko
over https, sleeps as long as it says, up to six hours and five times. A spent month has none, nor has any wait longer
than RETRY_SECONDS_MAX; `X-Should-Retry: false` tells CoinGecko's own SDKs the same, which else ask two times more.
"""

import re
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import ValidationException
from litestar.types import ExceptionHandlersMap

from trinity.clock import NS_PER_MS
from workers.api.base.context import Parts
from workers.api.base.problems import DATABASE_ERRORS, ProblemError, problem_of
from workers.api.dropins.coingecko.numbers import iso_time

# The longest wait that CoinGecko's Python SDK follows; beyond it a person should hear of the refusal.
RETRY_SECONDS_MAX = 60
_ABOUT_THE_CALLER = (401, 403, 429)
# CoinGecko's numbers for keys; other refusals have their HTTP status there.
_ERROR_CODES = {"missing_key": 10002, "invalid_key": 10010, "key_revoked": 10010, "key_suspended": 10010}
_RETRY_AFTER = "Retry-After"
_MISSING = re.compile(r"Missing required \w+ parameter '(\w+)'")


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The error as CoinGecko would word it."""
    parts: Parts = request.app.state["parts"]
    problem = problem_of(error)
    body: dict[str, Any] = {"error": problem.detail}
    if problem.status in _ABOUT_THE_CALLER:
        body = {
            "status": {
                "timestamp": iso_time(parts.context.clock.wall_ns() // NS_PER_MS),
                "error_code": _ERROR_CODES.get(problem.code, problem.status),
                "error_message": problem.detail,
            }
        }
    body |= {"code": problem.code, "field": problem.field}
    return Response(
        msgspec.json.encode(body),
        status_code=problem.status,
        media_type="application/json",
        headers=_headers_of(problem),
    )


def _headers_of(problem: ProblemError) -> dict[str, str]:
    wait_seconds = int(problem.headers.get(_RETRY_AFTER, 0))
    if problem.code != "quota_exceeded" and wait_seconds <= RETRY_SECONDS_MAX:
        return problem.headers
    return {name: value for name, value in problem.headers.items() if name != _RETRY_AFTER} | {
        "X-Should-Retry": "false"
    }


def _on_validation(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    """Litestar names the Python argument: `from_` is the parameter `from`."""
    if missing := _MISSING.search(error.detail):
        return respond(request, ProblemError(422, "missing_parameter", f"Missing parameter {missing[1]}", missing[1]))
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    field = str(first.get("key", "")).removesuffix("_")
    return respond(request, ProblemError(422, "bad_parameter", f"{field}: {first.get('message')}", field))


HANDLERS: ExceptionHandlersMap = {
    ProblemError: respond,
    ValidationException: _on_validation,
    **dict.fromkeys(DATABASE_ERRORS, respond),
}
