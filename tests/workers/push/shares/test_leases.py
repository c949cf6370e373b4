"""workers/push/shares/leases.py: who serves which shard, on a real PostgreSQL."""

import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.workers.push.conftest import wait_until
from trinity.store.connect import connect
from trinity.store.queries import load
from workers.push.shares.epochs import EPOCHS_PER_LEASE, Epochs
from workers.push.shares.leases import SHARDS, LeaseNews, Leases, shard_of

LOG = logging.getLogger("test.leases")


class Node:
    """One node's leases, on a connection of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.connection = connect(url, "tests", autocommit=True)
        identity = uuid.uuid5(uuid.NAMESPACE_URL, str(folder))
        self.connection.execute(load("ledger.add_node"), (identity, folder.name))
        row = self.connection.execute(load("ledger.find_node"), (identity,)).fetchone()
        assert row is not None
        self.node_id = row[0]
        self.leases = Leases(Epochs(folder, LOG))

    def turn(self) -> LeaseNews:
        return self.leases.turn(self.connection, self.node_id)

    def leave(self, shards: Any) -> None:
        self.leases.left(self.connection, self.node_id, shards)

    def finish(self) -> None:
        self.leases.finish(self.connection, self.node_id)


def _pass_time(connection: psycopg.Connection[Any], seconds: float) -> None:
    """As if so much time had gone by without a word of anybody."""
    connection.execute("UPDATE push_nodes SET seen_at = seen_at - %s * interval '1 second'", (seconds,))
    connection.execute("UPDATE push_shards SET lease_until = lease_until - %s * interval '1 second'", (seconds,))


MakeNode = Callable[[str], Node]


@pytest.fixture
def node_of(database_url: str, tmp_path: Path) -> Iterator[MakeNode]:
    """A node by its data directory: the same name again is the next life of it."""
    made: list[Node] = []

    def make(name: str) -> Node:
        made.append(Node(database_url, tmp_path / name))
        return made[-1]

    yield make
    for node in made:
        node.connection.close()


@pytest.fixture
def one(node_of: MakeNode) -> Node:
    return node_of("one")


@pytest.fixture
def two(node_of: MakeNode) -> Node:
    return node_of("two")


def test_a_node_alone_has_all_of_them(one: Node) -> None:
    """At once, and the next turns change nothing."""
    assert sorted(one.turn().taken) == list(range(SHARDS))
    assert one.turn() == LeaseNews({}, (), (), 0)
    assert shard_of(64 * 7 + 5) == 5


def test_a_second_node_gets_its_half_when_the_first_has_let_it_go(one: Node, two: Node) -> None:
    """Nobody serves a shard while its last message is under way."""
    before = one.turn().taken
    assert two.turn().taken == {}
    leaving = one.turn().leaving
    assert len(leaving) == SHARDS // 2
    assert two.turn().taken == {}
    one.leave(leaving)
    taken = two.turn().taken
    assert sorted(taken) == sorted(leaving)
    assert all(taken[shard] >= before[shard] + EPOCHS_PER_LEASE for shard in taken), "higher than all before"
    assert one.turn() == LeaseNews({}, (), (), 1)


def test_three_nodes_settle(node_of: MakeNode) -> None:
    """In shares of 22, 22 and 20, and then nothing moves any more."""
    nodes = [node_of(str(number)) for number in range(3)]
    for _ in range(6):
        for node in nodes:
            node.leave(node.turn().leaving)
    assert sorted(len(node.leases.held) for node in nodes) == [20, 22, 22]
    assert all(node.turn()[:3] == ({}, (), ()) for node in nodes)
    assert frozenset.union(*(node.leases.held for node in nodes)) == frozenset(range(SHARDS))


def test_a_dead_nodes_share_is_taken_when_its_leases_end(one: Node, two: Node) -> None:
    """And what it believes to hold when it is back is lost to it."""
    one.turn()
    two.turn()
    one.leave(one.turn().leaving)
    two.turn()
    held = one.leases.held
    _pass_time(two.connection, 5.0)
    assert two.turn().taken == {}
    _pass_time(two.connection, 2.0)
    two.connection.execute(
        "UPDATE push_shards SET lease_until = clock_timestamp() + interval '6 s' WHERE node_id = %s", (two.node_id,)
    )
    assert sorted(two.turn().taken) == sorted(held)
    assert sorted(one.turn().lost) == sorted(held)
    assert one.leases.held == frozenset()


def test_leases_that_ended_and_that_nobody_took_go_on_in_their_epoch(one: Node) -> None:
    """A database that was away for a minute is no reason to begin anew."""
    one.turn()
    _pass_time(one.connection, 60.0)
    assert one.turn() == LeaseNews({}, (), (), 0)


def test_a_restart_goes_on_with_what_is_left_of_its_epochs(one: Node, node_of: MakeNode) -> None:
    """32,000 reservations of a shard are all that there are: a restart costs an epoch, not 64."""
    first = one.turn().taken
    again = node_of("one").turn().taken
    assert again == {shard: epoch + 1 for shard, epoch in first.items()}
    ((highest,),) = one.connection.execute("SELECT max(next_epoch) FROM push_shards").fetchall()
    assert highest == 1 + EPOCHS_PER_LEASE


def test_a_node_that_was_away_does_not_use_its_old_epochs(one: Node, two: Node, node_of: MakeNode) -> None:
    """Another one has had the shard since: only a new reservation is higher."""
    one.turn()
    _pass_time(one.connection, 60.0)
    taken = two.turn().taken
    assert len(taken) == SHARDS
    _pass_time(one.connection, 60.0)
    back = node_of("one").turn().taken
    assert all(back[shard] >= taken[shard] + EPOCHS_PER_LEASE for shard in back)


def test_a_database_of_a_backup_does_not_give_out_old_epochs(one: Node, node_of: MakeNode) -> None:
    """The node's own file knows better."""
    first = one.turn().taken
    one.connection.execute("UPDATE push_shards SET next_epoch = 1, lease_until = NULL, node_id = NULL")
    again = node_of("one").turn().taken
    assert all(again[shard] > first[shard] for shard in again)


def test_a_database_of_a_backup_does_not_give_out_epochs_that_are_used_up(
    one: Node, node_of: MakeNode, tmp_path: Path
) -> None:
    """The node has none left, and still knows which they were."""
    one.turn()
    last = [Epochs(tmp_path / "one", LOG).resume() for _ in range(EPOCHS_PER_LEASE - 1)][-1]
    assert set(last.values()) == {EPOCHS_PER_LEASE}
    one.connection.execute("UPDATE push_shards SET next_epoch = 1, lease_until = NULL, node_id = NULL")
    again = node_of("one").turn().taken
    assert set(again.values()) == {EPOCHS_PER_LEASE + 1}


def test_a_drain_lets_go_at_once_where_there_are_others(one: Node, two: Node) -> None:
    """Alone it keeps them, so that the next start needs nobody."""
    one.turn()
    one.finish()
    ((held,),) = one.connection.execute(
        "SELECT count(*) FROM push_shards WHERE lease_until > clock_timestamp()"
    ).fetchall()
    assert held == SHARDS
    one.turn()
    two.turn()
    one.turn()
    one.finish()
    assert len(two.turn().taken) == SHARDS


def test_two_nodes_at_once_never_take_the_same(node_of: MakeNode) -> None:
    """By the rows' locks, not by luck."""
    nodes = [node_of(str(number)) for number in range(2)]
    taken: list[set[int]] = []
    with nodes[0].connection.transaction():
        taken.append(set(nodes[0].turn().taken))
        taken.append(set(nodes[1].turn().taken))
    assert not taken[0] & taken[1]
    wait_until(lambda: len(nodes[0].leases.held) == SHARDS, "all of them")
