"""Which shards this node serves: leases in PostgreSQL, shared evenly among the nodes that live.

    a node that lives     says so, and renews its leases, each TURN_SECONDS
    its share             SHARDS / nodes, rounded up; what it has beyond that it lets go, what is free it takes
    a node that died      is no longer counted, and its leases end, LEASE_SECONDS after its last word
    a new lease           comes with epochs that are higher than all before (epochs.py)

Rules: all times are the database's. A shard that is to be let go is served by nobody until its last message has landed:
`leaving`, then `left`. One that another node has taken is lost at once. A database that is away changes nothing.
"""

import datetime
from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg

from trinity.store.queries import load
from workers.push.shares.epochs import EPOCHS_PER_LEASE, Epochs

Connection = psycopg.Connection[Any]

SHARDS = 64
TURN_SECONDS = 1.0
# Five turns may be lost. A dead node's share is taken over this long after its last word, and a turn of the taker.
LEASE_SECONDS = 6.0


class LeaseNews(NamedTuple):
    """What a turn changed: shards to serve from now on with their epochs, to leave, and to drop at once."""

    taken: dict[int, int]
    leaving: tuple[int, ...]
    lost: tuple[int, ...]
    others: int  # nodes that live beside this one


def shard_of(subscription: int) -> int:
    return subscription % SHARDS


class Leases:
    """Of one node; lives over all connections of its thread."""

    def __init__(self, epochs: Epochs) -> None:
        self._epochs = epochs
        self._held: set[int] = set()
        self._leaving: set[int] = set()
        self._others = 0

    @property
    def held(self) -> frozenset[int]:
        return frozenset(self._held)

    def resume(self) -> dict[int, int]:
        """Serve what this node held, without asking; the epochs of the shards that have some left. OSError."""
        epochs = self._epochs.resume()
        self._held |= set(epochs)
        return epochs

    def turn(self, connection: Connection, node_id: int) -> LeaseNews:
        """Say that this node lives, renew, let go or take; psycopg.Error, OSError."""
        base = {"node_id": node_id, "lease": datetime.timedelta(seconds=LEASE_SECONDS)}
        self._others = _one(connection.execute(load("pusher.see_node"), base))
        renewed = connection.execute(load("pusher.renew_leases"), base | {"shards": sorted(self._held)}).fetchall()
        lost = self._held - {shard for (shard,) in renewed}
        self._forget(lost)
        share = -(-SHARDS // (1 + self._others))
        staying = self._held - self._leaving
        leaving = sorted(staying)[share:]
        self._leaving |= set(leaving)
        taken: dict[int, int] = {}
        if len(staying) < share:
            taken = self._take(connection, base, share - len(staying))
        return LeaseNews(taken, tuple(leaving), tuple(sorted(lost)), self._others)

    def left(self, connection: Connection, node_id: int, shards: Iterable[int]) -> None:
        """Their last messages have landed: others may have them."""
        leaving = [shard for shard in shards if shard in self._leaving]
        if leaving:
            self._forget(leaving)
            connection.execute(load("pusher.release_leases"), {"node_id": node_id, "shards": leaving})

    def finish(self, connection: Connection, node_id: int) -> None:
        """At the end of the process: others take over at once; where there are none, the next start goes on."""
        connection.execute(load("pusher.leave_node"), {"node_id": node_id})
        if self._others:
            shards = sorted(self._held)
            self._forget(shards)
            connection.execute(load("pusher.release_leases"), {"node_id": node_id, "shards": shards})

    def _take(self, connection: Connection, base: dict[str, Any], count: int) -> dict[int, int]:
        known = self._epochs.known()
        parameters = base | {
            "held": sorted(self._held),
            "count": count,
            "shards": list(known),
            "firsts": [kept.first for kept in known.values()],
            "used_up": [kept.is_used_up for kept in known.values()],
            "epochs": EPOCHS_PER_LEASE,
        }
        firsts: dict[int, int] = dict(connection.execute(load("pusher.take_leases"), parameters).fetchall())
        if not firsts:
            return {}
        begun = self._epochs.begin(firsts)
        self._held |= set(begun)
        return begun

    def _forget(self, shards: Iterable[int]) -> None:
        gone = list(shards)
        self._held.difference_update(gone)
        self._leaving.difference_update(gone)
        self._epochs.give_up(gone)


def _one(cursor: "psycopg.Cursor[Any]") -> int:
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
