"""The PROXY protocol, version 2: the header by which a TCP load balancer names its client. Pure, compiled.

    0   12  signature 0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A
    12   1  version 2 in the upper half; command in the lower: 0 LOCAL, 1 PROXY
    13   1  family in the upper half: 1 IPv4, 2 IPv6; transport in the lower: 1 stream
    14   2  length of what follows, big-endian
    16      source address, destination address, source port, destination port; then TLVs, which are skipped

Rules (HAProxy's specification, section 2.2): the header is the first thing on the connection, whole or in parts. LOCAL
(the balancer's own health check) and families without an IP address leave the connection's own address as it is.
Anything that cannot be a header is malformed, as early as it shows; so are values that the specification leaves open.
"""

from trinity.compiled import compiled
from trinity.native.addresses import ADDRESS_BYTES, IPV4_BYTES
from trinity.native.octets import Octets, append_octets, append_slice, byte_at, octets_of

# Two IPv6 addresses and ports are 52 bytes; HAProxy's TLVs (certificate names, unique id) some hundred.
HEADER_BYTES_MAX = 2048

NEED_MORE, MALFORMED = 0, -1

_SIGNATURE = octets_of(b"\r\n\r\n\0\r\nQUIT\n")
_COMMAND_AT, _FAMILY_AT, _LENGTH_AT, _ADDRESSES_AT = 12, 13, 14, 16
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_TCP4_BYTES, _TCP6_BYTES = 12, 36
_FAMILY_MAX, _TRANSPORT_MAX = 3, 2  # UNSPEC, IPv4, IPv6, UNIX; UNSPEC, stream, datagram
_MAPPED_PREFIX = octets_of(bytes(10) + b"\xff\xff")
assert _MAPPED_PREFIX.size + IPV4_BYTES == ADDRESS_BYTES


@compiled
def parse_proxy_header(buffer: Octets, start: int, end: int, address: Octets, to: int) -> int:
    """Length of the header at `buffer[start:end]`, NEED_MORE or MALFORMED.

    If it names a client, its 16 bytes replace those at `address[to:]`.
    """
    for i in range(min(_SIGNATURE.size, end - start)):
        if byte_at(buffer, start + i) != byte_at(_SIGNATURE, i):
            return MALFORMED
    if end - start > _COMMAND_AT and not _LOCAL <= byte_at(buffer, start + _COMMAND_AT) <= _PROXY:
        return MALFORMED
    if end - start < _ADDRESSES_AT:
        return NEED_MORE
    family = byte_at(buffer, start + _FAMILY_AT)
    length: int = _ADDRESSES_AT + (byte_at(buffer, start + _LENGTH_AT) << 8 | byte_at(buffer, start + _LENGTH_AT + 1))
    if family >> 4 > _FAMILY_MAX or family & 0xF > _TRANSPORT_MAX or length > HEADER_BYTES_MAX:
        return MALFORMED
    names_client = byte_at(buffer, start + _COMMAND_AT) == _PROXY and family in (_TCP4, _TCP6)
    if names_client and length < _ADDRESSES_AT + (_TCP4_BYTES if family == _TCP4 else _TCP6_BYTES):
        return MALFORMED
    if end - start < length:
        return NEED_MORE
    if names_client:
        if family == _TCP4:
            to = append_octets(_MAPPED_PREFIX, address, to)
            append_slice(buffer, start + _ADDRESSES_AT, IPV4_BYTES, address, to)
        else:
            append_slice(buffer, start + _ADDRESSES_AT, ADDRESS_BYTES, address, to)
    return length
