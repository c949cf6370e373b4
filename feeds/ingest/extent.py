"""Where a WebSocket frame ends in the bytes of a stream (RFC 6455, 5.2), compiled. Pure."""

from trinity.compiled import compiled
from trinity.limits import FRAME_BYTES_MAX
from trinity.native.octets import Octets, byte_at

_TEXT_MESSAGE, _BINARY_MESSAGE = 0x81, 0x82
_FIN, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_LAST_DATA_OPCODE, _FIRST_CONTROL_OPCODE, _LAST_CONTROL_OPCODE = 2, 8, 10
# A length up to 125 stands in the second byte; these two say that it stands in the next 2 or 8 bytes.
_LENGTH_IN_2, _LENGTH_IN_8 = 126, 127
WRONG = -1


@compiled
def extent_of(octets: Octets, at: int, size: int) -> tuple[int, int]:
    """Where the payload of the frame at `at` begins and ends; the end is behind `size` while not all of it is there.

    A frame that no server may send, or that is too large, begins at WRONG and has everything.
    """
    if size - at < 2:
        return at, size + 1
    head, length, start = byte_at(octets, at), byte_at(octets, at + 1), at + 2
    if length & _MASKED or (not is_message(head) and _is_wrong(head, length)):
        return WRONG, size
    if length >= _LENGTH_IN_2:
        start += 2 if length == _LENGTH_IN_2 else 8
        if start > size:
            return at, size + 1
        length = 0
        for i in range(at + 2, start):
            length = min(length << 8 | byte_at(octets, i), FRAME_BYTES_MAX + 1)
    return (start, start + length) if length <= FRAME_BYTES_MAX else (WRONG, size)


@compiled
def is_message(head: int) -> bool:
    """Whether a frame that begins with this byte is a message, whole, text or binary, without an extension's bits."""
    return _TEXT_MESSAGE <= head <= _BINARY_MESSAGE


@compiled
def _is_wrong(head: int, length: int) -> bool:
    opcode = head & ~(_FIN | _RESERVED)
    is_control = _FIRST_CONTROL_OPCODE <= opcode <= _LAST_CONTROL_OPCODE and head & _FIN != 0 and length < _LENGTH_IN_2
    return head & _RESERVED != 0 or not (is_control or opcode <= _LAST_DATA_OPCODE)
