"""Whose subscriptions a call is about, and how one is changed: by the functions that the command line uses.

Rules
- A key has its own account's subscriptions and is told of all others that there are none; the operator has all. Nobody
  else has any.
- Reading goes through the pool of read-only connections. A change runs in a thread, on a connection of its own, in one
  transaction, and is written down (trinity/access/audit.py); a few run at once, of one caller fewer, so that nobody
  keeps others waiting. With a cookie it is JSON from a page of this service (base/origin.py).
- A request with an Idempotency-Key has its effect once (trinity/push/idempotency.py): who sends it again is told what
  the first one was told, with `Idempotent-Replayed: true`.
- A target is looked up and checked before there is a transaction: a resolver that is slow holds nothing.
- Errors name their field as JSON has it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.types import ExceptionHandlersMap
from psycopg.rows import kwargs_row

from trinity.access.audit import Actor, Connection, acting
from trinity.errors import DeliveryError
from trinity.push.addresses import AllowList
from trinity.push.idempotency import (
    FIELD,
    GivenAnswer,
    KeyInUseError,
    KeyReusedError,
    digest_of,
    first_answer,
    named_by,
    once,
    read_key,
)
from trinity.push.resolve import NameResolver, Resolver, check_target
from trinity.push.store import absent
from trinity.push.targets import parse_target
from trinity.store.connect import connect
from trinity.store.queries import load
from trinity.store.watch import watched
from workers.api.administration.administrator import ERRORS as ERRORS_OF_EDITS
from workers.api.base.callers.auth import ApiCaller, caller_name, require_usage_reader
from workers.api.base.callers.concurrency import ConcurrencyBounds, ConcurrencyLimit
from workers.api.base.callers.origin import check_origin
from workers.api.base.calls import caller_address
from workers.api.base.context import Parts
from workers.api.base.problems import HANDLERS, ProblemError, bad_parameter

AnyRequest = Request[Any, Any, Any]
_Row = TypeVar("_Row")

# Changes wait for a resolver (seconds at most) or for the database (milliseconds).
CHANGES = ConcurrencyBounds("push_change", 64, 8, 1)
# Threads and connections of them: as many as of the administration (administrator.py).
CHANGES_AT_ONCE = 4
NUMBER_MAX = 2**63 - 1
_SAFE_METHODS = ("GET", "HEAD")


class Pushes:
    """What this feature brings to its handlers (`pushes`)."""

    def __init__(self, allow: AllowList, name_servers: Sequence[str], resolver: NameResolver | None = None) -> None:
        self.allow = allow
        self.limit = ConcurrencyLimit(CHANGES)
        self.free = asyncio.Semaphore(CHANGES_AT_ONCE)
        self._name_servers = name_servers
        self._resolver = resolver

    async def check(self, target: str, field: str) -> None:
        """Refuse a target that nothing may be delivered to; ProblemError names the field."""
        if self._resolver is None:  # with the first target: most services never have one
            self._resolver = Resolver(self._name_servers)
        try:
            await check_target(parse_target(target), self.allow, self._resolver)
        except DeliveryError as error:
            raise bad_parameter(field, error.detail) from None


@dataclass(frozen=True)
class Customer:
    """Whoever calls, at work on their subscriptions; `account_id` None is the operator."""

    parts: Parts
    pushes: Pushes
    request: AnyRequest
    actor: Actor
    account_id: int | None
    key_id: int | None
    place: str  # by what their changes are counted

    async def read(self, statement: str, make: Callable[..., _Row], parameters: dict[str, Any]) -> list[_Row]:
        """Rows of a named statement, each made by `make` from its columns."""
        async with (
            self.parts.pool.connection() as connection,
            connection.cursor(row_factory=kwargs_row(make)) as cursor,
        ):
            await cursor.execute(load(statement), parameters)
            return await cursor.fetchall()

    async def do(
        self, action: str, work: Callable[[Connection], msgspec.Struct], *, status: int = 200,
        target: str | None = None, field: str = "target",
    ) -> Response[Any]:  # fmt: skip
        """Run `work` as this caller, once for each Idempotency-Key; `target`, which `field` has, is checked first."""
        self.pushes.limit.check(self.place)
        with self.pushes.limit.acquire(self.place):
            key = self.request.headers.get(FIELD)
            claim = None if key is None else (read_key(key), await self._digest())
            answer = None if claim is None else await self._first_answer(*claim)
            if answer is None:
                if target is not None:
                    await self.pushes.check(target, field)
                async with self.pushes.free:
                    answer = await asyncio.to_thread(self._run, action, work, status, claim)
        headers = {"Idempotent-Replayed": "true"} if answer.is_replay else {}
        return Response(answer.body.encode(), status_code=answer.status, media_type="application/json", headers=headers)

    async def _digest(self) -> bytes:
        return digest_of(f"{self.request.method} {self.request.url.path}", await self.request.body())

    async def _first_answer(self, key: str, digest: bytes) -> GivenAnswer | None:
        """Before a target is asked for again: its name may be gone by now."""
        async with self.parts.pool.connection() as connection:
            cursor = await connection.execute(load("push.first_answer"), named_by(self.account_id, key))
            return first_answer(key, digest, await cursor.fetchone())

    def _run(
        self, action: str, work: Callable[[Connection], msgspec.Struct], status: int, claim: tuple[str, bytes] | None
    ) -> GivenAnswer:
        url = self.parts.settings.database_url
        with (
            connect(url, "push", autocommit=True) as connection,
            watched(url, connection),
            acting(connection, self.actor, action),
        ):

            def answered() -> GivenAnswer:
                return GivenAnswer(status, msgspec.json.encode(work(connection)).decode())

            return answered() if claim is None else once(connection, self.account_id, *claim, answered)


async def provide_customer(
    request: AnyRequest,
    caller: NamedDependency[ApiCaller],
    parts: NamedDependency[Parts],
    pushes: NamedDependency[Pushes],
) -> Customer:
    """The dependency `customer`; raises for who has no account, and for what another site sends."""
    require_usage_reader(caller)
    is_page = "session" in request.scope["state"]
    if is_page and request.method not in _SAFE_METHODS:
        check_origin(request)
    address = caller_address(request.scope)
    name = caller.name or ("admin" if caller.is_admin else f"key {caller.key_id}")
    return Customer(
        parts,
        pushes,
        request,
        Actor(name, "page" if is_page else "api", str(address)),
        None if caller.is_admin else caller.account_id,
        None if caller.is_admin else caller.key_id,
        caller_name(caller, address),
    )


def number_of(subscription: int) -> int:
    """A subscription's number out of the path."""
    if not 1 <= subscription <= NUMBER_MAX:
        raise absent(subscription)
    return subscription


def _on_reused(request: AnyRequest, error: KeyReusedError) -> Any:
    return HANDLERS[ProblemError](request, ProblemError(422, "idempotency_key_reused", str(error), FIELD))


def _on_in_use(request: AnyRequest, error: KeyInUseError) -> Any:
    problem = ProblemError(409, "idempotency_key_in_use", str(error), FIELD, {"Retry-After": "1"})
    return HANDLERS[ProblemError](request, problem)


ERRORS: ExceptionHandlersMap = {**ERRORS_OF_EDITS, KeyReusedError: _on_reused, KeyInUseError: _on_in_use}
