"""Keys as PostgreSQL knows them, remembered for a second, so that a burst of calls costs one query.

Rules: looked up by SHA-256; the key itself never gets here. What was believed for `KEY_BELIEVED_NS` is asked again,
also that there is no such key. The memory is bounded: the one that was asked for longest ago is forgotten first.
The node's table of keys, once it is loaded, says first: a key that is not in it is refused without asking anybody, so
a flood of wrong keys costs no connection, and whether a key is good is the table's word. The database is asked whose it
is, which changes only when its account gets another key; while it does not answer, prices and streams go on without
that, and usage has to wait for the database anyway.
"""

from collections import OrderedDict
from datetime import datetime
from typing import NamedTuple

import numpy as np
import psycopg
import psycopg_pool
from psycopg_pool import AsyncConnectionPool

from trinity.clock import NS_PER_SECOND, Clock
from trinity.memory.key_table import DIGEST_BYTES, FLAGS, STATE_MASK, TERMS_SLOT_WORDS, KeyTable, find_key
from trinity.store.queries import load
from trinity.vocabulary import KeyState

# Changes of a key must count everywhere within 1 s.
KEY_BELIEVED_NS = NS_PER_SECOND
# Whose key it is, where the node's table says whether it is good: the usage of another new key is seen that late.
OWNER_BELIEVED_NS = 30 * NS_PER_SECOND
# A database that was not there is not waited for again so soon.
ABSENT_NS = 2 * NS_PER_SECOND
# Keys remembered; some 300 bytes each.
KEYS_REMEMBERED_MAX = 10_000


class KeyRow(NamedTuple):
    """One key; `state` is a word of KeyState, `account_key_ids` are all keys of its account.

    Out of the node's table the account is 0: nobody knows it.
    """

    digest: bytes
    key_id: int
    account_id: int
    state: str
    expires_at: datetime | None
    account_key_ids: list[int]


class Keys:
    """Finds keys by their digest."""

    def __init__(self, pool: AsyncConnectionPool, clock: Clock, table: KeyTable) -> None:
        self._pool = pool
        self._clock = clock
        self._table = table
        self._absent_until_ns = 0
        self._remembered: OrderedDict[bytes, tuple[int, KeyRow | None]] = OrderedDict()
        self._in_table(bytes(DIGEST_BYTES))  # compiled, where it has to be, before anybody waits for it

    async def find(self, digest: bytes) -> KeyRow | None:
        """The key of this digest, None when there is none; raises psycopg's errors when nobody can say."""
        now_ns = self._clock.monotonic_ns()
        known = self._in_table(digest) if self._table.loaded else None
        if self._table.loaded and known is None:
            return None
        if digest in self._remembered:
            asked_at_ns, row = self._remembered[digest]
            if known is not None and row is not None and now_ns - asked_at_ns < OWNER_BELIEVED_NS:
                return row._replace(state=known.state)
            if now_ns - asked_at_ns < KEY_BELIEVED_NS:
                return row
        if known is not None and now_ns < self._absent_until_ns:
            return known
        try:
            row = await self._in_database(digest)
        except (psycopg.OperationalError, psycopg_pool.PoolTimeout):
            if known is None:
                raise
            self._absent_until_ns = self._clock.monotonic_ns() + ABSENT_NS
            return known
        self._remembered[digest] = now_ns, row
        self._remembered.move_to_end(digest)
        if len(self._remembered) > KEYS_REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return row

    async def find_again(self, digest: bytes) -> KeyRow | None:
        """As `find`, for whoever was let in before: of the node's table alone where there is one."""
        return self._in_table(digest) if self._table.loaded else await self.find(digest)

    async def _in_database(self, digest: bytes) -> KeyRow | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(load("reports.key_by_digest"), {"digest": digest})
            found = await cursor.fetchone()
        return None if found is None else KeyRow(*found)

    def _in_table(self, digest: bytes) -> KeyRow | None:
        terms = np.zeros(TERMS_SLOT_WORDS, dtype=np.uint64)
        key_id = int(find_key(self._table.words, np.frombuffer(digest, dtype=np.uint64).copy(), terms))
        if key_id == 0:
            return None
        state = KeyState(int(terms[FLAGS]) & STATE_MASK).word
        return KeyRow(digest, key_id, 0, state, None, [key_id])
