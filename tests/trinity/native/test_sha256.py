"""trinity/native/sha256.py"""

import hashlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trinity.native.sha256 import DIGEST_WORDS, SCHEDULE_WORDS, sha256

pytestmark = pytest.mark.uncompiled

# NIST's examples (FIPS 180-4 appendix and the long ones of the CAVP).
VECTORS = {
    b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    (
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
        b"hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
    ): "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
}


def digest_of(message: bytes, before: bytes = b"", behind: bytes = b"") -> bytes:
    """The digest of a message that lies between other bytes."""
    octets = np.frombuffer(before + message + behind + b"\0", dtype=np.uint8).copy()
    schedule, digest = np.full(SCHEDULE_WORDS, -1, dtype=np.int64), np.zeros(DIGEST_WORDS, dtype=np.uint64)
    sha256(octets, len(before), len(before) + len(message), schedule, digest)
    return digest.tobytes()


@pytest.mark.parametrize(("message", "digest"), VECTORS.items(), ids=lambda value: f"{len(value)} bytes")
def test_the_published_examples(message: bytes, digest: str) -> None:
    """One block, and messages whose length does not fit into their last block."""
    assert digest_of(message).hex() == digest


@given(st.binary(max_size=200), st.binary(max_size=9), st.binary(max_size=9))
@example(b"a" * 55, b"", b"")
@example(b"a" * 56, b"", b"")
@example(b"a" * 63, b"", b"")
@example(b"a" * 64, b"", b"")
@example(b"a" * 128, b"", b"")
def test_any_message_has_the_digest_of_hashlib(message: bytes, before: bytes, behind: bytes) -> None:
    """Whatever its length and bytes, and whatever lies around it."""
    assert digest_of(message, before, behind) == hashlib.sha256(message).digest()
