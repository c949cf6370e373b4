"""Bulk bytes to real servers: all replies are waited for, and a refusal is found among them."""

import numpy as np
import pytest
from valkey.crc import key_slot

from tests.support.valkey_server import ValkeyCluster, ValkeyServer
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.sync import wire
from trinity.sync.entries import Commands, command
from trinity.sync.wire import Bulk, slots_of


def _set(name: str, value: str = "x") -> Commands:
    return Commands(name.encode(), command("SET", name, value), 1)


def test_more_than_the_sockets_take_arrives(valkey_server: ValkeyServer) -> None:
    """Far more replies than are let wait."""
    bulk = Bulk(valkey_server.settings)
    bulk.send(_set(f"usage_log:{number}") for number in range(30_000))
    with valkey_server.admin() as client:
        assert client.dbsize() == 30_000
    bulk.close()


def test_a_user_over_tls_is_served_and_a_stranger_is_not(valkey_tls: ValkeyServer) -> None:
    """With one more authority; without it the certificate is refused."""
    bulk = Bulk(valkey_tls.settings)
    bulk.send([_set("usage_log:1")])
    bulk.close()
    with pytest.raises(CacheUnavailableError):
        Bulk(valkey_tls.settings._replace(ca_file="")).send([_set("usage_log:1")])


def test_a_refusal_in_the_middle_is_told_after_all_replies(valkey_server: ValkeyServer) -> None:
    """And the link goes on."""
    bulk = Bulk(valkey_server.settings)
    with pytest.raises(CacheReplyError) as refused:
        bulk.send([_set("a"), Commands(b"a", command("HSET", "a", "b", "c"), 1), _set("b")])
    assert refused.value.code == "WRONGTYPE"
    bulk.send([_set("c")])
    with valkey_server.admin() as client:
        assert client.dbsize() == 3
    bulk.close()


def test_a_server_that_is_silent_or_gone_is_given_up(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time, with the same error."""
    monkeypatch.setattr(wire, "SILENCE_SECONDS", 0.5)
    bulk = Bulk(valkey_server.settings)
    bulk.send([_set("a")])
    valkey_server.pause()
    with pytest.raises(CacheUnavailableError, match="no answer"):
        bulk.send([_set("a")])
    valkey_server.resume()
    valkey_server.kill()
    with pytest.raises(CacheUnavailableError):
        bulk.links[0].ask("PING")
    bulk.close()


def test_names_go_to_the_server_of_their_slot(valkey_cluster: ValkeyCluster) -> None:
    """By the slots that valkey-py reckons, all at once."""
    names = [f"usage_log:{number:036}" for number in range(500)]
    table = np.array([list(name.encode()) for name in names], dtype=np.uint8)
    assert slots_of(table).tolist() == [key_slot(name.encode()) for name in names]
    bulk = Bulk(valkey_cluster.settings)
    bulk.send(_set(name) for name in names)
    found = 0
    for server in valkey_cluster.servers[:3]:
        with server.admin() as client:
            found += client.dbsize()
    assert found >= 500
    bulk.close()
