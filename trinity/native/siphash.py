"""SipHash-2-4 with 64 and 128 bits (Aumasson and Bernstein, 2012): a hash that nobody can steer without its secret.

Rules: a message is `length` bytes in 64-bit words as they lie in memory; bytes of its last word behind `length` are
not looked at. Compiled, the arithmetic is that of 64-bit words; uncompiled, the same lines work on plain integers and
the masks cut them, so numpy has no overflow to warn of.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from trinity.compiled import compiled, compiled_inline, jit_enabled
from trinity.memory.atomics import Words

# What a word is: 64 bits of the machine, or an integer that the masks cut.
_word: Callable[[Any], int] = np.uint64 if jit_enabled() else int  # type: ignore[assignment]

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_WORD_BYTES = 8
_INITIAL = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)  # "somepseudorandomly..."
_I0, _I1, _I2, _I3 = _INITIAL
_FINAL_64, _FINAL_128, _BETWEEN = 0xFF, 0xEE, 0xDD


@compiled_inline
def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v1 = ((v1 << 13) & _MASK | v1 >> 51) ^ v0
    v0 = (v0 << 32) & _MASK | v0 >> 32
    v2 = (v2 + v3) & _MASK
    v3 = ((v3 << 16) & _MASK | v3 >> 48) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = ((v3 << 21) & _MASK | v3 >> 43) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = ((v1 << 17) & _MASK | v1 >> 47) ^ v2
    v2 = (v2 << 32) & _MASK | v2 >> 32
    return v0, v1, v2, v3


@compiled_inline
def _absorbed(secret: Words, at: int, words: Words, length: int, variant: int) -> tuple[int, int, int, int]:
    """The state after the message and its length; `variant` is what the 128-bit form adds to the state."""
    key0, key1 = _word(secret[at]), _word(secret[at + 1])
    v0, v1, v2, v3 = key0 ^ _word(_I0), key1 ^ _word(_I1) ^ _word(variant), key0 ^ _word(_I2), key1 ^ _word(_I3)
    whole = length // _WORD_BYTES
    for i in range(whole):
        word = _word(words[i])
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    rest = length % _WORD_BYTES
    word = _word(length & 0xFF) << 56
    if rest > 0:
        word |= _word(words[whole]) & _word((1 << 8 * rest) - 1)
    v3 ^= word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ word, v1, v2, v3


@compiled_inline
def _finished(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0, v1, v2, v3


@compiled
def siphash_64(secret: Words, at: int, words: Words, length: int) -> int:
    """64 bits of the message under the two words of secret at `secret[at:]`."""
    v0, v1, v2, v3 = _absorbed(secret, at, words, length, 0)
    v0, v1, v2, v3 = _finished(v0, v1, v2 ^ _word(_FINAL_64), v3)
    return v0 ^ v1 ^ v2 ^ v3


@compiled
def siphash_128(secret: Words, at: int, words: Words, length: int, out: Words) -> None:
    """128 bits of the message into the first two words of `out`."""
    v0, v1, v2, v3 = _absorbed(secret, at, words, length, _FINAL_128)
    v0, v1, v2, v3 = _finished(v0, v1, v2 ^ _word(_FINAL_128), v3)
    out[0] = v0 ^ v1 ^ v2 ^ v3
    v0, v1, v2, v3 = _finished(v0, v1 ^ _word(_BETWEEN), v2, v3)
    out[1] = v0 ^ v1 ^ v2 ^ v3
