"""`GET /account`: who the caller is, and what its plan allows."""

import msgspec
from litestar import get
from litestar.di import NamedDependency

from workers.api.base.auth import ApiCaller


class AccountReport(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The caller as the service sees it."""

    kind: str
    account_id: int | None = None
    key_id: int | None = None


@get("/account", tags=["account"])
async def show_account(caller: NamedDependency[ApiCaller]) -> AccountReport:
    """Who you are to this service: `admin`, `key` or `anonymous`, with the account and key that a key belongs to."""
    return AccountReport(kind=caller.kind, account_id=caller.account_id or None, key_id=caller.key_id or None)
