"""trinity/push/datagram.py"""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.limits import UDP_PAYLOAD_BYTES_MAX
from trinity.push.datagram import (
    AGE_NONE,
    FRESH,
    HEADER_BYTES,
    STATUSES,
    TAG_BYTES,
    Datagram,
    PushedPrice,
    encode,
    shared_out,
    signing_secret,
    verify,
)
from trinity.vocabulary import DELIVERY_OUTCOMES, DELIVERY_REASONS

SECRETS = st.binary(min_size=24, max_size=64)
NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=16)
WORD = st.integers(0, 2**64 - 1)
PRICES = st.builds(
    PushedPrice, NAMES, st.integers(0, len(STATUSES) - 1), st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**32 - 1), st.integers(0, AGE_NONE), st.integers(-18, 18), st.integers(-18, 18),
    st.integers(0, 255),
)  # fmt: skip
DATAGRAMS = st.builds(
    Datagram, WORD, WORD, WORD, st.integers(0, 2**32 - 1), st.integers(0, len(DELIVERY_REASONS) - 1), st.booleans(),
    st.lists(PRICES, max_size=30).map(tuple),
)  # fmt: skip

# A datagram as it is documented; its signature is OpenSSL's (openssl dgst -sha256 -mac HMAC).
SECRET = bytes(range(24))
BTC = PushedPrice("BTC", FRESH, 710_005, 31, 250, -1, -1, 6)
EXAMPLE = Datagram(12, 1 << 32 | 1, 1_767_225_600_000_000_000, 10_000, 0, True, (BTC,))
EXAMPLE_BYTES = bytes.fromhex(
    "d754525001010001"  # magic, version, flags, reason, count
    "1d64add2"  # key id
    "10270000"  # lifetime
    "0c000000000000000100000001000000"  # subscription and sequence
    "0000faed51728618"  # time
    "03425443"  # name
    "75d50a00000000001f000000fa000000ffff0006"  # price, confidence, age, exponents, status, sources
    "7068a4cee8b2db3a0c69781cc736c4df"  # signature
)


@given(DATAGRAMS, SECRETS, SECRETS)
def test_what_one_of_the_secrets_signed_is_read_as_it_was(said: Datagram, secret: bytes, other: bytes) -> None:
    """Whichever of the receiver's two it is, and by no other."""
    datagram = encode(said, secret)
    assert verify(datagram, [secret]) == verify(datagram, [other, secret]) == said
    if other != secret:
        assert verify(datagram, [other]) is None
    assert verify(datagram, []) is None


@given(DATAGRAMS, SECRETS, st.data())
def test_no_changed_or_shortened_datagram_is_read(said: Datagram, secret: bytes, data: st.DataObject) -> None:
    """Not one bit of it may be another one."""
    datagram = bytearray(encode(said, secret))
    datagram[data.draw(st.integers(0, len(datagram) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert verify(bytes(datagram), [secret]) is None
    assert verify(encode(said, secret)[: data.draw(st.integers(0, len(datagram) - 1))], [secret]) is None


@given(st.binary(max_size=200), SECRETS)
def test_signed_bytes_that_are_no_datagram_are_none(content: bytes, secret: bytes) -> None:
    """A later version, a count that does not fit: nothing but None comes out."""
    import hmac

    head = encode(Datagram(1, 1, 1, 1, 0, False, ()), secret)[:HEADER_BYTES]
    for start in (head[:4] + b"\2" + head[5:], head[:7] + b"\7" + head[8:], head[:6] + b"\x63" + head[7:]):
        signed = start + content
        found = verify(signed + hmac.digest(secret, signed, "sha256")[:TAG_BYTES], [secret])
        assert found is None or len(found.prices) == 7


def test_the_documented_example_is_what_is_sent() -> None:
    """All of its bytes, and the signature of another implementation."""
    assert encode(EXAMPLE, SECRET) == EXAMPLE_BYTES
    assert verify(EXAMPLE_BYTES, [SECRET]) == EXAMPLE


@given(st.lists(NAMES, min_size=1, max_size=150))
def test_assets_are_shared_out_in_their_order_over_as_few_datagrams_as_hold_them(names: list[str]) -> None:
    """Each is full: the first price of the next one would not have gone in."""
    counts, first = shared_out(names), 0
    assert sum(counts) == len(names)
    for count in counts:
        part = tuple(PushedPrice(name, FRESH) for name in names[first : first + count + 1])
        said = Datagram(1, 1, 1, 1, 0, False, part[:count])
        size = len(encode(said, b"s" * 24))
        assert size <= UDP_PAYLOAD_BYTES_MAX
        first += count
        if first < len(names):
            assert size + 21 + len(names[first]) > UDP_PAYLOAD_BYTES_MAX


@pytest.mark.parametrize(("minutes", "expected"), [(-1, b"old"), (0, b"new"), (1, b"new")])
def test_the_older_secret_signs_until_its_time_is_over(minutes: int, expected: bytes) -> None:
    """A receiver that knows both misses nothing, whenever in between it learnt the new one."""
    until = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    now = until + datetime.timedelta(minutes=minutes)
    assert signing_secret(b"new", b"old", until, now) == expected
    assert signing_secret(b"new", None, None, now) == b"new"


def test_reasons_and_outcomes_keep_their_numbers() -> None:
    """They are stored, and sent."""
    assert DELIVERY_REASONS == ("interval", "deviation", "heartbeat", "recovery", "test", "replay")
    assert (DELIVERY_OUTCOMES.index("delivered"), DELIVERY_OUTCOMES.index("sent")) == (0, 12)
