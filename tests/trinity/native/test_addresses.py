"""Addresses of sockets and in texts, against the standard library's reading of them."""

import ipaddress
import socket
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.native.addresses import SOCKADDR_WORDS, address_words, parse_address, read_sockaddr
from trinity.native.octets import octets_of

pytestmark = pytest.mark.uncompiled


def parse(text: bytes) -> str | None:
    """The address in `text` as the standard library writes it; it lies in the middle of a larger buffer."""
    buffer, address = octets_of(b"1" + text + b"1"), np.full(22, 0xEE, dtype=np.uint8)
    if not parse_address(buffer, 1, 1 + len(text), address, 3):
        return None
    assert set(address[:3]) == set(address[19:]) == {0xEE}
    return shown(address[3:19].tobytes())


def shown(packed: bytes) -> str:
    found = ipaddress.IPv6Address(packed)
    return str(found.ipv4_mapped or found)


def expected(text: str) -> str | None:
    """What the standard library says of an address without a port."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return None if found.scope_id else shown(found.packed)
    return str(found)


def sockaddr(text: str) -> np.ndarray:
    """The kernel's bytes for an address, behind one other sockaddr."""
    address = ipaddress.ip_address(text)
    if address.version == 4:
        raw = struct.pack("=H", socket.AF_INET) + struct.pack(">H", 4711) + address.packed + b"\xee" * 24
    else:
        raw = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", 4711, 9) + address.packed + b"\xee" * 8
    return np.frombuffer(b"\xee" * 8 * SOCKADDR_WORDS + raw, dtype=np.uint64).copy()


@pytest.mark.parametrize("text", ["192.0.2.7", "0.0.0.0", "255.255.255.255", "::1", "2001:db8::1:2", "::ffff:10.1.2.3"])
def test_a_socket_address_is_read_as_16_bytes(text: str) -> None:
    """An IPv4 address is the same whether an IPv4 or a dual-stack socket reports it."""
    address = np.full(2, 7, dtype=np.uint64)
    read_sockaddr(sockaddr(text), SOCKADDR_WORDS, address, 0)
    assert address.tolist() == address_words(text).tolist()
    assert shown(address.tobytes()) == expected(text)


def test_a_socket_of_another_family_has_no_address() -> None:
    """A Unix socket counts as the address zero."""
    address = np.full(2, 7, dtype=np.uint64)
    read_sockaddr(np.full(4, socket.AF_UNIX, dtype=np.uint64), 0, address, 0)
    assert address.tolist() == [0, 0]


@settings(max_examples=300)
@given(st.one_of(st.ip_addresses(), st.integers(0, 2**32 - 1).map(lambda n: ipaddress.ip_address("::ffff:0:0") + n)))
def test_every_address_is_read_in_each_of_its_spellings(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Short, long, in capitals, with a port, in brackets."""
    wanted = expected(str(address))
    if address.version == 4:
        spellings = [str(address), f"{address}:80", f"{address}:65535"]
    else:
        spellings = [str(address), address.exploded, str(address).upper(), f"[{address}]", f"[{address.exploded}]:443"]
    for text in spellings:
        assert parse(text.encode()) == wanted, text


@settings(max_examples=500)
@given(st.one_of(st.text("0123456789abcdefAFg:.[]% -", max_size=24), st.text("01:.", max_size=16)))
def test_what_the_standard_library_refuses_is_refused(text: str) -> None:
    """Texts of an address's own letters: exactly the library's addresses are read, and those with a port."""
    bare = text
    if text.startswith("[") and "]" in text:
        bare, _, port = text[1:].partition("]")
        if ":" not in bare or (port and not _is_port(port)):
            assert parse(text.encode()) is None
            return
    elif text.count(":") == 1:
        bare, _, port = text.partition(":")
        if not _is_port(":" + port):
            assert parse(text.encode()) is None
            return
    assert parse(text.encode()) == expected(bare)


def _is_port(text: str) -> bool:
    return text[0] == ":" and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"unknown", b"_hidden", b"1.2.3", b"1.2.3.4.5", b"1.2.3.256", b"01.2.3.4", b"1.2.3.4 ", b"1.2.3.4:",
     b"1.2.3.4:x", b"1.2.3.4:123456", b":80", b"[::1", b"::1]", b"[::1]x", b"[]", b"[1.2.3.4]", b"1:2:3:4:5:6:7",
     b"1:2:3:4:5:6:7:8:9", b"1::2::3", b":::", b"12345::", b"::1%eth0", b"::1.2.3", b"\xff\xff", b"1.2.3.\xb2",
     b"1" * 400, b":" * 400, b"1:" * 200],
)  # fmt: skip
def test_no_address_is_no_address(text: bytes) -> None:
    """Neither words nor half addresses nor bytes that only look like digits."""
    assert parse(text) is None
