"""feeds/ingest/extent.py; whole streams are in test_frames.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from feeds.ingest.extent import WRONG, extent_of
from trinity.limits import FRAME_BYTES_MAX
from trinity.native.octets import octets_of

pytestmark = pytest.mark.uncompiled


def extent(octets: bytes, at: int) -> tuple[int, int]:
    return extent_of(octets_of(octets), at, len(octets))


def test_a_frame_s_extent() -> None:
    """Short, two-byte and eight-byte lengths; a head that is not whole; what a server may not send."""
    for size in (0, 125, 126, 65_535, 65_536):
        octets = Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
        assert extent(b"abc" + octets + b"more", 3) == (3 + len(octets) - size, 3 + len(octets))
        assert extent(octets[:-1], 0)[1] > len(octets) - 1
    for octets in (b"", b"\x81", b"\x81\x7e\x01", b"\x81\x7f\0\0\0\0\0\0\1"):
        assert extent(octets, 0)[1] > len(octets)
    masked = Frame(Opcode.TEXT, b"hello").serialize(mask=True)
    too_large = b"\x82\x7f" + (FRAME_BYTES_MAX + 1).to_bytes(8, "big")
    for wrong in (
        masked,
        too_large,
        b"\xc1\x05hello",
        b"\x83\x00",
        b"\x09\x00",
        b"\x89\x7e\x00\x7e",
        b"\x03\x7e",
        b"\xff\xff",
    ):
        assert extent(wrong, 0) == (WRONG, len(wrong))


@given(st.binary(max_size=20), st.integers(0, 20))
def test_any_bytes_have_an_extent(octets: bytes, at: int) -> None:
    """Never before the frame's first bytes, and wrong ones have everything."""
    start, end = extent(octets, min(at, len(octets)))
    assert (start == WRONG and end == len(octets)) or start <= end
    assert start == WRONG or start >= min(at, len(octets))
