"""A subscription's datagram: header, prices, signature. Pure, compiled; the bytes of trinity/push/datagram.py.

Rules: one datagram at a time, into a place of PLACE_BYTES, which has room for what the signature writes behind it.
Prices go in as long as there is room; the next datagram goes on with the next price.
"""

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled
from trinity.limits import UDP_PAYLOAD_BYTES_MAX
from trinity.memory.atomics import signed
from trinity.native.addresses import SOCKADDR_WORDS
from trinity.native.hmac import KEY_NUMBERS, PADDING_BYTES, sign
from trinity.native.octets import Integers, Octets, append_slice, octets_of
from trinity.push.datagram import (
    BELOW_MIN_SOURCES,
    FRESH,
    HEADER_BYTES,
    KEY_ID_BYTES,
    MAGIC,
    NUMBERS_BYTES,
    PRICE_TOO_OLD,
    TAG_BYTES,
    VERSION,
)
from workers.push.udp.board import PushedPrices, put

ASSETS_A_SUBSCRIPTION_MAX = 150

# One subscription, as datagrams need it.
SLOT_DTYPE = np.dtype(
    [
        ("subscription_id", np.int64),
        ("account_id", np.int64),
        ("sequence", np.int64),  # the last one that was used
        ("lifetime_ms", np.int64),
        ("max_age_ms", np.int64),  # 0: not stated
        ("min_sources", np.int64),  # 0: not stated
        ("family", np.int64),  # of its address: which socket
        ("count", np.int64),  # of its assets
        ("sockaddr", np.uint64, SOCKADDR_WORDS),
        ("sockaddr_length", np.int64),
        ("key_states", np.int64, KEY_NUMBERS),
        ("key_id", np.uint8, KEY_ID_BYTES),
        ("assets", np.int16, ASSETS_A_SUBSCRIPTION_MAX),  # indexes of the board
    ],
    align=True,
)

PLACE_BYTES = 1600
_ROOM = UDP_PAYLOAD_BYTES_MAX - TAG_BYTES
assert PLACE_BYTES % 8 == 0
assert _ROOM + PADDING_BYTES <= PLACE_BYTES

_START = octets_of(MAGIC + bytes([VERSION]))
_FLAGS_AT, _REASON_AT, _COUNT_AT, _KEY_ID_AT, _LIFETIME_AT, _SUBSCRIPTION_AT, _SEQUENCE_AT, _TIME_AT = (
    5, 6, 7, 8, 12, 16, 24, 32,
)  # fmt: skip
# Of a price's numbers, from their start.
_AGE_AT, _STATUS_AT = 12, 18


@compiled
def write_datagram(
    board: PushedPrices,
    slot: np.void,
    first: int,
    flags: int,
    reason: int,
    time_ns: int,
    octets: Octets,
    words: NDArray[np.uint32],
    start: int,
    schedule: Integers,
) -> tuple[int, int]:
    """Write the datagram of the slot's assets from `first` on to `octets[start:]`, under the slot's `sequence`.

    Its end, and the asset that the next one begins with. `words` are the same bytes, `schedule` is scratch.
    """
    at, number = start + HEADER_BYTES, first
    while number < slot["count"]:
        asset = board.assets[signed(slot["assets"][number])]
        if at + asset["length"] > start + _ROOM:
            break
        at = append_slice(asset["octets"], 0, asset["length"], octets, at)
        status = _judge(slot, asset)
        if status != asset["status"]:
            _refuse(status, octets, at - NUMBERS_BYTES)
        number += 1
    append_slice(_START, 0, _START.size, octets, start)
    octets[start + _FLAGS_AT], octets[start + _REASON_AT], octets[start + _COUNT_AT] = flags, reason, number - first
    append_slice(slot["key_id"], 0, KEY_ID_BYTES, octets, start + _KEY_ID_AT)
    put(slot["lifetime_ms"], 4, octets, start + _LIFETIME_AT)
    put(slot["subscription_id"], 8, octets, start + _SUBSCRIPTION_AT)
    put(slot["sequence"], 8, octets, start + _SEQUENCE_AT)
    put(time_ns, 8, octets, start + _TIME_AT)
    sign(octets, words, start, at, slot["key_states"], schedule, TAG_BYTES)
    return at + TAG_BYTES, number


@compiled
def _judge(slot: np.void, asset: np.void) -> int:
    """The asset's status for this subscription."""
    status: int = asset["status"]
    if status != FRESH:
        return status
    if slot["max_age_ms"] > 0 and asset["age_ms"] > slot["max_age_ms"]:
        return PRICE_TOO_OLD
    if asset["sources"] < slot["min_sources"]:
        return BELOW_MIN_SOURCES
    return status


@compiled
def _refuse(status: int, octets: Octets, at: int) -> None:
    """Take back a price: all of its numbers but its age."""
    put(0, _AGE_AT, octets, at)
    put(0, NUMBERS_BYTES - _AGE_AT - 4, octets, at + _AGE_AT + 4)
    octets[at + _STATUS_AT] = status
