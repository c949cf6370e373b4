"""SHA-256 (FIPS 180-4) of a key, compiled: what proves a key once to a worker.

Rules: all numbers are 32 bits wide within 64-bit integers, masked where they could grow; so it is the same compiled and
uncompiled. The caller owns the memory: SCHEDULE_WORDS numbers that hold the message schedule and the state.
"""

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.memory.atomics import Words
from trinity.native.octets import Integers, Octets, byte_at

DIGEST_WORDS = 4
_ROUNDS = 64
_STATE_WORDS = 8
SCHEDULE_WORDS = _ROUNDS + _STATE_WORDS

_MASK = 0xFFFF_FFFF
_BLOCK_BYTES, _BLOCK_NUMBERS, _NUMBER_BYTES = 64, 16, 4
_LENGTH_BYTES = 8
_END_MARK = 0x80

_INITIAL = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], dtype=np.int64
)
_CONSTANTS = np.array(
    [
        0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
        0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
        0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
        0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
        0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
        0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
        0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
        0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
    ],
    dtype=np.int64,
)  # fmt: skip


@compiled
def sha256(message: Octets, start: int, end: int, schedule: Integers, digest: Words) -> None:
    """The digest of `message[start:end]` as 32 bytes in the four words of `digest`."""
    length = end - start
    for i in range(_STATE_WORDS):
        schedule[_ROUNDS + i] = _INITIAL[i]
    blocks = (length + 1 + _LENGTH_BYTES + _BLOCK_BYTES - 1) // _BLOCK_BYTES
    for block in range(blocks):
        first = block * _BLOCK_BYTES
        for i in range(_BLOCK_NUMBERS):
            schedule[i] = _number_at(message, start, length, first + i * _NUMBER_BYTES)
        if block == blocks - 1:
            schedule[_BLOCK_NUMBERS - 2] = length >> 29
            schedule[_BLOCK_NUMBERS - 1] = length << 3 & _MASK
        _compress(schedule)
    for i in range(DIGEST_WORDS):
        low, high = schedule[_ROUNDS + 2 * i], schedule[_ROUNDS + 2 * i + 1]
        digest[i] = np.uint64(_swapped(low)) | np.uint64(_swapped(high)) << np.uint64(32)


@compiled_inline
def _number_at(message: Octets, start: int, length: int, position: int) -> int:
    """Four bytes of the padded message; the length behind it is not part of them."""
    if position > length:
        return 0
    number = 0
    for i in range(position, position + _NUMBER_BYTES):
        byte = byte_at(message, start + i) if i < length else _END_MARK if i == length else 0
        number = number << 8 | byte
    return number


@compiled
def _compress(schedule: Integers) -> None:
    """Mix the block in the schedule's first 16 numbers into the state behind the schedule."""
    for i in range(_BLOCK_NUMBERS, _ROUNDS):
        old, new = schedule[i - 15], schedule[i - 2]
        low = _rotated(old, 7) ^ _rotated(old, 18) ^ old >> 3
        high = _rotated(new, 17) ^ _rotated(new, 19) ^ new >> 10
        schedule[i] = (schedule[i - 16] + low + schedule[i - 7] + high) & _MASK
    a, b, c, d = schedule[_ROUNDS], schedule[_ROUNDS + 1], schedule[_ROUNDS + 2], schedule[_ROUNDS + 3]
    e, f, g, h = schedule[_ROUNDS + 4], schedule[_ROUNDS + 5], schedule[_ROUNDS + 6], schedule[_ROUNDS + 7]
    for i in range(_ROUNDS):
        mixed = _rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)
        first = h + mixed + (g ^ e & (f ^ g)) + _CONSTANTS[i] + schedule[i]
        mixed = _rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)
        second = mixed + (a & b | c & (a | b))
        h, g, f, e = g, f, e, (d + first) & _MASK
        d, c, b, a = c, b, a, (first + second) & _MASK
    schedule[_ROUNDS] = (schedule[_ROUNDS] + a) & _MASK
    schedule[_ROUNDS + 1] = (schedule[_ROUNDS + 1] + b) & _MASK
    schedule[_ROUNDS + 2] = (schedule[_ROUNDS + 2] + c) & _MASK
    schedule[_ROUNDS + 3] = (schedule[_ROUNDS + 3] + d) & _MASK
    schedule[_ROUNDS + 4] = (schedule[_ROUNDS + 4] + e) & _MASK
    schedule[_ROUNDS + 5] = (schedule[_ROUNDS + 5] + f) & _MASK
    schedule[_ROUNDS + 6] = (schedule[_ROUNDS + 6] + g) & _MASK
    schedule[_ROUNDS + 7] = (schedule[_ROUNDS + 7] + h) & _MASK


@compiled_inline
def _rotated(number: int, bits: int) -> int:
    return (number >> bits | number << 32 - bits) & _MASK


@compiled_inline
def _swapped(number: int) -> int:
    """The same four bytes in the other order."""
    return (number & 0xFF) << 24 | (number & 0xFF00) << 8 | number >> 8 & 0xFF00 | number >> 24
