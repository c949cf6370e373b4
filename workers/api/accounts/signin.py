"""The way in from a browser: ADMIN_KEY, an API key, or a login's name and secret once, then cookies.

    POST /session      {"key": ...}, of a login with "name" -> cookies; 401 for a wrong key, 429 for too many of them
    POST /session/end  ends it
    GET  /session      {"kind": "admin" | "billing" | "key" | "anonymous", "may_read": whether it may ask for prices}

Rules: the cookies are HttpOnly and SameSite=Strict, so no script reads them and no other site sends them. session.py
has the rules of ADMIN_KEY's. A customer's or a login's holds the key itself and a nonce; the key is asked after at each
call, so that a revoked one ends at once, and what a login may do is what its role is then. A session
that was ended is ended here and for all processes (ended.py), whoever still has its cookie. Whatever changes something
with a cookie carries its token in X-CSRF-Token. Signing in is JSON from this origin (base/origin.py): a form of another
site signs nobody in. A caller that sends a key needs no cookie.
"""

import hmac
import os
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import JSONBody

from trinity.clock import NS_PER_SECOND
from workers.api.accounts.ended import EndedSessions
from workers.api.accounts.session import NONCE_BYTES, SESSION_SECONDS, Sessions, is_token, token_of
from workers.api.base.callers.auth import ADMIN, ANONYMOUS, ApiCaller, Kind, identify, key_of
from workers.api.base.callers.forwarded import Address
from workers.api.base.callers.origin import check_origin
from workers.api.base.calls import caller_address
from workers.api.base.context import Parts
from workers.api.base.problems import ProblemError, bad_parameter, refusal_of

SESSION_COOKIE = "trinity_session"
KEY_COOKIE = "trinity_key"
TOKEN_COOKIE = "trinity_csrf"  # noqa: S105 - a name
_TOKEN_HEADER = "x-csrf-token"  # noqa: S105 - a name
# Between a customer's key and the nonce in their cookie; no key has it.
_NONCE_SIGN = "."
_SESSION_PATHS = ("/session", "/session/end")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Accounts:
    """What this feature brings to its handlers (`accounts`)."""

    sessions: Sessions
    ended: EndedSessions


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a login; a person's has a name."""

    key: str
    name: str = ""


class SessionState(msgspec.Struct):
    """Who the browser is, and whether that is enough for prices; a key by its number, a login by its name."""

    kind: Kind
    may_read: bool
    key_id: int | None = None
    name: str | msgspec.UnsetType = msgspec.UNSET


async def read_session(request: Request[Any, Any, Any]) -> None:
    """Before every handler: good cookies say who calls."""
    parts: Parts = request.app.state["parts"]
    accounts: Accounts = request.app.state["accounts"]
    session, of_key = request.cookies.get(SESSION_COOKIE), request.cookies.get(KEY_COOKIE)
    if session is not None and _is_admins(parts, accounts, session):
        _check_token(request, session)
        request.scope["state"].update(signed_in=ADMIN, session=session)
    elif of_key is not None and not accounts.ended.is_ended(of_key) and key_of(request.scope) is None:
        _check_token(request, of_key)
        key, address = of_key.rpartition(_NONCE_SIGN)[0], caller_address(request.scope)
        try:
            caller = await identify(parts, key, address, parts.login_throttle)
            request.scope["state"].update(signed_in=caller, session=of_key)
        except ProblemError:
            if request.url.path not in _SESSION_PATHS:  # which tell and end what is over, rather than refuse it
                raise


@get("/session", include_in_schema=False, sync_to_thread=False)
def show_session(request: Request[Any, Any, Any], parts: NamedDependency[Parts]) -> Response[SessionState]:
    """Who the browser is; for the page, which asks for nothing that it would be refused."""
    signed_in = request.scope["state"].get("signed_in")
    response = Response(_state_of(parts, signed_in or ANONYMOUS))
    if signed_in is None and KEY_COOKIE in request.cookies:
        response.delete_cookie(KEY_COOKIE)  # a key that is over must not shut out from what is public
    return response


@post("/session", include_in_schema=False, status_code=200)
async def open_session(
    request: Request[Any, Any, Any],
    data: JSONBody[Login],
    parts: NamedDependency[Parts],
    accounts: NamedDependency[Accounts],
) -> Response[SessionState]:
    """Take a key and give cookies for it."""
    check_origin(request)
    caller = await _identify(parts, data, caller_address(request.scope))
    if caller == ADMIN:
        name = SESSION_COOKIE
        cookie = accounts.sessions.open(parts.context.clock.wall_ns() // NS_PER_SECOND, os.urandom(NONCE_BYTES))
    else:
        name, cookie = KEY_COOKIE, f"{data.key}{_NONCE_SIGN}{os.urandom(NONCE_BYTES).hex()}"
    secure = request.url.scheme == "https"
    token = _cookie(TOKEN_COOKIE, token_of(cookie), secure, hidden=False)
    response = Response(_state_of(parts, caller), cookies=[_cookie(name, cookie, secure, hidden=True), token])
    response.delete_cookie(KEY_COOKIE if name == SESSION_COOKIE else SESSION_COOKIE)  # of whoever was here before
    return response


@post("/session/end", include_in_schema=False, status_code=200, sync_to_thread=False)
def end_session(
    request: Request[Any, Any, Any], parts: NamedDependency[Parts], accounts: NamedDependency[Accounts]
) -> Response[SessionState]:
    """Forget who the browser was, and believe its cookie no more."""
    session = request.scope["state"].get("session")
    if session is not None:
        now_seconds = parts.context.clock.wall_ns() // NS_PER_SECOND
        try:
            accounts.ended.end(session, now_seconds + SESSION_SECONDS, now_seconds)
        except OSError:
            raise ProblemError(503, "session_not_ended", "the disk does not take it: try again") from None
    response = Response(_state_of(parts, ANONYMOUS))
    for name in (SESSION_COOKIE, KEY_COOKIE, TOKEN_COOKIE):
        response.delete_cookie(name)
    return response


def _is_admins(parts: Parts, accounts: Accounts, session: str) -> bool:
    now_seconds = parts.context.clock.wall_ns() // NS_PER_SECOND
    return accounts.sessions.is_open(session, now_seconds) and not accounts.ended.is_ended(session)


def _state_of(parts: Parts, caller: ApiCaller) -> SessionState:
    may_read = caller.kind in ("admin", "key") or (caller.kind == "anonymous" and parts.settings.auth == "optional")
    return SessionState(caller.kind, may_read, caller.key_id or None, caller.name or msgspec.UNSET)


async def _identify(parts: Parts, login: Login, address: Address) -> ApiCaller:
    """Whose key this is; a key that nobody has, or a secret without its name, is a guess, an empty one is none."""
    if not login.key:
        raise bad_parameter("key", "give the admin key or an API key")
    try:
        caller = await identify(parts, login.key, address, parts.login_throttle)
        if caller.name and not hmac.compare_digest(caller.name.encode(), login.name.strip().encode()):
            parts.login_throttle.fail(address, parts.context.clock.monotonic_ns() / NS_PER_SECOND)
            raise refusal_of("invalid_key", "sign_in", field="name")
        return caller
    except ProblemError as refusal:
        if refusal.code != "invalid_key":
            raise
        if parts.settings.admin_key is None and not login.name:
            detail = "this is no API key, and this node has no ADMIN_KEY: set one and start it again"
            raise ProblemError(403, "admin_disabled", detail, "key") from None
        raise refusal_of("invalid_key", "sign_in", field=refusal.field or "key") from None


def _check_token(request: Request[Any, Any, Any], cookie: str) -> None:
    """What changes something must come from a page of this origin, which alone can read the token."""
    if request.method not in _SAFE_METHODS and not is_token(cookie, request.headers.get(_TOKEN_HEADER, "")):
        raise ProblemError(403, "csrf", "send the token of the cookie trinity_csrf in X-CSRF-Token", _TOKEN_HEADER)


def _cookie(name: str, value: str, secure: bool, hidden: bool) -> Cookie:
    return Cookie(name, value=value, max_age=SESSION_SECONDS, httponly=hidden, secure=secure, samesite="strict")
