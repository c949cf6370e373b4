"""workers/push/process.py where nodes die, share and lose PostgreSQL: real processes, killed with kill -9."""

import itertools
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.receiver import HTTP_OK, Received, Receiver
from tests.trinity.store.frozen import frozen, running_server
from tests.workers.push.conftest import MakeNode, PushNode, Subscribe, wait_until, write_price
from trinity.observe.metrics import PUSHER
from trinity.store import migrate
from trinity.store.connect import connect
from workers.push.shares.leases import SHARDS


def _served_by(url: str) -> dict[int, list[int]]:
    """Shards with a lease that has not ended, by node."""
    with connect(url, "tests", autocommit=True) as connection:
        rows = connection.execute(
            "SELECT node_id, array_agg(shard) FROM push_shards WHERE lease_until > clock_timestamp() GROUP BY node_id"
        ).fetchall()
    return dict(rows)


def _rises(received: list[Received]) -> bool:
    return all(earlier.sequence < later.sequence for earlier, later in itertools.pairwise(received))


def test_sequences_rise_over_kills_and_drains(make_node: MakeNode, subscribe: Subscribe, receiver: Receiver) -> None:
    """Killed in mid-flight, drained, killed again: every message has a higher sequence than all before."""
    for _ in range(3):
        subscribe(receiver.url("/a"), interval_s=3)
    node = make_node("one")
    for end in (node.kill, node.drain, node.kill, node.drain):
        before = len(receiver.received)
        node.start()
        wait_until(lambda before=before: len(receiver.received) >= before + 4, "messages of this life")
        end()
    by_subscription: dict[int, list[Received]] = {}
    for one in receiver.received:
        by_subscription.setdefault(one.data["subscription"], []).append(one)
    assert len(by_subscription) == 3
    assert all(_rises(of) for of in by_subscription.values())
    assert len({one.sequence >> 32 for one in receiver.received}) >= 4, "each life has an epoch of its own"


def test_two_nodes_share_and_a_dead_ones_share_is_taken_over(
    make_node: MakeNode, subscribe: Subscribe, receiver: Receiver, database_url: str
) -> None:
    """Each has half; nobody is sent twice; after kill -9 the other has all, and sequences go on to rise."""
    paths = [f"/{number}" for number in range(8)]
    numbers = [subscribe(receiver.url(path), interval_s=3)[0] for path in paths]
    nodes: list[PushNode] = [make_node("one"), make_node("two")]
    for node in nodes:
        node.start()
    wait_until(lambda: sorted(map(len, _served_by(database_url).values())) == [SHARDS // 2] * 2, "an even share")
    wait_until(lambda: all(len(receiver.of(path)) >= 2 for path in paths), "messages of all")
    nodes[0].kill()
    wait_until(lambda: list(map(len, _served_by(database_url).values())) == [SHARDS], "the share of the dead one")
    counts = [len(receiver.of(path)) for path in paths]
    wait_until(
        lambda: all(len(receiver.of(path)) > count for path, count in zip(paths, counts, strict=True)),
        "messages of all from the other node",
    )
    nodes[1].drain()
    for path in paths:
        assert _rises(receiver.of(path)), "no message was older than the one before"
        assert len({one.sequence for one in receiver.of(path)}) == len(receiver.of(path)), "none came twice"
    assert len(set(numbers)) == len(paths)


def test_a_node_that_stood_still_asks_before_it_goes_on(
    make_node: MakeNode, subscribe: Subscribe, receiver: Receiver, database_url: str
) -> None:
    """Its share is another's by then, and it has the database to say so: no receiver hears of it again."""
    paths = [f"/{number}" for number in range(8)]
    for path in paths:
        subscribe(receiver.url(path), interval_s=3, deviation_bps=1)
    nodes: list[PushNode] = [make_node("one"), make_node("two")]
    for node in nodes:
        node.start()
    wait_until(lambda: sorted(map(len, _served_by(database_url).values())) == [SHARDS // 2] * 2, "an even share")
    wait_until(lambda: all(receiver.of(path) for path in paths), "messages of all")
    os.kill(nodes[0].child.pid, signal.SIGSTOP)
    wait_until(lambda: list(map(len, _served_by(database_url).values())) == [SHARDS], "the share of the other")
    counts = [len(receiver.of(path)) for path in paths]
    wait_until(
        lambda: all(len(receiver.of(path)) > count for path, count in zip(paths, counts, strict=True)),
        "messages of all from the other node",
    )
    write_price(nodes[0].context.answers, 0, 20_000)  # moved: its first turn has something to send
    os.kill(nodes[0].child.pid, signal.SIGCONT)
    wait_until(lambda: sorted(map(len, _served_by(database_url).values())) == [SHARDS // 2] * 2, "an even share again")
    for node in nodes:
        node.drain()
    for path in paths:
        assert _rises(receiver.of(path)), "no message was older than the one before"


def test_a_drained_node_hands_over_at_once(
    make_node: MakeNode, subscribe: Subscribe, receiver: Receiver, database_url: str
) -> None:
    """What is in flight ends first, so no message is lost by a restart of one of several nodes."""
    subscribe(receiver.url("/a"), interval_s=3)
    one, two = make_node("one"), make_node("two")
    one.start()
    two.start()
    wait_until(lambda: len(_served_by(database_url)) == 2, "both share")
    assert one.drain() == 0
    wait_until(lambda: list(map(len, _served_by(database_url).values())) == [SHARDS], "the other has all")


@pytest.mark.long
def test_without_postgresql_what_is_known_goes_on_also_after_a_kill(
    make_node: MakeNode, receiver: Receiver, tmp_path: Path
) -> None:
    """Stopped under a running node, which is then killed and started again: sequences rise through all of it."""
    (folder := tmp_path / "server").mkdir()
    with running_server(folder) as server:
        migrate.ensure(server.url())
        _subscribe_by_hand(server.url(), receiver.url("/a"))
        node = make_node("one", server.url())
        node.start()
        wait_until(lambda: receiver.of("/a"), "a message with the database")
        wait_until(lambda: (node.data_dir / "push.snapshot").exists(), "the snapshot")
        assert (node.data_dir / "push.snapshot").stat().st_mode & 0o777 == 0o600
        server.stop()
    for _ in range(2):
        before = len(receiver.of("/a"))
        wait_until(lambda before=before: len(receiver.of("/a")) >= before + 2, "messages without the database")
        node.kill()
        before = len(receiver.of("/a"))
        node.start()
        wait_until(lambda before=before: len(receiver.of("/a")) > before, "messages after a start without it")
    node.drain()
    assert _rises(receiver.of("/a"))


@pytest.mark.long
def test_a_frozen_postgresql_holds_nothing_up(make_node: MakeNode, receiver: Receiver, tmp_path: Path) -> None:
    """It takes connections and says nothing: messages go on, and what changed meanwhile is taken over afterwards."""
    (folder := tmp_path / "server").mkdir()
    with running_server(folder) as server:
        migrate.ensure(server.url())
        _subscribe_by_hand(server.url(), receiver.url("/a"))
        node = make_node("one", server.url())
        node.start()
        wait_until(lambda: receiver.of("/a"), "a message")
        assert server.server.pid is not None
        with frozen(server.server.pid):
            wait_until(lambda: _gauge(node, "push_database_up") == 0.0, "the silence is seen")
            before = len(receiver.of("/a"))
            wait_until(lambda: len(receiver.of("/a")) >= before + 2, "messages meanwhile")
        wait_until(lambda: _gauge(node, "push_database_up") == 1.0, "the database again")
        with connect(server.url(), "tests", autocommit=True) as connection:
            connection.execute("UPDATE push_subscriptions SET target = %s", (receiver.url("/b"),))
        wait_until(lambda: receiver.of("/b"), "the change")
        node.drain()
    assert _rises([*receiver.of("/a"), *receiver.of("/b")])


def test_a_process_that_stood_still_makes_up_for_nothing(
    make_node: MakeNode, subscribe: Subscribe, receiver: Receiver
) -> None:
    """Stopped for longer than an interval: what was due meanwhile is skipped and takes no sequence."""
    for _ in range(9):
        subscribe(receiver.url("/a"), interval_s=3)
    node = make_node("one")
    node.start()
    wait_until(lambda: len(receiver.received) >= 9, "messages")
    os.kill(node.child.pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    wait_until(lambda: time.monotonic() - stopped_at > 5, "more than an interval")
    os.kill(node.child.pid, signal.SIGCONT)
    block = node.context.block
    wait_until(lambda: block.read_counter(PUSHER.index("push_skipped_total")) > 0, "what was skipped")
    before = len(receiver.received)
    wait_until(lambda: len(receiver.received) >= before + 9, "messages afterwards")
    node.drain()
    for number in {one.data["subscription"] for one in receiver.received}:
        sequences = sorted(one.sequence for one in receiver.received if one.data["subscription"] == number)
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences))), "no gap, and none twice"


def test_a_receiver_that_hangs_costs_the_others_nothing(
    make_node: MakeNode, subscribe: Subscribe, receiver: Receiver, database_url: str
) -> None:
    """It is told apart as failing, and its state stands in the database with the reason."""
    receiver.answer = lambda one: None if one.path == "/hangs" else HTTP_OK
    bad, _ = subscribe(receiver.url("/hangs"), interval_s=3)
    subscribe(receiver.url("/well"), interval_s=3)
    node = make_node("one")
    node.start()
    wait_until(lambda: receiver.of("/hangs"), "a try")
    before = len(receiver.of("/well"))
    wait_until(lambda: len(receiver.of("/well")) >= before + 3, "messages of the other")

    def state() -> tuple[int, str] | None:
        with connect(database_url, "tests", autocommit=True) as connection:
            row = connection.execute(
                "SELECT failures, last_error FROM push_states WHERE subscription_id = %s AND failing_since IS NOT NULL",
                (bad,),
            ).fetchone()
        return row and (row[0], row[1])

    wait_until(state, "its state")
    assert (state() or (0, ""))[1] == "timeout"
    node.drain()


def test_gone_is_the_end_and_its_owner_is_told(
    make_node: MakeNode, subscribe: Subscribe, receiver: Receiver, database_url: str
) -> None:
    """410 disables the subscription, with the event in the same transaction."""
    receiver.answer = lambda _: b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"
    number, _ = subscribe(receiver.url("/gone"), interval_s=3)
    node = make_node("one")
    node.start()

    def told() -> list[tuple[str, str]]:
        with connect(database_url, "tests", autocommit=True) as connection:
            return connection.execute(
                "SELECT state, type FROM push_subscriptions JOIN push_events ON (data ->> 'subscription')::bigint = %s "
                "WHERE push_subscriptions.id = %s",
                (number, number),
            ).fetchall()

    wait_until(lambda: told() == [("disabled", "subscription.disabled")], "the end")
    assert len(receiver.of("/gone")) == 1
    node.drain()


def _gauge(node: PushNode, name: str) -> float:
    return node.context.block.read_gauge(PUSHER.index(name))


def _subscribe_by_hand(url: str, target: str) -> None:
    with connect(url, "tests", autocommit=True) as connection:
        connection.execute(
            "WITH made AS (INSERT INTO accounts (name) VALUES ('shop') RETURNING id) "
            "INSERT INTO push_subscriptions (account_id, target, assets, interval_s, secret) "
            "SELECT id, %s, '{BTC,ETH}', 3, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' FROM made",
            (target,),
        )
