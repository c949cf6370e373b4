"""trinity/native/siphash.py"""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.native.siphash import siphash_64, siphash_128

pytestmark = pytest.mark.uncompiled

# The authors' vectors: key 00 01 .. 0f, messages 00 01 .. (n - 1) for n from 0 to 63. Some are here as they are, all
# of them as the SHA-256 of their concatenation (also what OpenSSL's `openssl mac ... siphash` gives).
KEY = bytes(range(16))
VECTORS_64 = {
    0: "310e0edd47db6f72",
    1: "fd67dc93c539f874",
    7: "37d1018bf50002ab",
    8: "6224939a79f5f593",
    15: "e545be4961ca29a1",
    63: "724506eb4c328a95",
}
VECTORS_128 = {
    0: "a3817f04ba25a8e66df67214c7550293",
    1: "da87c1d86b99af44347659119b22fc45",
    7: "a1f1ebbed8dbc153c0b84aa61ff08239",
    8: "3b62a9ba6258f5610f83e264f31497b4",
    15: "5493e99933b0a8117e08ec0f97cfc3d9",
    63: "5150d1772f50834a503e069a973fbd7c",
}
ALL_64 = "0226a91002af9775a791b3ec5a48e643f8848d2d5774dea9be3438d5786bb58e"
ALL_128 = "ecfaa9fe47ff788fa834a9863ea2715a2880cd37d2b8c3c194402838428119b9"


def words_of(message: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The message in words; what lies behind it must not matter."""
    padded = message + b"\xa5" * (8 + -len(message) % 8)
    return np.frombuffer(padded, dtype=np.uint64).copy()


SECRET = words_of(KEY)


def hash_64(message: bytes) -> bytes:
    return int(siphash_64(SECRET, 0, words_of(message), len(message))).to_bytes(8, "little")


def hash_128(message: bytes) -> bytes:
    out = np.zeros(2, dtype=np.uint64)
    siphash_128(SECRET, 0, words_of(message), len(message), out)
    return out.tobytes()


def test_the_reference_vectors_of_64_bits() -> None:
    """Every length from nothing to 63 bytes."""
    hashes = [hash_64(bytes(range(length))) for length in range(64)]
    assert {length: hashes[length].hex() for length in VECTORS_64} == VECTORS_64
    assert hashlib.sha256(b"".join(hashes)).hexdigest() == ALL_64


def test_the_reference_vectors_of_128_bits() -> None:
    """Every length from nothing to 63 bytes."""
    hashes = [hash_128(bytes(range(length))) for length in range(64)]
    assert {length: hashes[length].hex() for length in VECTORS_128} == VECTORS_128
    assert hashlib.sha256(b"".join(hashes)).hexdigest() == ALL_128


@given(st.binary(min_size=1, max_size=128), st.integers(0, 1023))
def test_one_bit_changes_both_hashes(message: bytes, bit: int) -> None:
    """No byte of a key is left out, and an end of zeros is not the same as no end."""
    other = bytearray(message)
    other[bit // 8 % len(message)] ^= 1 << bit % 8
    for different in (bytes(other), message + b"\0"):
        assert hash_64(message) != hash_64(different)
        assert hash_128(message) != hash_128(different)
