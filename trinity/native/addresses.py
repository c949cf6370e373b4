"""An address as 16 bytes in network order, held as two words: of a socket, and of a text. Pure, compiled.

IPv4 is held as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2), so that a dual-stack socket, an IPv4 socket, a proxy's
header and the operator's configuration all name a host by the same bytes. The two words are those bytes as they lie
in memory: compared and stored as they are, never counted with.
"""

import ipaddress
import socket

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.memory.atomics import Words
from trinity.native.octets import Octets, byte_at, folded, parse_integer

ADDRESS_WORDS = 2
ADDRESS_BYTES = 16
IPV4_BYTES = 4
# What the kernel writes for a peer: a sockaddr_in6 has 28 bytes.
SOCKADDR_WORDS = 4
SOCKADDR_BYTES = 8 * SOCKADDR_WORDS

_AF_INET = np.uint64(socket.AF_INET)
_AF_INET6 = np.uint64(socket.AF_INET6)
_FAMILY_MASK = np.uint64(0xFFFF)
# Bytes 8 to 15 of a mapped address: 00 00 FF FF, then the IPv4 address, which is the upper half of the word.
_MAPPED = np.uint64(0xFFFF0000)
_UPPER_HALF = np.uint64(0xFFFFFFFF00000000)
_MAPPED_AT = ADDRESS_BYTES - IPV4_BYTES

_POINT, _COLON, _OPEN, _CLOSE, _ZERO, _NINE = b".:[]09"
_SMALL_A = ord("a")
_BYTE_DIGITS_MAX, _GROUP_DIGITS_MAX, _PORT_DIGITS_MAX = 3, 4, 5


def address_words(text: str) -> Words:
    """The two words of an address that is written in a test, a configuration or a table."""
    address = ipaddress.ip_address(text)
    packed = bytes(10) + b"\xff\xff" + address.packed if address.version == 4 else address.packed
    return np.frombuffer(packed, dtype=np.uint64).copy()


@compiled_inline
def read_sockaddr(sockaddr: Words, at: int, addresses: Words, to: int) -> None:
    """Put the address of the kernel's sockaddr at word `at` to `addresses[to:]`; zeros for a family without one.

    sockaddr_in: family (2 bytes), port (2), address (4); sockaddr_in6: family (2), port (2), flow (4), address (16).
    """
    family = sockaddr[at] & _FAMILY_MASK
    if family == _AF_INET:
        addresses[to], addresses[to + 1] = np.uint64(0), _MAPPED | sockaddr[at] & _UPPER_HALF
    elif family == _AF_INET6:
        addresses[to], addresses[to + 1] = sockaddr[at + 1], sockaddr[at + 2]
    else:
        addresses[to] = addresses[to + 1] = np.uint64(0)


@compiled
def parse_address(text: Octets, start: int, end: int, octets: Octets, to: int) -> bool:
    """Read `192.0.2.7`, `2001:db8::7`, `192.0.2.7:443` or `[2001:db8::7]:443` to `octets[to:]`; False for all else."""
    if end > start and byte_at(text, start) == _OPEN:
        close = _find(text, start, end, _CLOSE)
        if close == end or not _is_port(text, close + 1, end):
            return False
        return _parse_ipv6(text, start + 1, close, octets, to)
    colon = _find(text, start, end, _COLON)
    if _find(text, colon + 1, end, _COLON) < end:
        return _parse_ipv6(text, start, end, octets, to)
    if not _is_port(text, colon, end):
        return False
    for i in range(_MAPPED_AT):
        octets[to + i] = 0xFF if i >= _MAPPED_AT - 2 else 0
    return _parse_ipv4(text, start, colon, octets, to + _MAPPED_AT)


@compiled
def _find(text: Octets, start: int, end: int, byte: int) -> int:
    at = start
    while at < end and byte_at(text, at) != byte:
        at += 1
    return min(at, end)


@compiled
def _is_port(text: Octets, start: int, end: int) -> bool:
    """Whether this is nothing, or a colon and up to five digits."""
    if start == end:
        return True
    digits = end - start - 1
    return byte_at(text, start) == _COLON and digits <= _PORT_DIGITS_MAX and parse_integer(text, start + 1, end) >= 0


@compiled
def _parse_ipv4(text: Octets, start: int, end: int, octets: Octets, to: int) -> bool:
    """Four decimal bytes without leading zeros."""
    for i in range(IPV4_BYTES):
        part_end = _find(text, start, end, _POINT)
        digits = part_end - start
        value = parse_integer(text, start, part_end)
        last = i == IPV4_BYTES - 1
        if value < 0 or value > 0xFF or digits > _BYTE_DIGITS_MAX or (part_end == end) != last:
            return False
        if digits > 1 and byte_at(text, start) == _ZERO:
            return False
        octets[to + i] = value
        start = part_end + 1
    return True


@compiled
def _parse_ipv6(text: Octets, start: int, end: int, octets: Octets, to: int) -> bool:
    """RFC 4291, section 2.2: eight groups, `::` once for zeros, an IPv4 address in the place of the last two."""
    at, count, gap = start, 0, -1  # bytes written so far, and how many of them stand before the `::`
    if end - start >= 2 and byte_at(text, start) == _COLON and byte_at(text, start + 1) == _COLON:
        at, gap = start + 2, 0
    while at < end or at == start:
        group_end = _find(text, at, end, _COLON)
        if _find(text, at, group_end, _POINT) < group_end:
            if group_end < end or count > _MAPPED_AT or not _parse_ipv4(text, at, end, octets, to + count):
                return False
            count += IPV4_BYTES
            break
        value = _group_value(text, at, group_end)
        if value < 0 or count == ADDRESS_BYTES:
            return False
        octets[to + count], octets[to + count + 1] = value >> 8, value & 0xFF
        count += 2
        at = group_end + 1
        if at == end:
            return False  # a colon and nothing behind it
        if at < end and byte_at(text, at) == _COLON:
            if gap >= 0:
                return False
            gap = count
            at += 1
    if gap < 0 or count == ADDRESS_BYTES:
        return gap < 0 and count == ADDRESS_BYTES
    for i in range(count - gap):
        octets[to + ADDRESS_BYTES - 1 - i] = octets[to + count - 1 - i]
    for i in range(gap, ADDRESS_BYTES - (count - gap)):
        octets[to + i] = 0
    return True


@compiled
def _group_value(text: Octets, start: int, end: int) -> int:
    """One to four hexadecimal digits; -1 for all else."""
    if end == start or end - start > _GROUP_DIGITS_MAX:
        return -1
    value = 0
    for i in range(start, end):
        byte = byte_at(text, i)
        digit = byte - _ZERO if _ZERO <= byte <= _NINE else folded(byte) - _SMALL_A + 10
        if digit < 0 or digit > 15 or (digit < 10) != (_ZERO <= byte <= _NINE):
            return -1
        value = value << 4 | digit
    return value
