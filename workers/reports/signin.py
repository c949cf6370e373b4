"""The operator's way in from a browser: ADMIN_KEY once, then a cookie. session.py has the rules of both.

    POST /session      {"key": ...} -> cookies; 401 for a wrong key, 429 for too many of them
    POST /session/end  ends it
    GET  /session      {"admin": true | false}

Rules: the session cookie is HttpOnly and SameSite=Strict, so no script reads it and no other site sends it. Whatever
changes something with it carries its token in X-CSRF-Token. A caller with a key of its own needs neither.
"""

import os
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import JSONBody

from trinity.clock import NS_PER_SECOND
from workers.reports.auth import ADMIN, too_many_tries
from workers.reports.calls import caller_address
from workers.reports.parts import Parts
from workers.reports.problems import RefusedError
from workers.reports.session import NONCE_BYTES, SESSION_SECONDS

SESSION_COOKIE = "trinity_session"
TOKEN_COOKIE = "trinity_csrf"  # noqa: S105 - a name
_TOKEN_HEADER = "x-csrf-token"  # noqa: S105 - a name
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a login."""

    key: str


class SessionState(msgspec.Struct):
    """Whether the browser is the operator's."""

    admin: bool


async def read_session(request: Request[Any, Any, Any]) -> None:
    """Before every handler: a good cookie makes the caller the operator."""
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie is None:
        return
    parts: Parts = request.app.state["parts"]
    if not parts.sessions.is_open(cookie, parts.seat.clock.wall_ns() // NS_PER_SECOND):
        return
    token = request.headers.get(_TOKEN_HEADER, "")
    if request.method not in _SAFE_METHODS and not parts.sessions.is_token(cookie, token):
        raise RefusedError(403, "csrf", "send the token of the cookie trinity_csrf in X-CSRF-Token", _TOKEN_HEADER)
    request.scope["state"]["signed_in"] = ADMIN


@get("/session", include_in_schema=False, sync_to_thread=False)
def show_session(request: Request[Any, Any, Any]) -> SessionState:
    """Who the browser is; for the page's buttons."""
    return SessionState(request.scope["state"].get("signed_in") == ADMIN)


@post("/session", include_in_schema=False, status_code=200, sync_to_thread=False)
def open_session(
    request: Request[Any, Any, Any], data: JSONBody[Login], parts: NamedDependency[Parts]
) -> Response[SessionState]:
    """Take the admin key and give a session for it."""
    address = caller_address(request.scope)
    now_seconds = parts.seat.clock.monotonic_ns() / NS_PER_SECOND
    wait_seconds = parts.tries.wait_seconds(address, now_seconds)
    if wait_seconds > 0:
        raise too_many_tries(wait_seconds)
    if parts.settings.admin_key is None:
        raise RefusedError(403, "admin_disabled", "this node has no ADMIN_KEY: set one and start it again")
    if not parts.sessions.is_key(data.key):
        parts.tries.fail(address, now_seconds)
        raise RefusedError(401, "invalid_key", "this is not the admin key", "key")
    cookie = parts.sessions.open(parts.seat.clock.wall_ns() // NS_PER_SECOND, os.urandom(NONCE_BYTES))
    secure = request.url.scheme == "https"
    cookies = [
        _cookie(SESSION_COOKIE, cookie, secure, hidden=True),
        _cookie(TOKEN_COOKIE, parts.sessions.token_of(cookie), secure, hidden=False),
    ]
    return Response(SessionState(True), cookies=cookies)


@post("/session/end", include_in_schema=False, status_code=200, sync_to_thread=False)
def end_session() -> Response[SessionState]:
    """Forget the session in this browser."""
    response = Response(SessionState(False))
    for name in (SESSION_COOKIE, TOKEN_COOKIE):
        response.delete_cookie(name)
    return response


def _cookie(name: str, value: str, secure: bool, hidden: bool) -> Cookie:
    return Cookie(name, value=value, max_age=SESSION_SECONDS, httponly=hidden, secure=secure, samesite="strict")
