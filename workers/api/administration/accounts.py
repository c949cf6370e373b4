"""`/administration/accounts`: who the customers are. One that is deleted keeps its name for ledger and bills."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from trinity.access import accounts, values
from trinity.access.accounts import Account
from trinity.access.keys import Connection
from workers.api.administration.administrator import Administrator, confirm
from workers.api.administration.bodies import read_body, takes

AnyRequest = Request[Any, Any, Any]


class AccountBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What of an account is to be another; what is left out stays."""

    language: str | None = None
    email: str | None = None


class NameBody(msgspec.Struct, forbid_unknown_fields=True):
    """Its new name."""

    name: str


class EndBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The account's name once more, and whether its keys are revoked with it."""

    confirm: str
    revoke_keys: bool = False


class AccountList(msgspec.Struct):
    """The oldest first, with the number of their keys."""

    accounts: list[Account]


class OneAccount(msgspec.Struct):
    """The account as it is now."""

    account: Account


class EndedAccount(msgspec.Struct):
    """The account, and the keys that were revoked with it."""

    account: Account
    revoked_keys: list[int]


@get("/accounts", tags=["administration"])
async def list_accounts(
    administrator: NamedDependency[Administrator],
    deleted: Annotated[bool, QueryParameter(description="Those that were deleted as well.")] = False,
) -> AccountList:
    """All accounts."""
    return AccountList(await administrator.do("accounts list", lambda found: accounts.list_accounts(found, deleted)))


@post(
    "/accounts/{account:str}",
    status_code=200,
    tags=["administration"],
    operation_class=takes(AccountBody, email="shop@example.com"),
)
async def set_account(
    request: AnyRequest, account: FromPath[str], administrator: NamedDependency[Administrator]
) -> OneAccount:
    """Change an account, or make it."""
    body = await read_body(request, AccountBody)
    name = values.name("account", account)
    email = None if body.email is None else values.email("email", body.email)
    language = None if body.language is None else values.language("language", body.language)

    def work(connection: Connection) -> OneAccount:
        return OneAccount(accounts.set_account(connection, name, email, language))

    return await administrator.do("accounts set", work)


@post(
    "/accounts/{account:str}/rename",
    status_code=200,
    tags=["administration"],
    operation_class=takes(NameBody, name="Corner Shop"),
)
async def rename_account(
    request: AnyRequest, account: FromPath[str], administrator: NamedDependency[Administrator]
) -> OneAccount:
    """Give an account another name: its keys, ledger and bills go with it."""
    body = await read_body(request, NameBody)
    name, new_name = values.name("account", account), values.name("name", body.name)
    renamed = await administrator.do("accounts rename", lambda found: accounts.rename(found, name, new_name))
    return OneAccount(renamed)


@post(
    "/accounts/{account:str}/delete",
    status_code=200,
    tags=["administration"],
    operation_class=takes(EndBody, confirm="Corner Shop", revoke_keys=True),
)
async def delete_account(
    request: AnyRequest, account: FromPath[str], administrator: NamedDependency[Administrator]
) -> EndedAccount:
    """End an account for good; its name confirms it, and with `revoke_keys` its keys go first."""
    body = await read_body(request, EndBody)
    name = values.name("account", account)
    confirm(body.confirm, name)

    def work(connection: Connection) -> EndedAccount:
        return EndedAccount(*accounts.delete(connection, name, body.revoke_keys))

    return await administrator.do("accounts delete", work)


HANDLERS = (list_accounts, set_account, rename_account, delete_account)
