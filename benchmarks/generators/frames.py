"""The binary UDP protocol as a client sees it (docs/protocol.md): request frames made, reply frames checked. Pure.

It knows nothing of the server's code: a mistake that both made alike would otherwise go unseen.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from benchmarks.generators import checks
from benchmarks.generators.checks import Bytes, Ints
from trinity.compiled import compiled

ASSETS_MAX = 64
HEADER_BYTES = 24
NAME_BYTES = 16
RECORD_BYTES = 22
AGE_NONE = 2**32 - 1

_ID_AT, _TIME_AT = 8, 16
_AGE_AT, _EXPONENT_AT, _STATUS_AT, _SOURCES_AT = 12, 16, 18, 19
_REPLY_START = np.frombuffer(b"\xd7TRA\x01\x00", dtype=np.uint8)  # magic, version 1, status: ok
_MAGIC_BYTES = 4
# An asset's price does not double within a run: one that seems to is another asset's.
JUMP_MAX = 2.0
# A price's time goes back when its median passes to a source with an older quote, but by no more than quotes may be
# old; above it, a record's time is a sum of three numbers that were each cut to whole milliseconds.
BACK_MS_MAX = 30_000 + 3


class FrameMemory:
    """Time and price that each asset had in the last good frame."""

    def __init__(self, assets: int) -> None:
        self.last_times = np.zeros(assets, dtype=np.int64)
        self.last_prices = np.zeros(assets, dtype=np.float64)


def request_frame(assets: list[str], request_id: int = 0) -> bytes:
    """A frame that asks for up to 64 assets, without any stated quality."""
    assert 1 <= len(assets) <= ASSETS_MAX
    names = b"".join(asset.encode().ljust(NAME_BYTES, b"\0") for asset in assets)
    return struct.pack("<4sBBBBQII", b"\xd7TRQ", 1, 0, len(assets), 0, request_id, 0, 0) + names


@compiled
def write_id(buffer: Bytes, start: int, request_id: int) -> None:
    """Put another id into the request frame at `start`."""
    for i in range(8):
        buffer[start + _ID_AT + i] = np.uint8((request_id >> (8 * i)) & 0xFF)


@compiled
def id_of_reply(reply: Bytes, size: int) -> int:
    """The request id that a reply frame echoes, -1 for what is no reply frame."""
    if size < HEADER_BYTES:
        return -1
    for i in range(_MAGIC_BYTES):
        if reply[i] != _REPLY_START[i]:
            return -1
    return _read(reply, _ID_AT, 8)


@compiled
def check_frame(reply: Bytes, size: int, count: int, last_times: Ints, last_prices: NDArray[np.float64]) -> int:
    """-1 when every record holds a fresh price of its asset, else the first fault."""
    for i in range(_REPLY_START.size):
        if reply[i] != _REPLY_START[i]:
            return checks.REFUSED
    if reply[6] != count or size != HEADER_BYTES + count * RECORD_BYTES:
        return checks.NOT_AN_ANSWER
    time_ms = _read(reply, _TIME_AT, 8)
    for i in range(count):
        at = HEADER_BYTES + i * RECORD_BYTES
        if reply[at + _STATUS_AT] != 0:
            return checks.REFUSED
        age_ms = _read(reply, at + _AGE_AT, 4)
        mantissa = _read(reply, at, 8)
        if mantissa <= 0 or age_ms == AGE_NONE or reply[at + _SOURCES_AT] == 0:
            return checks.NO_PRICE
        exponent = np.int64(np.int8(reply[at + _EXPONENT_AT]))
        price = mantissa * 10.0**exponent
        last = last_prices[i]
        if last > 0.0 and not last / JUMP_MAX <= price <= last * JUMP_MAX:
            return checks.WRONG_ASSET
        if time_ms - age_ms < last_times[i] - BACK_MS_MAX:
            return checks.TIME_WENT_BACK
        last_prices[i] = price
        last_times[i] = max(last_times[i], time_ms - age_ms)
    return -1


@compiled
def _read(buffer: Bytes, start: int, size: int) -> int:
    """A little-endian whole number."""
    value = 0
    for i in range(size):
        value |= int(buffer[start + i]) << (8 * i)
    return value
