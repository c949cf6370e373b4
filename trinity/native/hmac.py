"""HMAC-SHA256 (RFC 2104, RFC 6234) of messages under keys that stay, compiled.

What a key brings to each message are two blocks: their states are computed once a key (`key_states`), so that a message
costs its own blocks and one.

Rules: the caller owns the memory: a message begins at a multiple of four bytes of `octets`, `words` are the same bytes
as numbers of 32 bits, and up to PADDING_BYTES behind the message are written. Little-endian machines alone, as all of
Trinity's compiled code.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled, compiled_inline
from trinity.native.octets import Integers, Octets
from trinity.native.sha256 import (
    BLOCK_BYTES,
    BLOCK_NUMBERS,
    END_MARK,
    INITIAL_STATE,
    LENGTH_BYTES,
    NUMBER_BYTES,
    ROUNDS,
    SCHEDULE_WORDS,
    STATE_NUMBERS,
    compress,
    swapped,
)

# Inner and outer state, one behind the other.
KEY_NUMBERS = 2 * STATE_NUMBERS
PADDING_BYTES = BLOCK_BYTES + LENGTH_BYTES
_INNER, _OUTER = 0x36, 0x5C
_BITS_A_BYTE = 8
# The outer message: the key's block and a digest.
_OUTER_BITS = (BLOCK_BYTES + hashlib.sha256().digest_size) * _BITS_A_BYTE


def key_states(key: bytes) -> NDArray[np.int64]:
    """The numbers that `sign` takes for this key."""
    key = hashlib.sha256(key).digest() if len(key) > BLOCK_BYTES else key
    block = np.frombuffer(key.ljust(BLOCK_BYTES, b"\0"), dtype=np.uint8)
    states = []
    for mask in (_INNER, _OUTER):
        schedule = np.zeros(SCHEDULE_WORDS, dtype=np.int64)
        schedule[:BLOCK_NUMBERS] = np.frombuffer((block ^ np.uint8(mask)).tobytes(), dtype=">u4")
        schedule[ROUNDS:] = INITIAL_STATE
        compress(schedule)
        states.append(schedule[ROUNDS:])
    return np.concatenate(states)


def warm_up() -> None:
    """Compile what `key_states` calls, or load its machine code, before the fork."""
    key_states(b"")


@compiled
def sign(
    octets: Octets,
    words: NDArray[np.uint32],
    start: int,
    end: int,
    states: Integers,
    schedule: Integers,
    tag_bytes: int,
) -> None:
    """Write the first `tag_bytes` (a multiple of four) of the signature of `octets[start:end]` behind it.

    `schedule` is scratch of SCHEDULE_WORDS.
    """
    if start < 0 or start % NUMBER_BYTES != 0 or end < start or end + PADDING_BYTES > octets.size:
        raise IndexError("message out of range")
    length = end - start
    blocks = (length + 1 + LENGTH_BYTES + BLOCK_BYTES - 1) // BLOCK_BYTES
    octets[end] = END_MARK
    for i in range(end + 1, start + blocks * BLOCK_BYTES):
        octets[i] = 0
    for i in range(STATE_NUMBERS):
        schedule[ROUNDS + i] = states[i]
    bits = (BLOCK_BYTES + length) * _BITS_A_BYTE
    for block in range(blocks):
        first = start // NUMBER_BYTES + block * BLOCK_NUMBERS
        for i in range(BLOCK_NUMBERS):
            schedule[i] = swapped(np.int64(words[first + i]))  # type: ignore[arg-type]
        if block == blocks - 1:
            schedule[BLOCK_NUMBERS - 1] = bits
        compress(schedule)
    _finish(schedule, states)
    for i in range(tag_bytes):
        number, shift = schedule[ROUNDS + i // NUMBER_BYTES], 24 - i % NUMBER_BYTES * _BITS_A_BYTE
        octets[end + i] = number >> shift & 0xFF


@compiled_inline
def _finish(schedule: Integers, states: Integers) -> None:
    """From the inner digest in the state to the outer one."""
    for i in range(BLOCK_NUMBERS):
        schedule[i] = schedule[ROUNDS + i] if i < STATE_NUMBERS else 0
    schedule[STATE_NUMBERS] = END_MARK << 24
    schedule[BLOCK_NUMBERS - 1] = _OUTER_BITS
    for i in range(STATE_NUMBERS):
        schedule[ROUNDS + i] = states[STATE_NUMBERS + i]
    compress(schedule)
