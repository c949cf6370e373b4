"""trinity/native/hmac.py"""

import hmac

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trinity.native.hmac import PADDING_BYTES, key_states, sign
from trinity.native.sha256 import SCHEDULE_WORDS

pytestmark = pytest.mark.uncompiled

# RFC 4231, cases 1 to 3 and 6: key, message, HMAC-SHA256.
VECTORS = (
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
)


def signature_of(key: bytes, message: bytes, before: bytes = b"", tag_bytes: int = 32) -> bytes:
    """The signature of a message that lies behind other bytes, in memory full of ones."""
    room = np.full((len(before) + len(message) + PADDING_BYTES + 3) // 4 * 4, 0xFF, dtype=np.uint8)
    start = len(before) // 4 * 4
    end = start + len(message)
    room[start:end] = np.frombuffer(message, dtype=np.uint8)
    sign(
        room, room.view(np.uint32), start, end, key_states(key), np.full(SCHEDULE_WORDS, -1, dtype=np.int64), tag_bytes
    )
    assert room[start:end].tobytes() == message
    return room[end : end + tag_bytes].tobytes()


@pytest.mark.parametrize(("key", "message", "expected"), VECTORS)
def test_the_published_examples(key: bytes, message: bytes, expected: str) -> None:
    """Keys shorter and longer than a block."""
    assert signature_of(key, message).hex() == expected


@given(st.binary(max_size=100), st.binary(max_size=200), st.binary(max_size=9), st.sampled_from([4, 16, 32]))
@example(b"k" * 24, b"a" * 55, b"", 16)
@example(b"k" * 64, b"a" * 56, b"", 16)
@example(b"k" * 65, b"a" * 63, b"", 16)
@example(b"k", b"a" * 64, b"", 16)
def test_any_message_has_the_signature_of_the_standard_library(
    key: bytes, message: bytes, before: bytes, tag_bytes: int
) -> None:
    """Whatever its length, its key, and the place that it lies at."""
    assert signature_of(key, message, before, tag_bytes) == hmac.digest(key, message, "sha256")[:tag_bytes]


@pytest.mark.parametrize(("start", "end"), [(-4, 8), (1, 8), (8, 4), (0, 1000 - PADDING_BYTES + 1)])
def test_a_message_without_room_for_its_padding_is_refused(start: int, end: int) -> None:
    """Nothing beyond the memory is written."""
    room = np.zeros(1000, dtype=np.uint8)
    schedule = np.zeros(SCHEDULE_WORDS, dtype=np.int64)
    with pytest.raises(IndexError):
        sign(room, room.view(np.uint32), start, end, key_states(b"key"), schedule, 16)
