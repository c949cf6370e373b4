"""workers/access/tables.py"""

import ipaddress
import logging
from pathlib import Path

import numpy as np
import pytest

from tests.support.contexts import OpenContext
from tests.workers.access.conftest import KEYS_MAX, WALL_NS
from tests.workers.access.test_cache import make_cache, make_rows
from trinity.access import networks
from trinity.limits import BLOCKS_MAX
from trinity.memory.block_table import BlockTable, is_blocked
from trinity.memory.key_table import KeyTable
from workers.access.rows import ACTIVE, END_NEVER, REVOKED, SUSPENDED, BlockRow
from workers.access.tables import Tables

NOW_US = WALL_NS // 1000


def make_tables(context: OpenContext, *trusted_proxies: str) -> Tables:
    return Tables(context.tables.keys, context.tables.blocks, trusted_proxies, context.log)


def blocked(context: OpenContext, address: str) -> bool:
    """Whether a worker would refuse this address."""
    raw = ipaddress.ip_address(address).packed
    mapped = raw if len(raw) == 16 else bytes(10) + b"\xff\xff" + raw
    return bool(is_blocked(context.tables.blocks.words, np.frombuffer(mapped, dtype=np.uint64)))


def forever(*networks: str) -> list[BlockRow]:
    return [BlockRow(network, END_NEVER) for network in networks]


def test_keys_are_written_as_they_are_granted(context: OpenContext) -> None:
    """States arrive in shared memory; the same again changes nothing."""
    tables, cache = make_tables(context), make_cache(make_rows(1, 2), make_rows(3, state=SUSPENDED))
    ids = np.array([1, 2, 3])
    assert tables.write_keys(cache, ids, NOW_US) == 3
    assert tables.write_keys(cache, ids, NOW_US) == 0
    assert context.tables.keys.states()[:4].tolist() == [0, ACTIVE, ACTIVE, SUSPENDED]


@pytest.mark.parametrize("known", [True, False])
def test_a_machine_that_hides_its_addresses_says_so(
    context: OpenContext, known: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own IPv4 addresses are not protected then: the operator must know."""
    if not known:
        monkeypatch.setattr(networks, "_IPV4_ADDRESSES", tmp_path / "none")
    make_tables(context)
    assert ("hides its IPv4 addresses" in caplog.text) != known


def test_keys_that_the_database_does_not_have_are_revoked(context: OpenContext) -> None:
    """What a former life wrote is no longer good."""
    make_tables(context).write_keys(make_cache(make_rows(1, 2)), np.array([1, 2]), NOW_US)
    assert make_tables(context).revoke_others(make_cache(make_rows(2))) == 1
    assert context.tables.keys.states()[1:3].tolist() == [REVOKED, ACTIVE]


def test_an_index_that_is_used_up_is_reported(context: OpenContext, caplog: pytest.LogCaptureFixture) -> None:
    """Digests that change again and again end in an error in the log, not in a dead process."""
    tables = Tables(KeyTable.private(1), BlockTable.private(), (), context.log)
    for number in range(20):
        rows = make_rows(1)
        rows["digest"] = number
        tables.write_keys(make_cache(rows), np.array([1]), NOW_US)
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_networks_are_blocked_and_lifted(context: OpenContext) -> None:
    """Of both families; the changes are counted."""
    tables = make_tables(context)
    assert tables.write_blocks(forever("203.0.113.0/24", "2001:db8::/64"), NOW_US) == 2
    assert blocked(context, "203.0.113.9")
    assert blocked(context, "2001:db8::9")
    assert tables.write_blocks(forever("2001:db8::/64"), NOW_US) == 1
    assert not blocked(context, "203.0.113.9")
    assert tables.write_blocks(forever("2001:db8::/64"), NOW_US) == 0
    assert tables.blocked_count == 1


def test_an_ended_block_is_lifted(context: OpenContext) -> None:
    """At its end, not before."""
    tables, block = make_tables(context), BlockRow("203.0.113.0/24", NOW_US + 1)
    tables.write_blocks([block], NOW_US)
    assert blocked(context, "203.0.113.9")
    tables.write_blocks([block], NOW_US + 1)
    assert not blocked(context, "203.0.113.9")


def test_protected_networks_are_left_out_and_reported(context: OpenContext, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever put them into the database; the other blocks hold."""
    tables = make_tables(context, "198.51.100.7")
    tables.write_blocks(forever("127.0.0.0/8", "198.51.100.0/24", "0.0.0.0/0", "203.0.113.0/24"), NOW_US)
    assert not blocked(context, "127.0.0.1")
    assert not blocked(context, "198.51.100.7")
    assert not blocked(context, "192.0.2.1")
    assert blocked(context, "203.0.113.9")
    assert (tables.blocked_count, tables.refused_count) == (1, 3)
    assert "blocks are not applied" in caplog.text


def test_blocks_beyond_the_room_are_left_out(context: OpenContext) -> None:
    """The first of the list, the newest, hold."""
    networks = [f"10.{n >> 8}.{n & 255}.0/25" for n in range(BLOCKS_MAX + 2)]
    tables = make_tables(context)
    tables.write_blocks(forever(*networks), NOW_US)
    assert (tables.blocked_count, tables.refused_count) == (BLOCKS_MAX, 2)
    assert blocked(context, "10.0.0.1")
    assert not blocked(context, networks[-1].removesuffix("/25"))


def test_ids_are_within_the_room(context: OpenContext) -> None:
    """The table of the tests has the size that they believe."""
    assert context.tables.keys.keys_max == KEYS_MAX
