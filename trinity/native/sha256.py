"""SHA-256 (FIPS 180-4), compiled: what proves a key once to a worker, and signs datagrams (hmac.py).

Rules: all numbers are 32 bits wide within 64-bit integers, masked where they could grow; so it is the same compiled and
uncompiled. The caller owns the memory: SCHEDULE_WORDS numbers that hold the message schedule and the state.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from trinity.compiled import compiled, compiled_inline, jit_enabled
from trinity.memory.atomics import Words
from trinity.native.octets import Integers, Octets, byte_at

DIGEST_WORDS = 4
ROUNDS = 64  # the state stands behind as many numbers of the schedule
STATE_NUMBERS = 8
SCHEDULE_WORDS = ROUNDS + STATE_NUMBERS

_MASK = 0xFFFF_FFFF
BLOCK_BYTES, BLOCK_NUMBERS, NUMBER_BYTES = 64, 16, 4
LENGTH_BYTES = 8
END_MARK = 0x80

INITIAL_STATE = np.array(
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


def _rotate_intrinsic() -> Callable[..., Any]:
    """LLVM's rotation of 32 bits: one instruction, where shifts and a mask are four; a block takes two thirds."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def rotate(_context: Any, number: Any, bits: Any) -> Any:  # noqa: ARG001 - the types
        def emit(_codegen: Any, builder: Any, _signature: Any, args: Any) -> Any:
            narrow = ir.IntType(32)
            number, bits = (builder.trunc(value, narrow) for value in args)
            kind = ir.FunctionType(narrow, [narrow, narrow, narrow])
            shift = builder.module.declare_intrinsic("llvm.fshr", [narrow], kind)
            return builder.zext(builder.call(shift, [number, number, bits]), ir.IntType(64))

        return types.int64(types.int64, types.int64), emit

    return rotate  # type: ignore[no-any-return]


def _rotate_plainly(number: int, bits: int) -> int:
    return (number >> bits | number << 32 - bits) & _MASK


_rotated = _rotate_intrinsic() if jit_enabled() else _rotate_plainly


@compiled
def sha256(message: Octets, start: int, end: int, schedule: Integers, digest: Words) -> None:
    """The digest of `message[start:end]` as 32 bytes in the four words of `digest`."""
    length = end - start
    for i in range(STATE_NUMBERS):
        schedule[ROUNDS + i] = INITIAL_STATE[i]
    blocks = (length + 1 + LENGTH_BYTES + BLOCK_BYTES - 1) // BLOCK_BYTES
    for block in range(blocks):
        first = block * BLOCK_BYTES
        for i in range(BLOCK_NUMBERS):
            schedule[i] = _number_at(message, start, length, first + i * NUMBER_BYTES)
        if block == blocks - 1:
            schedule[BLOCK_NUMBERS - 2] = length >> 29
            schedule[BLOCK_NUMBERS - 1] = length << 3 & _MASK
        compress(schedule)
    for i in range(DIGEST_WORDS):
        low, high = schedule[ROUNDS + 2 * i], schedule[ROUNDS + 2 * i + 1]
        digest[i] = np.uint64(swapped(low)) | np.uint64(swapped(high)) << np.uint64(32)


@compiled_inline
def _number_at(message: Octets, start: int, length: int, position: int) -> int:
    """Four bytes of the padded message; the length behind it is not part of them."""
    if position > length:
        return 0
    number = 0
    for i in range(position, position + NUMBER_BYTES):
        byte = byte_at(message, start + i) if i < length else END_MARK if i == length else 0
        number = number << 8 | byte
    return number


@compiled
def compress(schedule: Integers) -> None:
    """Mix the block in the schedule's first 16 numbers into the state behind the schedule."""
    for i in range(BLOCK_NUMBERS, ROUNDS):
        old, new = schedule[i - 15], schedule[i - 2]
        low = _rotated(old, 7) ^ _rotated(old, 18) ^ old >> 3
        high = _rotated(new, 17) ^ _rotated(new, 19) ^ new >> 10
        schedule[i] = (schedule[i - 16] + low + schedule[i - 7] + high) & _MASK
    a, b, c, d = schedule[ROUNDS], schedule[ROUNDS + 1], schedule[ROUNDS + 2], schedule[ROUNDS + 3]
    e, f, g, h = schedule[ROUNDS + 4], schedule[ROUNDS + 5], schedule[ROUNDS + 6], schedule[ROUNDS + 7]
    for i in range(ROUNDS):
        mixed = _rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)
        first = h + mixed + (g ^ e & (f ^ g)) + _CONSTANTS[i] + schedule[i]
        mixed = _rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)
        second = mixed + (a & b | c & (a | b))
        h, g, f, e = g, f, e, (d + first) & _MASK
        d, c, b, a = c, b, a, (first + second) & _MASK
    schedule[ROUNDS] = (schedule[ROUNDS] + a) & _MASK
    schedule[ROUNDS + 1] = (schedule[ROUNDS + 1] + b) & _MASK
    schedule[ROUNDS + 2] = (schedule[ROUNDS + 2] + c) & _MASK
    schedule[ROUNDS + 3] = (schedule[ROUNDS + 3] + d) & _MASK
    schedule[ROUNDS + 4] = (schedule[ROUNDS + 4] + e) & _MASK
    schedule[ROUNDS + 5] = (schedule[ROUNDS + 5] + f) & _MASK
    schedule[ROUNDS + 6] = (schedule[ROUNDS + 6] + g) & _MASK
    schedule[ROUNDS + 7] = (schedule[ROUNDS + 7] + h) & _MASK


@compiled_inline
def swapped(number: int) -> int:
    """The same four bytes in the other order."""
    return (number & 0xFF) << 24 | (number & 0xFF00) << 8 | number >> 8 & 0xFF00 | number >> 24
