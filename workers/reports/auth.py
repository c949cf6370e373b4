"""Who calls: a key (header X-API-Key, Authorization: Bearer, or ?api_key=), the operator's ADMIN_KEY, or nobody.

Rules
- A key is known by its SHA-256 alone; all comparisons are of bytes and constant in time; a key with a byte outside
  printable ASCII is invalid, never an error.
- A key sees its own account. ADMIN_KEY sees all. Where AUTH=optional a caller without a key may see what is public:
  prices, streams, history, explanations. Usage is never public.
- What the database said about a key is believed for a few seconds, so that a burst costs one query, and a revoked key
  is refused within that time.
- One call is one request of the caller's plan (admission.py), a stream one when it is opened; ADMIN_KEY has no limit.

`Caller` is injected as `caller` into every handler that asks for it. Another way to sign in (the dashboard's cookie)
puts its Caller into `scope["state"]["signed_in"]` before the handlers run.
"""

import hashlib
import hmac
from typing import Any, Literal, NamedTuple

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.types import Scope

from trinity.clock import NS_PER_SECOND
from trinity.limits import API_KEY_BYTES_MAX
from workers.reports.calls import address_of
from workers.reports.parts import Parts
from workers.reports.problems import RefusedError

# Ours first, then those that clients of CoinGecko send.
_KEY_HEADERS = ("x-api-key", "x-cg-demo-api-key", "x-cg-pro-api-key")
_KEY_PARAMETERS = ("api_key", "x_cg_demo_api_key", "x_cg_pro_api_key")

Kind = Literal["admin", "key", "anonymous"]


class Caller(NamedTuple):
    """Whoever asks. `account_id` and `key_id` are 0 for anyone but a key; `key_ids` are all keys of its account."""

    kind: Kind
    account_id: int = 0
    key_id: int = 0
    key_ids: tuple[int, ...] = ()

    @property
    def is_admin(self) -> bool:
        return self.kind == "admin"


ADMIN = Caller("admin")
ANONYMOUS = Caller("anonymous")


async def provide_caller(scope: Scope, parts: NamedDependency[Parts]) -> Caller:
    """The dependency `caller`; raises 401, 403, 429 over a limit, and 503 where a key cannot be looked up."""
    state: dict[str, Any] = scope["state"]
    signed_in: Caller | None = state.get("signed_in")
    caller = signed_in or await identify(parts, key_of(scope))
    state["caller"] = caller
    if not caller.is_admin:
        parts.admission.admit(caller.key_id, address_of(scope))
    return caller


def key_of(scope: Scope) -> str | None:
    """The key as it was sent; a header wins over Bearer, Bearer over the query."""
    connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
    for name in _KEY_HEADERS:
        if (header := connection.headers.get(name)) is not None:
            return header
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    sent = (connection.query_params.get(name) for name in _KEY_PARAMETERS)
    return next((key for key in sent if key is not None), None)


async def identify(parts: Parts, key: str | None) -> Caller:
    """The caller that a key belongs to."""
    if key is None:
        if parts.settings.auth == "required":
            raise _unauthorized("missing_key", "send a key: X-API-Key, Authorization: Bearer or ?api_key=")
        return ANONYMOUS
    digest = digest_of(key)
    if digest is None:
        raise _unauthorized("invalid_key", "this is not a key")
    admin_key = parts.settings.admin_key
    if admin_key is not None and hmac.compare_digest(hashlib.sha256(admin_key.encode()).digest(), digest):
        return ADMIN
    row = await parts.keys.find(digest)
    if row is None or not hmac.compare_digest(row.digest, digest):
        raise _unauthorized("invalid_key", "no such key")
    if row.state == "suspended":
        raise RefusedError(403, "key_suspended", "this key is suspended")
    expired = row.expires_at is not None and row.expires_at.timestamp() * NS_PER_SECOND < parts.seat.clock.wall_ns()
    if row.state == "revoked" or expired:
        raise RefusedError(403, "key_revoked", "this key was revoked")
    return Caller("key", row.account_id, row.key_id, tuple(row.account_key_ids))


def digest_of(key: str) -> bytes | None:
    """SHA-256 of a key; None for what no key looks like."""
    if not 0 < len(key) <= API_KEY_BYTES_MAX or not all("!" <= letter <= "~" for letter in key):
        return None
    return hashlib.sha256(key.encode("ascii")).digest()


def require_usage_reader(caller: Caller) -> None:
    """Usage belongs to accounts: refuse who has none."""
    if caller.kind == "anonymous":
        raise _unauthorized("missing_key", "usage belongs to a key: send one")


def _unauthorized(code: str, detail: str) -> RefusedError:
    return RefusedError(401, code, detail, headers={"WWW-Authenticate": 'Bearer realm="trinity"'})
