"""trinity/memory/block_table.py"""

import ipaddress
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import BlocksFullError
from trinity.limits import BLOCKS_MAX
from trinity.memory import block_table
from trinity.memory.block_table import BlockTable, Network, is_blocked, merged_ranges
from trinity.memory.cell import READ_TRIES_MAX

IPV4 = st.builds(
    lambda bits, prefix: ipaddress.IPv4Network((bits, prefix), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
IPV6 = st.builds(
    lambda bits, prefix: ipaddress.IPv6Network((bits, prefix), strict=False),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
)
NETWORKS = st.lists(IPV4 | IPV6, max_size=12)


def mapped(address: int | str) -> ipaddress.IPv6Address:
    """The address as the request path has it."""
    found = ipaddress.ip_address(address)
    return found if found.version == 6 else ipaddress.IPv6Address(f"::ffff:{found}")


def blocked(table: BlockTable, address: ipaddress.IPv6Address) -> bool:
    return bool(is_blocked(table.words, np.frombuffer(address.packed, dtype=np.uint64).copy()))


def edges(network: Network) -> list[ipaddress.IPv6Address]:
    """Both ends of a network, and their neighbours outside."""
    first, last = int(mapped(str(network[0]))), int(mapped(str(network[-1])))
    return [ipaddress.IPv6Address(n) for n in (first - 1, first, last, last + 1) if 0 <= n < 2**128]


def is_in(address: ipaddress.IPv6Address, network: Network) -> bool:
    """The slow truth of the standard library."""
    if network.version == 6:
        return address in network
    return address.ipv4_mapped is not None and address.ipv4_mapped in network


@pytest.mark.uncompiled
@given(NETWORKS, st.lists(st.integers(0, 2**128 - 1), max_size=5))
def test_an_address_is_blocked_when_a_network_holds_it(networks: list[Network], others: list[int]) -> None:
    """As the standard library says, at every edge of every network and anywhere else."""
    table = BlockTable.private()
    table.write(networks)
    for address in [*(edge for network in networks for edge in edges(network)), *map(ipaddress.IPv6Address, others)]:
        assert blocked(table, address) == any(is_in(address, network) for network in networks)


@given(NETWORKS)
def test_ranges_are_sorted_and_apart(networks: list[Network]) -> None:
    """A search may stop at one range: none overlaps or touches the next."""
    ranges = merged_ranges(networks)
    assert all(first <= last for first, last in ranges)
    assert all(last + 1 < first for (_, last), (first, _) in itertools.pairwise(ranges))


@pytest.mark.uncompiled
def test_a_new_list_replaces_the_old_one_whole() -> None:
    """What is not in the newest list is not blocked any more; an empty list blocks nobody."""
    table = BlockTable.private()
    one, two = ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32")
    assert table.write([one]) == 1
    assert blocked(table, mapped("192.0.2.77"))
    assert table.write([two]) == 1
    assert not blocked(table, mapped("192.0.2.77"))
    assert blocked(table, mapped("2001:db8::1"))
    assert table.write([]) == 0
    assert not blocked(table, mapped("2001:db8::1"))


def test_more_than_fit_are_refused_and_the_list_before_stays() -> None:
    """BLOCKS_MAX ranges fit; one more is a typed error, and nobody is let in by it."""
    table = BlockTable.private()
    networks = [ipaddress.ip_network((2 * n, 32)) for n in range(BLOCKS_MAX)]
    assert table.write(networks) == BLOCKS_MAX
    with pytest.raises(BlocksFullError):
        table.write([*networks, ipaddress.ip_network("255.0.0.0/8")])
    assert blocked(table, mapped("0.0.0.2"))
    assert not blocked(table, mapped("0.0.0.3"))
    assert table.write([*networks, ipaddress.ip_network("0.0.0.3/32")]) == BLOCKS_MAX - 1, "neighbours are merged"


def test_a_reader_that_lost_every_race_takes_the_address_for_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that changes during every search says nothing of an address, and nothing is not a permission."""
    generations = itertools.count(2)
    monkeypatch.setattr(block_table, "load_acquire", lambda *_: np.uint64(next(generations)))
    search = getattr(is_blocked, "py_func", is_blocked)
    address = np.frombuffer(mapped("192.0.2.1").packed, dtype=np.uint64).copy()
    assert search(BlockTable.private().words, address)
    assert next(generations) > 2 * READ_TRIES_MAX, "it tried as often as it may"
