"""Who may change keys, plans, accounts and blocks over HTTP, and how a change is made: by the command line's functions.

Rules
- The operator alone, signed in on the page, with ADMIN_KEY or a login's secret; nobody who only reads (base/auth.py
  looks). A change is JSON from a page of this service, or of no page (base/origin.py); with a cookie it
  carries that session's token, as all changes do (accounts/signin.py).
- `work(connection)` is what the command line runs: trinity/access has the rules, here are none. It runs in a thread, on
  a connection of its own and in one transaction, written down as this operator's (trinity/access/audit.py).
- Values are checked before there is a connection. Errors name their field as JSON has it (`ERRORS`). What is for good
  is confirmed by the name of what it ends.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from litestar import Request
from litestar.di import NamedDependency
from litestar.types import ExceptionHandlersMap

from trinity.access.audit import Actor, Connection, Via, acting
from trinity.errors import AbsentError, InputError, RefusedError, StoreUnavailableError, TrinityError
from trinity.store.connect import connect
from trinity.store.watch import watched
from workers.api.base.callers.auth import ApiCaller, require_operator
from workers.api.base.callers.origin import check_origin
from workers.api.base.calls import caller_address
from workers.api.base.context import Parts
from workers.api.base.problems import HANDLERS, ProblemError, bad_parameter, database_unavailable

# Changes are rare and take milliseconds; a database that hangs holds no more threads than this.
CHANGES_AT_ONCE = 4
_SAFE_METHODS = ("GET", "HEAD")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Administration:
    """What this feature brings to its handlers (`administration`)."""

    keys_max: int  # ids that the nodes have room for
    free: asyncio.Semaphore


@dataclass(frozen=True)
class Administrator:
    """The operator, at work."""

    actor: Actor
    database_url: str
    free: asyncio.Semaphore

    async def do(self, action: str, work: Callable[[Connection], _Found]) -> _Found:
        """Run `work` as this operator."""
        async with self.free:
            return await asyncio.to_thread(self._run, action, work)

    def _run(self, action: str, work: Callable[[Connection], _Found]) -> _Found:
        with (
            connect(self.database_url, "administration", autocommit=True) as connection,
            watched(self.database_url, connection),
            acting(connection, self.actor, action),
        ):
            return work(connection)


async def provide_administrator(
    request: Request[Any, Any, Any],
    caller: NamedDependency[ApiCaller],
    parts: NamedDependency[Parts],
    administration: NamedDependency[Administration],
) -> Administrator:
    """The dependency `administrator`; raises 403 for everybody else, and for what another site sends."""
    require_operator(caller)
    if request.method not in _SAFE_METHODS:
        check_origin(request)
    via: Via = "page" if "session" in request.scope["state"] else "api"
    actor = Actor(caller.name or "admin", via, str(caller_address(request.scope)))
    return Administrator(actor, parts.settings.database_url, administration.free)


def confirm(given: str, name: str) -> None:
    """What is for good is confirmed by the name of what it ends."""
    if given != name:
        raise InputError("confirm", f"this is for good: confirm it with {name}")


def problem_of_edit(error: TrinityError) -> ProblemError:
    """What an error of the command line's functions is over HTTP: `--burst` there is `burst`, `KEY` is `key`."""
    match error:
        case InputError():
            field = error.field.removeprefix("--").replace("-", "_").lower()
            return bad_parameter(field, error.reason)
        case AbsentError():
            return ProblemError(404, "not_there", f"there is no {error.what} {error.name}", error.what)
        case RefusedError():
            return ProblemError(409, "refused", str(error))
    return database_unavailable()


def _answer(request: Request[Any, Any, Any], error: TrinityError) -> Any:
    return HANDLERS[ProblemError](request, problem_of_edit(error))


ERRORS: ExceptionHandlersMap = dict.fromkeys((InputError, AbsentError, RefusedError, StoreUnavailableError), _answer)
