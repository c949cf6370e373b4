"""`/administration/keys`: made, replaced, limited, suspended, revoked.

Rules: a key itself is in the answer that made it, and nowhere else. Values are checked first, as on the command line.
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from trinity.access import keys, values
from trinity.access.keys import Connection, Key, NewKey, OwnLimits
from trinity.errors import InputError
from trinity.vocabulary import KeyState
from workers.api.administration.administrator import Administration, Administrator, confirm
from workers.api.administration.bodies import LimitsBody, read_body, takes

AnyRequest = Request[Any, Any, Any]
LISTED_MAX = 1_000


class NewKeyBody(LimitsBody, kw_only=True):
    """A key to be made, and its account where there is none of that name."""

    account: str
    plan: str = "free"
    name: str = ""
    expires: str | None = None
    language: str | None = None
    email: str | None = None


class KeyLimitsBody(LimitsBody, kw_only=True):
    """Another plan, or limits of its own; null is the plan's."""

    plan: str | None = None


class RotationBody(msgspec.Struct, forbid_unknown_fields=True):
    """How much longer the old key works; with 0 it is revoked at once, which its first characters confirm."""

    grace: str = "24h"
    confirm: str = ""


class ConfirmationBody(msgspec.Struct, forbid_unknown_fields=True):
    """The name of what is to end for good: of a key its first characters."""

    confirm: str


class NothingBody(msgspec.Struct, forbid_unknown_fields=True):
    """No field."""


class KeyList(msgspec.Struct):
    """The newest first."""

    keys: list[Key]


class OneKey(msgspec.Struct):
    """The key as it is now; `changed` is false where it was so before."""

    key: Key
    changed: bool = True


class MadeKey(msgspec.Struct, omit_defaults=True):
    """A new key; `api_key` is itself, shown this once."""

    api_key: str
    key: Key
    old_key: Key | None = None


@get("/keys", tags=["administration"])
async def list_keys(
    administrator: NamedDependency[Administrator],
    account: Annotated[str | None, QueryParameter(description="Of this account alone.")] = None,
    plan: Annotated[str | None, QueryParameter(description="On this plan alone.")] = None,
    count: Annotated[int, QueryParameter(ge=1, le=LISTED_MAX, description="At most so many.")] = 100,
) -> KeyList:
    """Keys by number and first characters, the newest first."""
    return KeyList(await administrator.do("keys list", lambda found: keys.list_keys(found, account, plan, count)))


@post(
    "/keys",
    status_code=201,
    tags=["administration"],
    operation_class=takes(NewKeyBody, account="Corner Shop", plan="standard"),
)
async def create_key(
    request: AnyRequest,
    administrator: NamedDependency[Administrator],
    administration: NamedDependency[Administration],
) -> MadeKey:
    """Make an API key, and show it this once."""
    body = await read_body(request, NewKeyBody)
    wanted = NewKey(
        account=values.name("account", body.account),
        plan=values.name("plan", body.plan),
        name=values.name("name", body.name) if body.name else "",
        limits=OwnLimits(**body.columns(of_plan=False)),
        lifetime=None if body.expires is None else values.lifetime("expires", body.expires),
        language=None if body.language is None else values.language("language", body.language),
        email=None if body.email is None else values.email("email", body.email),
    )

    def work(connection: Connection) -> MadeKey:
        key, secret = keys.create(connection, wanted, administration.keys_max)
        return MadeKey(secret, key)

    return await administrator.do("keys create", work)


@post(
    "/keys/{key:str}/rotate", status_code=200, tags=["administration"], operation_class=takes(RotationBody, grace="7d")
)
async def rotate_key(
    request: AnyRequest,
    key: FromPath[str],
    administrator: NamedDependency[Administrator],
    administration: NamedDependency[Administration],
) -> MadeKey:
    """Put a new key in the place of one, which works for a while longer; the new one is shown this once."""
    body = await read_body(request, RotationBody)
    reference, grace = values.key_reference(key), values.duration("grace", body.grace)

    def work(connection: Connection) -> MadeKey:
        if not grace:
            confirm(body.confirm, keys.find(connection, reference).prefix)
        new, old, secret = keys.rotate(connection, reference, grace, administration.keys_max)
        return MadeKey(secret, new, old)

    return await administrator.do("keys rotate", work)


@post(
    "/keys/{key:str}/limit",
    status_code=200,
    tags=["administration"],
    operation_class=takes(KeyLimitsBody, rate="1/5s", burst=None),
)
async def limit_key(request: AnyRequest, key: FromPath[str], administrator: NamedDependency[Administrator]) -> OneKey:
    """Give a key another plan, or limits of its own."""
    body = await read_body(request, KeyLimitsBody)
    reference, changes = values.key_reference(key), body.columns(of_plan=False)
    plan = None if body.plan is None else values.name("plan", body.plan)
    if not changes and plan is None:
        raise InputError("plan", "give plan, rate, burst or quota: nothing is to be changed")

    def work(connection: Connection) -> OneKey:
        return OneKey(keys.limit(connection, reference, plan, changes))

    return await administrator.do("keys limit", work)


@post("/keys/{key:str}/suspend", status_code=200, tags=["administration"], operation_class=takes(NothingBody))
async def suspend_key(request: AnyRequest, key: FromPath[str], administrator: NamedDependency[Administrator]) -> OneKey:
    """Refuse a key until it is resumed."""
    await read_body(request, NothingBody)
    return await administrator.do("keys suspend", _setting(key, KeyState.SUSPENDED))


@post("/keys/{key:str}/resume", status_code=200, tags=["administration"], operation_class=takes(NothingBody))
async def resume_key(request: AnyRequest, key: FromPath[str], administrator: NamedDependency[Administrator]) -> OneKey:
    """Let a suspended key ask again."""
    await read_body(request, NothingBody)
    return await administrator.do("keys resume", _setting(key, KeyState.ACTIVE))


@post(
    "/keys/{key:str}/revoke",
    status_code=200,
    tags=["administration"],
    operation_class=takes(ConfirmationBody, confirm="trk_Zm9vYmFy"),
)
async def revoke_key(request: AnyRequest, key: FromPath[str], administrator: NamedDependency[Administrator]) -> OneKey:
    """Refuse a key forever; its first characters confirm it."""
    body = await read_body(request, ConfirmationBody)
    return await administrator.do("keys revoke", _setting(key, KeyState.REVOKED, body.confirm))


def _setting(key: str, state: KeyState, confirmation: str | None = None) -> Callable[[Connection], OneKey]:
    reference = values.key_reference(key)

    def work(connection: Connection) -> OneKey:
        if confirmation is not None:
            confirm(confirmation, keys.find(connection, reference).prefix)
        return OneKey(*keys.set_state(connection, reference, state))

    return work


HANDLERS = (list_keys, create_key, rotate_key, limit_key, suspend_key, resume_key, revoke_key)
