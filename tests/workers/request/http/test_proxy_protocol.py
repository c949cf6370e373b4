"""PROXY protocol headers of version 2: whole, in parts, with extensions, and what only looks like one."""

import ipaddress
import socket
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.native.addresses import address_words
from trinity.native.octets import octets_of
from workers.request.http.proxy_protocol import HEADER_BYTES_MAX, MALFORMED, NEED_MORE, parse_proxy_header

pytestmark = pytest.mark.uncompiled

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
OWN = "192.0.2.99"
LOCAL, PROXY = 0x20, 0x21


def header(command: int = PROXY, family: int = 0x11, rest: bytes | None = None) -> bytes:
    """A header; without `rest` of 203.0.113.9 to 10.0.0.1."""
    body = _addresses("203.0.113.9", "10.0.0.1") if rest is None else rest
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(body)) + body


def _addresses(source: str, destination: str) -> bytes:
    packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return packed + struct.pack(">HH", 56324, 443)


def parse(raw: bytes) -> tuple[int, str]:
    """The outcome and the client's address, which was that of the connection before."""
    buffer, client = octets_of(b"??" + raw), address_words(OWN)
    addresses = np.concatenate([np.zeros(2, dtype=np.uint64), client])
    length = parse_proxy_header(buffer, 2, buffer.size, addresses.view(np.uint8), 16)
    found = ipaddress.IPv6Address(addresses[2:].tobytes())
    return int(length), str(found.ipv4_mapped or found)


@settings(max_examples=200)
@given(address=st.ip_addresses(), tlvs=st.binary(max_size=300), behind=st.binary(max_size=20))
def test_the_client_is_the_source_address_and_extensions_are_skipped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, tlvs: bytes, behind: bytes
) -> None:
    """Both families; the request begins behind the header."""
    other = "10.0.0.1" if address.version == 4 else "fd00::1"
    raw = header(PROXY, 0x11 if address.version == 4 else 0x21, _addresses(str(address), other) + tlvs)
    mapped = getattr(address, "ipv4_mapped", None)
    assert parse(raw + behind) == (len(raw), str(mapped or address))


@pytest.mark.parametrize(
    "raw",
    [
        header(LOCAL, 0x00, b""),
        header(LOCAL, 0x11),
        header(LOCAL, 0x00, b"\x04\x00\x01x"),
        header(PROXY, 0x00, b""),
        header(PROXY, 0x00, b"anything"),
        header(PROXY, 0x12),
        header(PROXY, 0x31, bytes(216)),
        header(PROXY, 0x10),
    ],
)
def test_a_health_check_and_what_has_no_ip_stream_keep_the_connections_own_address(raw: bytes) -> None:
    """LOCAL, UNSPEC, Unix sockets and datagrams: valid, and no client is named."""
    assert parse(raw) == (len(raw), OWN)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n",
        b"\r\n\r\nGET",
        SIGNATURE[:11] + b"\r",
        SIGNATURE + b"\x11",
        SIGNATURE + b"\x22",
        header(0x2F),
        header(PROXY, 0x41),
        header(PROXY, 0x13),
        header(PROXY, 0x11, bytes(11)),
        header(PROXY, 0x21, bytes(35)),
        SIGNATURE + b"\x21\x11\xff\xff",
        header(PROXY, 0x11, bytes(HEADER_BYTES_MAX)),
    ],
)
def test_what_cannot_be_a_header_is_malformed(raw: bytes) -> None:
    """Requests without a header, the text version, open values, addresses that are cut, lengths beyond all sense."""
    assert parse(raw) == (MALFORMED, OWN)


@pytest.mark.parametrize("raw", [header(), header(LOCAL, 0, b""), header(PROXY, 0x21, bytes(60))])
def test_a_header_may_come_in_any_parts(raw: bytes) -> None:
    """Every part of it asks for more and changes nothing."""
    for length in range(len(raw)):
        assert parse(raw[:length]) == (NEED_MORE, OWN)
    assert parse(raw)[0] == len(raw)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=80), st.tuples(st.integers(0, 27), st.integers(0, 255)).map(
    lambda change: header()[: change[0]] + bytes([change[1]]) + header()[change[0] + 1 :])))  # fmt: skip
def test_no_bytes_raise(raw: bytes) -> None:
    """Noise and single wrong bytes give one of the three outcomes, never a length beyond what is there."""
    length, _ = parse(raw)
    assert length in (MALFORMED, NEED_MORE) or 16 <= length <= len(raw)


def test_the_families_are_those_of_the_standard_library_addresses() -> None:
    """The example of the specification, byte by byte: 255.255.255.255 to itself."""
    raw = header(PROXY, 0x11, socket.inet_aton("255.255.255.255") * 2 + bytes(4))
    assert parse(raw) == (28, "255.255.255.255")
