"""trinity/access/blocks.py, on a real PostgreSQL"""

import datetime
from collections.abc import Iterator

import psycopg
import pytest

from trinity.access import blocks
from trinity.access.keys import Connection
from trinity.access.networks import parse_network, protected_networks
from trinity.errors import RefusedError

HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connected:
        yield connected


def block(
    connection: Connection, text: str, duration: datetime.timedelta | None = None, most: int = 10
) -> blocks.Block:
    protected = protected_networks(["198.51.100.7"])
    return blocks.block(connection, parse_network(text), "why", duration, protected, most)


def test_networks_of_both_families_are_blocked_listed_and_unblocked(connection: Connection) -> None:
    """Each by the network that its text means."""
    for text in ("203.0.113.7", "::ffff:203.0.113.8", "2001:db8::1"):
        block(connection, text)
    listed = [entry.network for entry in blocks.list_blocks(connection)]
    assert listed == ["203.0.113.7/32", "203.0.113.8/32", "2001:db8::/64"]
    assert blocks.unblock(connection, parse_network("2001:db8::99")) == (True, [])
    assert blocks.unblock(connection, parse_network("2001:db8::99")) == (False, [])
    assert len(blocks.list_blocks(connection)) == 2


def test_what_plain_sql_blocked_under_another_name_is_unblocked_by_the_usual_one(connection: Connection) -> None:
    """Nodes enforce a single IPv6 address as its /64 and a mapped address as IPv4: so they are taken away."""
    connection.execute(
        "INSERT INTO blocks (network) VALUES ('2001:db8::7/128'), ('2001:db8::8/128'), ('2001:db8:0:1::/64'),"
        " ('2001:db8::/48'), ('::ffff:203.0.113.0/120'), ('203.0.113.7/32')"
    )
    assert blocks.unblock(connection, parse_network("2001:db8::9")) == (True, ["2001:db8::/48"])
    assert blocks.unblock(connection, parse_network("203.0.113.0/24")) == (True, [])
    left = [entry.network for entry in blocks.list_blocks(connection)]
    assert left == ["203.0.113.7/32", "2001:db8::/48", "2001:db8:0:1::/64"]


@pytest.mark.parametrize("end", ["infinity", "20000-01-01"])
def test_a_block_whose_end_is_beyond_all_calendars_has_none(connection: Connection, end: str) -> None:
    """Written by plain SQL, it can be listed."""
    connection.execute("INSERT INTO blocks (network, expires_at) VALUES ('203.0.113.7/32', %s)", [end])
    assert [entry.expires_at for entry in blocks.list_blocks(connection)] == [None]


def test_blocking_again_renews_the_end(connection: Connection) -> None:
    """One network, one block."""
    assert block(connection, "203.0.113.7").expires_at is None
    ended = block(connection, "203.0.113.7", HOUR)
    assert ended.expires_at is not None
    assert len(blocks.list_blocks(connection)) == 1


def test_an_ended_block_is_none(connection: Connection) -> None:
    """It is not listed, and makes room for others."""
    block(connection, "203.0.113.7", HOUR, most=1)
    connection.execute("UPDATE blocks SET expires_at = now() - interval '1 s'")
    assert blocks.list_blocks(connection) == []
    assert block(connection, "203.0.113.8", most=1).network == "203.0.113.8/32"


def test_what_is_protected_is_never_blocked(connection: Connection) -> None:
    """Loopback, trusted proxies, and whatever holds them; the error says which."""
    for text in ("127.0.0.1", "0.0.0.0/0", "::/0", "198.51.100.7", "198.51.100.0/24"):
        with pytest.raises(RefusedError, match="never blocked"):
            block(connection, text)
    assert blocks.list_blocks(connection) == []


def test_the_number_of_blocks_is_bounded(connection: Connection) -> None:
    """One more is refused, and not half inserted; renewing one is possible."""
    block(connection, "203.0.113.1", most=2)
    block(connection, "203.0.113.2", most=2)
    with pytest.raises(RefusedError, match="the limit"):
        block(connection, "203.0.113.3", most=2)
    block(connection, "203.0.113.2", HOUR, most=2)
    assert len(blocks.list_blocks(connection)) == 2


def test_unblocking_names_the_wider_blocks_that_remain(connection: Connection) -> None:
    """An address that stays blocked by its network is not said to be free."""
    block(connection, "203.0.113.0/24")
    block(connection, "203.0.113.7")
    assert blocks.unblock(connection, parse_network("203.0.113.7")) == (True, ["203.0.113.0/24"])
