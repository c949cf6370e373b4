"""`/price`, `/prices` and `/assets` on this port, too: one port does for a small user.

Rules: what an answer is, its refusals and their words are the request workers' own (`Lookup`, composed at the root):
the same question has the same bytes on both ports. Who asks is found and charged as for every other call of this
service, and what is refused then has the workers' form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.types import ExceptionHandlersMap

from trinity.memory.atomics import Words
from trinity.vocabulary import CODES
from workers.api.base.callers.admission import Admitted
from workers.api.base.callers.auth import KEY_PARAMETERS, ApiCaller, charge
from workers.api.base.context import Parts
from workers.api.base.problems import DATABASE_ERRORS, ProblemError, problem_of

# The target of a request, the time (monotonic), and who asks: the key's id, or 0 and the address -> status, index of
# the code, what it costs (prices, or charge.MISTAKE), body.
Lookup = Callable[[bytes, int, int, Words | None], tuple[int, int, int, bytes]]
# An asset that is being looked for, and one too many of them, are there soon.
_SOON = {CODES.index(code): {"Retry-After": "1"} for code in ("asset_resolving", "miss_budget_exceeded")}

AnyRequest = Request[Any, Any, Any]
_JSON = "application/json"


@dataclass(frozen=True)
class Lookups:
    """What this feature brings to its handlers (`lookups`)."""

    lookup: Lookup | None


def _as_a_worker(_request: AnyRequest, error: Exception) -> Response[bytes]:
    problem = problem_of(error)
    said = {"code": problem.code, "message": problem.detail} | ({"field": problem.field} if problem.field else {})
    body = msgspec.json.encode({"error": said})
    return Response(body, status_code=problem.status, media_type=_JSON, headers=problem.headers)


_IN_THEIR_FORM: ExceptionHandlersMap = {
    ProblemError: _as_a_worker,
    **dict.fromkeys(DATABASE_ERRORS, _as_a_worker),
}


def _answer(path: bytes, request: AnyRequest, parts: Parts, lookups: Lookups) -> Response[bytes]:
    if lookups.lookup is None:
        raise ProblemError(503, "not_available", "this service was started without the node's prices")
    pairs = request.scope["query_string"].split(b"&")
    target = path + b"?" + b"&".join(pair for pair in pairs if not _is_key(pair))
    admitted: Admitted | None = request.scope["state"].get("admitted")
    who = (0, None) if admitted is None else (admitted.key_id, admitted.address)
    status, code, cost, body = lookups.lookup(target, parts.context.clock.monotonic_ns(), *who)
    charge(parts, request.scope, cost, status, code)
    return Response(body, status_code=status, media_type=_JSON, headers=_SOON.get(code))


def _is_key(pair: bytes) -> bool:
    """Whether this is the caller's key, which was read already."""
    return unquote_plus(pair.partition(b"=")[0].decode("latin-1")) in KEY_PARAMETERS


@get("/price", include_in_schema=False, opt={"any_parameters": True}, exception_handlers=_IN_THEIR_FORM)
async def show_price(
    request: AnyRequest,
    caller: NamedDependency[ApiCaller],  # noqa: ARG001 - whoever may ask for prices
    parts: NamedDependency[Parts],
    lookups: NamedDependency[Lookups],
) -> Response[bytes]:
    """One price."""
    return _answer(b"/price", request, parts, lookups)


@get("/prices", include_in_schema=False, opt={"any_parameters": True}, exception_handlers=_IN_THEIR_FORM)
async def show_prices(
    request: AnyRequest,
    caller: NamedDependency[ApiCaller],  # noqa: ARG001 - as above
    parts: NamedDependency[Parts],
    lookups: NamedDependency[Lookups],
) -> Response[bytes]:
    """Several prices, each with its own status."""
    return _answer(b"/prices", request, parts, lookups)


@get("/assets", include_in_schema=False, opt={"any_parameters": True}, exception_handlers=_IN_THEIR_FORM)
async def show_assets(
    request: AnyRequest,
    caller: NamedDependency[ApiCaller],  # noqa: ARG001 - as above
    parts: NamedDependency[Parts],
    lookups: NamedDependency[Lookups],
) -> Response[bytes]:
    """What can be asked for."""
    return _answer(b"/assets", request, parts, lookups)
