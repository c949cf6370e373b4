"""Whose usage a report is about: the keys that the caller may see, narrowed by `account` and `key`.

Rules: a key sees all keys of its account, and nothing else: another account is a 403, another key a 404, as if it did
not exist. The operator sees every key; an account or key that does not exist is a 404.
"""

from typing import Annotated, NamedTuple

from litestar.di import NamedDependency
from litestar.params import QueryParameter

from trinity.store.queries import load
from workers.api.base.auth import ApiCaller, require_usage_reader
from workers.api.base.context import Parts
from workers.api.base.problems import ProblemError

_ID_MAX = 2**31 - 1  # PostgreSQL's integer


class Selection(NamedTuple):
    """The keys of a report; None is every key, also callers without one."""

    key_ids: list[int] | None


async def provide_selection(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],
    account: Annotated[
        int | None, QueryParameter(ge=1, le=_ID_MAX, description="Only this account; for the operator.")
    ] = None,
    key: Annotated[
        int | None, QueryParameter(ge=0, le=_ID_MAX, description="Only the key of this id; 0: callers without a key.")
    ] = None,
) -> Selection:
    """The dependency `selection`."""
    require_usage_reader(caller)
    if not caller.is_admin:
        if account is not None and account != caller.account_id:
            raise ProblemError(403, "foreign_account", "this is not your account", "account")
        key_ids: list[int] | None = list(caller.key_ids)
    else:
        key_ids = None if account is None else await _keys_of(parts, account)
    if key is None:
        return Selection(key_ids)
    known = key_ids or []
    if key not in known and not (key_ids is None and (key == 0 or await _exists(parts, key))):
        raise ProblemError(404, "unknown_key", "there is no such key", "key")
    return Selection([key])


async def _keys_of(parts: Parts, account_id: int) -> list[int]:
    async with parts.pool.connection() as connection:
        cursor = await connection.execute(load("reports.key_ids_of_account"), {"account_id": account_id})
        found = await cursor.fetchone()
    if found is None:
        raise ProblemError(404, "unknown_account", "there is no such account", "account")
    return found[0] or []


async def _exists(parts: Parts, key_id: int) -> bool:
    async with parts.pool.connection() as connection:
        cursor = await connection.execute(load("reports.account_of_key"), {"key_id": key_id})
        return await cursor.fetchone() is not None
