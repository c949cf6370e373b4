"""Room in a real Valkey: test_job.py has a run that finds none."""

from tests.support.valkey_server import ValkeyCluster, ValkeyServer
from trinity.sync.entries import Commands, Vocabulary, command
from trinity.sync.room import SHARE_MAX, Room
from trinity.sync.wire import Bulk


def test_without_a_bound_there_is_always_room_and_with_one_as_much_as_it_says(valkey_server: ValkeyServer) -> None:
    """A part of it is the others'; a refusal counts as none, once."""
    bulk = Bulk(valkey_server.settings)
    room = Room(bulk)
    assert room.has_room(10**9)
    with valkey_server.admin() as client:
        client.config_set("maxmemory", int(int(client.info("memory")["used_memory"]) / SHARE_MAX) + 1_000_000)
    assert room.has_room(100)
    assert not room.has_room(10**6)
    room.is_refused = True
    assert not room.has_room(1)
    assert room.has_room(1)
    bulk.close()


def test_the_oldest_go_and_everything_goes_when_it_is_another_s(valkey_server: ValkeyServer) -> None:
    """Out of all sets, with their entries."""
    bulk = Bulk(valkey_server.settings)
    room, known = Room(bulk), Vocabulary({1: "BTC"}, {1: "ab"})
    assert room.cut(5) is None
    sets = ("usage_logs:index", "usage_logs:api_key:ab", "usage_logs:asset:BTC")
    for number in range(3000):
        entry = command("HSET", f"usage_log:{number}", "time", "x")
        bulk.send([Commands(b"usage_log:", entry, 1)])
    members = [word for number in range(3000) for word in (number, str(number))]
    bulk.send(Commands(name.encode(), command("ZADD", name, *members), 1) for name in sets)
    assert room.cut(10) == 999
    assert room.remove_before(1000, known) == 1000
    with valkey_server.admin() as client:
        assert [client.zcard(name) for name in sets] == [2000] * 3
        assert client.dbsize() == 2003
        client.set("report_usage:1", "x")
        client.set("price:BTC", "x")
        room.remove_all()
        assert client.keys() == [b"price:BTC"]
    bulk.close()


def test_each_server_of_a_cluster_has_a_tag(valkey_cluster: ValkeyCluster) -> None:
    """One alone needs none."""
    bulk = Bulk(valkey_cluster.settings)
    tags = Room(bulk).tags()
    assert {bulk.place_of(f"sync:mark:{{{tag}}}") for tag in tags} == {0, 1, 2}
    bulk.close()
