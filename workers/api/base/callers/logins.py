"""Logins of people as PostgreSQL knows them, remembered for a second: a revoked one is refused within that time.

Rules: looked up by the SHA-256 of the secret; the secret itself never gets here. That there is none is remembered as
well. The memory is bounded: the one that was asked for longest ago is forgotten first.
"""

from collections import OrderedDict
from typing import Literal, NamedTuple

from psycopg_pool import AsyncConnectionPool

from trinity.clock import NS_PER_SECOND, Clock
from trinity.store.queries import load

LOGIN_BELIEVED_NS = NS_PER_SECOND
# People are few; the rest are guesses, and slowed down.
_REMEMBERED_MAX = 1_000


class LoginRow(NamedTuple):
    """One login."""

    digest: bytes
    name: str
    role: Literal["billing", "operator"]
    is_revoked: bool


class Logins:
    """Finds logins by the digest of their secret."""

    def __init__(self, pool: AsyncConnectionPool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[int, LoginRow | None]] = OrderedDict()

    async def find(self, digest: bytes) -> LoginRow | None:
        """The login of this digest, None when there is none; raises psycopg's errors when nobody can say."""
        now_ns = self._clock.monotonic_ns()
        asked_at_ns, row = self._remembered.get(digest, (-LOGIN_BELIEVED_NS, None))
        if now_ns - asked_at_ns < LOGIN_BELIEVED_NS:
            return row
        async with self._pool.connection() as connection:
            found = await (await connection.execute(load("logins.by_digest"), {"digest": digest})).fetchone()
        row = None if found is None else LoginRow(*found)
        self._remembered[digest] = now_ns, row
        self._remembered.move_to_end(digest)
        if len(self._remembered) > _REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return row
