"""Who calls: a key (header X-API-Key, Authorization: Bearer, or ?api_key=), the operator, who bills, or nobody.

Rules
- A key is known by its SHA-256 alone; all comparisons are of bytes and constant in time; a key with a byte outside
  printable ASCII is invalid, never an error.
- A key sees its own account. The operator, by ADMIN_KEY or by the secret of a login, sees all. Who bills reads what
  stands in BILLING_PATHS, of all accounts. `provide_caller` and `require_operator` are the only places that look. Where
  AUTH=optional a caller without a key may see what is public: prices, streams, history, explanations. Usage is never
  public.
- What the database said about a key is believed for a second, so that a burst costs one query, and a revoked key is
  refused within that time. A stream is asked about its key again while it runs (`check_again`).
- A wrong key is a failed try of its address (throttle.py), wherever it was sent. While one has to wait, ADMIN_KEY
  is not accepted from it and wrong keys are a 429; a customer's good key goes on, whoever else guesses from there.
- What a call costs stands in one table (trinity/access/costs.py); whatever somebody who is signed in to the dashboard
  asks for costs no month. A handler that knows how many prices it gives says so (`charge`); admission.py does the rest.
  ADMIN_KEY has no limit.
- A handler with `opt={"needs_no_key": True}` answers who sends none, by the rate of the address; a key that is sent is
  looked at all the same.

`ApiCaller` is injected as `caller` into every handler that asks for it. Another way to sign in (the dashboard's cookie)
puts its ApiCaller into `scope["state"]["signed_in"]` before the handlers run.
"""

import functools
import hashlib
import hmac
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import psycopg
import psycopg_pool
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.types import Scope

from trinity.access.costs import Cost, cost_of
from trinity.clock import NS_PER_SECOND
from trinity.limits import API_KEY_BYTES_MAX
from trinity.vocabulary import CODE_OK, LOGIN_START, KeyState
from workers.api.base.callers.admission import STATUS_OK, Admitted
from workers.api.base.callers.forwarded import Address, network_of
from workers.api.base.callers.keys import KeyRow
from workers.api.base.callers.logins import LoginRow
from workers.api.base.callers.throttle import LoginThrottle
from workers.api.base.calls import caller_address, path_of
from workers.api.base.context import Parts
from workers.api.base.problems import DATABASE_ERRORS, ProblemError, database_unavailable, refusal_of

# Ours first, then those that clients of CoinGecko send.
_KEY_HEADERS = ("x-api-key", "x-cg-demo-api-key", "x-cg-pro-api-key")
KEY_PARAMETERS = ("api_key", "x_cg_demo_api_key", "x_cg_pro_api_key")

Kind = Literal["admin", "billing", "key", "anonymous"]

# All that the role "billing" may read; with a version before it as well.
BILLING_PATHS = ("/reports", "/account", "/session")
_KIND_OF_ROLE: dict[str, Kind] = {"operator": "admin", "billing": "billing"}


class ApiCaller(NamedTuple):
    """Whoever asks. `account_id` and `key_id` are 0 for anyone but a key; `key_ids` are all keys of its account.

    A key's account is 0 while nobody can say which it is. `name` is that of a login, empty for ADMIN_KEY.
    """

    kind: Kind
    account_id: int = 0
    key_id: int = 0
    key_ids: tuple[int, ...] = ()
    digest: bytes = b""
    name: str = ""

    @property
    def is_admin(self) -> bool:
        return self.kind == "admin"

    @property
    def sees_all_usage(self) -> bool:
        """Whether reports of every account are theirs to read; who may has no limits either."""
        return self.kind in ("admin", "billing")


ADMIN = ApiCaller("admin")
ANONYMOUS = ApiCaller("anonymous")


async def provide_caller(scope: Scope, parts: NamedDependency[Parts]) -> ApiCaller:
    """The dependency `caller`; raises 401, 403, 429 over a limit, and 503 where a key cannot be looked up."""
    state: dict[str, Any] = scope["state"]
    signed_in: ApiCaller | None = state.get("signed_in")
    key = key_of(scope)
    needs_none = key is None and scope["route_handler"].opt.get("needs_no_key", False)
    caller = signed_in or (
        ANONYMOUS if needs_none else await identify(parts, key, caller_address(scope), parts.login_throttle)
    )
    state["caller"] = caller
    if caller.kind == "billing" and not _is_within(path_of(scope), BILLING_PATHS):
        raise ProblemError(403, "not_your_role", "the role billing reads reports, bills, accounts and plans alone")
    if not caller.sees_all_usage:
        admitted = admit(parts, scope, caller)
        admitted.asset = _asset_of(parts, scope)
        state.update(admitted=admitted, settle=functools.partial(parts.admission.settle, admitted))
    return caller


def require_operator(caller: ApiCaller) -> None:
    """Refuse everybody but the operator."""
    if not caller.is_admin:
        raise ProblemError(403, "admin_only", "this needs the admin key, or a login of the role operator")


def _is_within(path: str, roots: Sequence[str]) -> bool:
    bare = path.removeprefix("/v1")
    return any(bare == root or bare.startswith(f"{root}/") for root in roots)


def admit(parts: Parts, scope: Scope, caller: ApiCaller) -> Admitted:
    """Take one request of whoever calls; raises 429."""
    is_free = "signed_in" in scope["state"] or cost_of(path_of(scope)) is Cost.FREE
    return parts.admission.admit(caller.key_id, caller_address(scope), is_free)


def _asset_of(parts: Parts, scope: Scope) -> str:
    """The asset that the call is about; empty where it names none or several, or it is said by another name."""
    sent = ASGIConnection[Any, Any, Any, Any](scope).query_params
    named = [*sent.getall("asset", []), *sent.getall("assets", [])]
    index = parts.prices.find(named[0]) if len(named) == 1 else None
    return "" if index is None else parts.prices.assets[index]


def charge_prices(parts: Parts, scope: Scope, assets: Collection[str]) -> None:
    """As `charge`, for an answer with the prices of these: one alone stands in the usage record."""
    admitted: Admitted | None = scope["state"].get("admitted")
    if admitted is not None and len(assets) == 1:
        (admitted.asset,) = assets
    charge(parts, scope, len(assets))


def charge(parts: Parts, scope: Scope, lookups: int, status: int = STATUS_OK, code: int = CODE_OK) -> None:
    """Take what an answer with so many prices costs the caller's month; raises 429. `code`: index of CODES."""
    admitted: Admitted | None = scope["state"].get("admitted")
    if admitted is not None:
        parts.admission.charge(admitted, lookups, status, code)


def key_of(scope: Scope) -> str | None:
    """The key as it was sent, None for an empty one; refused when there are several, as the request workers do."""
    connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
    sent = [key for name in _KEY_HEADERS for key in connection.headers.getall(name, [])]
    for authorization in connection.headers.getall("authorization", []):
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() == "bearer":
            sent.append(credentials.strip())
    sent += [value for name, value in connection.query_params.multi_items() if name in KEY_PARAMETERS]
    if len(sent) > 1:
        raise refusal_of("bad_parameter", "key_repeated", field="api_key")
    return (sent[0] or None) if sent else None


async def identify(parts: Parts, key: str | None, address: Address, throttle: LoginThrottle) -> ApiCaller:
    """The caller that a key belongs to; a failure is written down in `throttle`."""
    if key is None:
        if parts.settings.auth == "required":
            raise _unauthorized("missing_key")
        return ANONYMOUS
    now_seconds = parts.context.clock.monotonic_ns() / NS_PER_SECOND
    wait_seconds = throttle.wait_seconds(address, now_seconds)
    digest = digest_of(key)
    admin_key = parts.settings.admin_key
    if (
        wait_seconds == 0
        and digest is not None
        and admin_key is not None
        and hmac.compare_digest(hashlib.sha256(admin_key.encode()).digest(), digest)
    ):
        return ADMIN
    if wait_seconds == 0 and digest is not None and key.startswith(LOGIN_START):
        login = await parts.logins.find(digest)
        if login is not None and hmac.compare_digest(login.digest, digest):
            _refuse_revoked(login)
            return ApiCaller(_KIND_OF_ROLE[login.role], digest=digest, name=login.name)
    try:
        row = await parts.keys.find(digest) if digest is not None else None
    except DATABASE_ERRORS:
        if wait_seconds > 0:  # whoever guesses learns nothing from a database that is away
            raise too_many_tries(wait_seconds) from None
        raise
    if row is not None and hmac.compare_digest(row.digest, digest or b""):
        _refuse_bad(parts, row)
        return ApiCaller("key", row.account_id, row.key_id, tuple(row.account_key_ids), row.digest)
    if wait_seconds > 0:
        raise too_many_tries(wait_seconds)
    throttle.fail(address, now_seconds)
    raise _unauthorized("invalid_key")


def _refuse_bad(parts: Parts, row: KeyRow) -> None:
    if row.state == KeyState.SUSPENDED.word:
        raise refusal_of("key_suspended")
    expired = row.expires_at is not None and row.expires_at.timestamp() * NS_PER_SECOND < parts.context.clock.wall_ns()
    if row.state == KeyState.REVOKED.word or expired:
        raise refusal_of("key_revoked")


def _refuse_revoked(login: LoginRow) -> None:
    if login.is_revoked:
        raise ProblemError(403, "login_revoked", "this login was revoked")


async def check_again(parts: Parts, caller: ApiCaller, address: Address) -> None:
    """Raise when a caller that was let in before would not be let in now; a database that is away says nothing."""
    if parts.callers.is_blocked(address):
        raise refusal_of("address_blocked")
    if not caller.digest:
        return
    known = parts.logins.find if caller.name else parts.keys.find_again
    try:
        row = await known(caller.digest)
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout):
        return
    match row:
        case None:
            raise _unauthorized("invalid_key")
        case LoginRow():
            _refuse_revoked(row)
        case KeyRow():
            _refuse_bad(parts, row)


def caller_name(caller: ApiCaller, address: Address) -> str:
    """By whom places are counted: the key, or the network of whoever has none."""
    return f"key {caller.key_id}" if caller.kind == "key" else f"{caller.kind} {network_of(address)}"


def too_many_tries(wait_seconds: int) -> ProblemError:
    """A guesser has to wait."""
    headers = {"Retry-After": str(wait_seconds)}
    return ProblemError(429, "rate_limited", f"too many wrong keys: wait {wait_seconds} s", headers=headers)


def digest_of(key: str) -> bytes | None:
    """SHA-256 of a key; None for what no key looks like."""
    if not 0 < len(key) <= API_KEY_BYTES_MAX or not all("!" <= letter <= "~" for letter in key):
        return None
    return hashlib.sha256(key.encode("ascii")).digest()


def require_usage_reader(caller: ApiCaller) -> None:
    """Usage belongs to accounts: refuse who has none."""
    if caller.kind == "anonymous":
        raise _unauthorized("missing_key", "usage")
    if caller.kind == "key" and caller.account_id == 0:
        raise database_unavailable()  # the other keys of its account are not known: half of its usage is no answer


def _unauthorized(code: str, cause: str = "") -> ProblemError:
    return refusal_of(code, cause, headers={"WWW-Authenticate": 'Bearer realm="trinity"'})
