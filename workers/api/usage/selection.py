"""Whose usage a report is about: the keys that the caller may see, narrowed by `account` and `key`.

Rules: a key sees all keys of its account, and nothing else: another account is a 403, another key a 404, as if it did
not exist. The operator sees every key; an account or key that does not exist is a 404.
"""

from typing import Annotated, NamedTuple

from litestar.di import NamedDependency
from litestar.params import QueryParameter

from trinity.store.queries import load
from workers.api.base.callers.auth import ApiCaller, require_usage_reader
from workers.api.base.context import Parts
from workers.api.base.problems import ProblemError

_ID_MAX = 2**31 - 1  # PostgreSQL's integer
NAME_CHARS_MAX = 100  # of an account's name, as the command line takes it


class Selection(NamedTuple):
    """The keys of a report; None is every key, also callers without one."""

    key_ids: list[int] | None


async def provide_selection(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],
    account: Annotated[
        str | None,
        QueryParameter(min_length=1, max_length=NAME_CHARS_MAX, description="Only this account, by number or name."),
    ] = None,
    key: Annotated[
        int | None, QueryParameter(ge=0, le=_ID_MAX, description="Only the key of this id; 0: callers without a key.")
    ] = None,
) -> Selection:
    """The dependency `selection`."""
    require_usage_reader(caller)
    if caller.sees_all_usage:
        key_ids = None if account is None else await _keys_of(parts, await _number_of(parts, account))
    else:
        if account is not None and account != str(caller.account_id):
            raise ProblemError(403, "foreign_account", "this is not your account", "account")
        key_ids = list(caller.key_ids)
    if key is None:
        return Selection(key_ids)
    known = key_ids or []
    if key not in known and not (key_ids is None and (key == 0 or await _exists(parts, key))):
        raise ProblemError(404, "unknown_key", "there is no such key", "key")
    return Selection([key])


async def _number_of(parts: Parts, account: str) -> int:
    """An account's number by what it was called; a name of digits alone is a number."""
    if account.isascii() and account.isdigit() and len(account) <= len(str(_ID_MAX)):
        return min(int(account), _ID_MAX)
    found = None
    if account.isprintable():  # others are no names, and one of the others is no text for PostgreSQL
        async with parts.pool.connection() as connection:
            cursor = await connection.execute(load("reports.account_by_name"), {"name": account})
            found = await cursor.fetchone()
    if found is None:
        raise _unknown_account()
    return int(found[0])


async def _keys_of(parts: Parts, account_id: int) -> list[int]:
    async with parts.pool.connection() as connection:
        cursor = await connection.execute(load("reports.key_ids_of_account"), {"account_id": account_id})
        found = await cursor.fetchone()
    if found is None:
        raise _unknown_account()
    return found[0] or []


def _unknown_account() -> ProblemError:
    return ProblemError(404, "unknown_account", "there is no such account", "account")


async def _exists(parts: Parts, key_id: int) -> bool:
    async with parts.pool.connection() as connection:
        cursor = await connection.execute(load("reports.account_of_key"), {"key_id": key_id})
        return await cursor.fetchone() is not None
