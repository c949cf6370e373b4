"""Bytes in compiled code: copies, numbers, names, percent-encoding."""

import urllib.parse
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.native import octets
from trinity.native.octets import BAD_NUMBER, NOT_FOUND, octets_of

pytestmark = pytest.mark.uncompiled


@given(st.integers(min_value=-(10**18) + 1, max_value=10**18 - 1))
def test_an_integer_is_appended_as_python_writes_it(value: int) -> None:
    """append_integer writes the digits that str() writes."""
    out = np.zeros(32, dtype=np.uint8)
    end = octets.append_integer(value, out, 3)
    assert bytes(out[3:end]) == str(value).encode()


@given(st.integers(0, 10**18), st.integers(0, 20))
def test_a_decimal_is_appended_in_plain_digits(mantissa: int, places: int) -> None:
    """append_decimal writes what Decimal says, without an exponent and without trailing zeros behind the point."""
    out = np.zeros(48, dtype=np.uint8)
    end = octets.append_decimal(mantissa, places, out, 3)
    text = format(Decimal(mantissa).scaleb(-places), "f")
    assert bytes(out[3:end]).decode() == (text.rstrip("0").rstrip(".") if "." in text else text)


@given(st.binary(max_size=20))
def test_an_integer_is_read_only_out_of_digits(text: bytes) -> None:
    """parse_integer agrees with int() on 1 to 18 ASCII digits and refuses all else."""
    expected = int(text) if 1 <= len(text) <= 18 and all(0x30 <= byte <= 0x39 for byte in text) else BAD_NUMBER
    assert octets.parse_integer(octets_of(text), 0, len(text)) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"12", 12_000),
        (b"12.5", 12_500),
        (b"0.125", 125),
        (b"999999999999999.999", 999_999_999_999_999_999),
        (b"1000000000000000", BAD_NUMBER),
        (b"0.1255", BAD_NUMBER),
        (b".5", BAD_NUMBER),
        (b"5.", BAD_NUMBER),
        (b"1.2.3", BAD_NUMBER),
        (b"-1", BAD_NUMBER),
        (b"1e3", BAD_NUMBER),
        (b"", BAD_NUMBER),
    ],
)
def test_a_decimal_is_read_to_its_places_and_no_further(text: bytes, value: int) -> None:
    """Plain digits with up to three decimals become thousandths; all else is no number."""
    assert octets.parse_decimal(octets_of(text), 0, len(text), 3) == value


@given(st.binary(max_size=12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_a_copy_outside_of_its_arrays_raises_and_changes_nothing(
    source: bytes, start: int, length: int, at: int
) -> None:
    """append_slice copies exactly what is in range and raises IndexError for the rest."""
    out = np.full(10, 0xEE, dtype=np.uint8)
    if start + length <= len(source) and at + length <= 10:
        assert octets.append_slice(octets_of(source), start, length, out, at) == at + length
        assert bytes(out[at : at + length]) == source[start : start + length]
    else:
        with pytest.raises(IndexError):
            octets.append_slice(octets_of(source), start, length, out, at)
        assert bytes(out) == b"\xee" * 10


@pytest.mark.parametrize(("start", "length", "at"), [(-1, 1, 0), (0, -1, 0), (0, 1, -1), (0, 2**62, 0), (2**62, 1, 0)])
def test_a_copy_with_a_wild_position_raises(start: int, length: int, at: int) -> None:
    """Negative and enormous positions are out of range, also where their sum would wrap around."""
    with pytest.raises(IndexError):
        octets.append_slice(np.zeros(4, dtype=np.uint8), start, length, np.zeros(4, dtype=np.uint8), at)


def test_a_copy_may_overlap_itself() -> None:
    """Moving bytes within one array keeps them whole."""
    buffer = octets_of(b"abcdef")
    octets.append_slice(buffer, 0, 4, buffer, 2)
    assert bytes(buffer) == b"ababcd"


def test_packed_texts_are_found_exactly_or_folded() -> None:
    """find_text wants the very bytes, find_folded minds no case, and both find nothing in a prefix."""
    texts, bounds = octets.pack_texts([b"host", b"connection"])
    for name, exact, folded in [
        (b"host", 0, 0),
        (b"Host", NOT_FOUND, 0),
        (b"CONNECTION", NOT_FOUND, 1),
        (b"hos", NOT_FOUND, NOT_FOUND),
        (b"", NOT_FOUND, NOT_FOUND),
        (b"h\x4fst", NOT_FOUND, 0),
        (b"\xe8ost", NOT_FOUND, NOT_FOUND),
    ]:
        assert octets.find_text(texts, bounds, octets_of(name), 0, len(name)) == exact
        assert octets.find_folded(texts, bounds, octets_of(name), 0, len(name)) == folded


@pytest.mark.parametrize(("text", "starts"), [(b"HTTP://x", True), (b"http:/", False), (b"https://", False)])
def test_a_prefix_is_recognised_in_any_case(text: bytes, starts: bool) -> None:
    """starts_with_folded compares only the prefix and never reads behind the end."""
    texts, bounds = octets.pack_texts([b"http://"])
    assert octets.starts_with_folded(texts, bounds, 0, octets_of(text), 0, len(text)) == starts


@given(st.binary(max_size=30))
def test_percent_encoding_is_undone_as_urllib_does(text: bytes) -> None:
    """What urllib quotes comes back whole."""
    quoted = octets_of(urllib.parse.quote_from_bytes(text).encode())
    end = octets.unquote(quoted, 0, quoted.size)
    assert bytes(quoted[:end]) == text


@pytest.mark.parametrize("text", [b"%", b"%4", b"a%zz", b"%4g", b"%%41", b"%-1"])
def test_broken_percent_encoding_is_not_guessed_at(text: bytes) -> None:
    """A % without two hex digits is refused."""
    assert octets.unquote(octets_of(text), 0, len(text)) == NOT_FOUND


@given(st.binary(min_size=8, max_size=8), st.integers(0, 7))
def test_a_control_character_is_seen_among_eight_bytes(text: bytes, at: int) -> None:
    """has_control sees what is under 0x20 wherever it stands, and nothing from 0x80 on."""
    assert octets.has_control(octets_of(b" " * at + text), at) == any(byte < 0x20 for byte in text)
