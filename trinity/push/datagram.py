"""The datagram of the push server: prices of one subscription, framed and signed. The layout, and plain Python for it.

All numbers are little-endian. One datagram is complete by itself and has 1,472 bytes at most:

     0   4  magic D7 'T' 'R' 'P'
     4   1  version 1
     5   1  flags: 1 SIMULATED
     6   1  why it was sent (vocabulary.DELIVERY_REASONS)
     7   1  count of prices
     8   4  key id: the first bytes of SHA-256 of the secret
    12   4  lifetime in ms: it expires at time + lifetime
    16   8  subscription
    24   8  sequence, strictly increasing within the subscription
    32   8  time, wall clock, ns since 1970
    40      for each price its name (1 byte length, then itself) and 20 bytes:
                8  price mantissa, signed             16  1  price exponent of 10, signed
            8   4  confidence mantissa                17  1  confidence exponent of 10, signed
           12   4  age in ms at `time`,               18  1  status, 0: fresh (STATUSES)
                   FFFFFFFF: there is no price        19  1  sources
    end 16  HMAC-SHA256 with the secret over all bytes before, its first 16

Rules: pure. A price that is not fresh is not given: price, confidence and sources are 0 and the status says why. While
a secret is being exchanged datagrams are signed with the older one until its time is over (`signing_secret`), so that
a receiver that knows both misses none. The compiled writer (workers/push/udp/) makes the same bytes.
"""

import datetime
import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import NamedTuple

from trinity.limits import ASSET_NAME_BYTES_MAX, UDP_PAYLOAD_BYTES_MAX
from trinity.vocabulary import DELIVERY_REASONS

MAGIC = b"\xd7TRP"
VERSION = 1
FLAG_SIMULATED = 1
HEADER = struct.Struct("<4sBBBB4sIQQQ")
HEADER_BYTES = HEADER.size
KEY_ID_BYTES = 4
NUMBERS = struct.Struct("<qIIbbBB")
NUMBERS_BYTES = NUMBERS.size
TAG_BYTES = 16
AGE_NONE = 2**32 - 1
assert HEADER_BYTES == 40
assert NUMBERS_BYTES == 20

# Why a price is not given, by number; the same numbers as in the answers to lookups over UDP.
STATUSES = (
    "fresh",
    "stale_price",
    "too_few_sources",
    "sources_disagree",
    "unknown_market",
    "price_too_old",  # older than the subscription's max_age_ms
    "too_few_sources",  # fewer than the subscription's min_sources
)
FRESH, STALE_PRICE, TOO_FEW_SOURCES, SOURCES_DISAGREE, UNKNOWN_MARKET, PRICE_TOO_OLD, BELOW_MIN_SOURCES = range(7)


class PushedPrice(NamedTuple):
    """One price of a datagram; without one all numbers but `age_ms` are 0."""

    asset: str
    status: int
    price: int = 0
    confidence: int = 0
    age_ms: int = AGE_NONE
    exponent: int = 0
    confidence_exponent: int = 0
    sources: int = 0


class Datagram(NamedTuple):
    """What a datagram says."""

    subscription_id: int
    sequence: int
    time_ns: int
    lifetime_ms: int
    reason: int
    is_simulated: bool
    prices: tuple[PushedPrice, ...]


def key_id_of(secret: bytes) -> bytes:
    """How a datagram names the secret that signed it."""
    return hashlib.sha256(secret).digest()[:KEY_ID_BYTES]


def signing_secret(
    secret: bytes, old_secret: bytes | None, old_secret_until: datetime.datetime | None, now: datetime.datetime
) -> bytes:
    """The one that signs datagrams now."""
    is_old = old_secret is not None and old_secret_until is not None and now < old_secret_until
    return old_secret if is_old and old_secret is not None else secret


def price_bytes(name: str) -> int:
    """What a price takes in a datagram."""
    return 1 + len(name) + NUMBERS_BYTES


def shared_out(names: Sequence[str]) -> list[int]:
    """How many of the prices each datagram has: as many as go into it, in their order."""
    room = UDP_PAYLOAD_BYTES_MAX - HEADER_BYTES - TAG_BYTES
    counts, left = [0], room
    for name in names:
        if price_bytes(name) > left:
            counts.append(0)
            left = room
        counts[-1] += 1
        left -= price_bytes(name)
    return counts


def encode(datagram: Datagram, secret: bytes) -> bytes:
    """The bytes that are sent."""
    flags = FLAG_SIMULATED if datagram.is_simulated else 0
    kind = (MAGIC, VERSION, flags, datagram.reason, len(datagram.prices), key_id_of(secret))
    numbers = (datagram.subscription_id, datagram.sequence, datagram.time_ns)
    parts = [HEADER.pack(*kind, datagram.lifetime_ms, *numbers)]
    for asset, status, *rest in datagram.prices:
        price, confidence, age_ms, exponent, places, sources = rest
        name = asset.encode("ascii")
        assert 1 <= len(name) <= ASSET_NAME_BYTES_MAX
        parts.append(bytes([len(name)]) + name)
        parts.append(NUMBERS.pack(price, confidence, age_ms, exponent, places, status, sources))
    signed = b"".join(parts)
    assert len(signed) + TAG_BYTES <= UDP_PAYLOAD_BYTES_MAX
    return signed + hmac.digest(secret, signed, "sha256")[:TAG_BYTES]


def verify(datagram: bytes, secrets: Sequence[bytes]) -> Datagram | None:
    """What it says; None for what none of the secrets signed, or is no whole datagram of this version."""
    if len(datagram) < HEADER_BYTES + TAG_BYTES:
        return None
    signed, tag = datagram[:-TAG_BYTES], datagram[-TAG_BYTES:]
    key_id = datagram[8 : 8 + KEY_ID_BYTES]
    for secret in secrets:
        if key_id_of(secret) == key_id and hmac.compare_digest(hmac.digest(secret, signed, "sha256")[:TAG_BYTES], tag):
            return _read(signed)
    return None


def _read(signed: bytes) -> Datagram | None:
    magic, version, flags, reason, count, _key, lifetime_ms, subscription, sequence, time_ns = HEADER.unpack_from(
        signed
    )
    if magic != MAGIC or version != VERSION or reason >= len(DELIVERY_REASONS):
        return None
    prices, at = [], HEADER_BYTES
    for _ in range(count):
        end = at + 1 + (signed[at] if at < len(signed) else 0)
        if end + NUMBERS_BYTES > len(signed):
            return None
        price, confidence, age_ms, exponent, places, status, sources = NUMBERS.unpack_from(signed, end)
        if status >= len(STATUSES) or not signed[at + 1 : end].isascii():
            return None
        name = signed[at + 1 : end].decode("ascii")
        prices.append(PushedPrice(name, status, price, confidence, age_ms, exponent, places, sources))
        at = end + NUMBERS_BYTES
    if at != len(signed):
        return None
    is_simulated = bool(flags & FLAG_SIMULATED)
    return Datagram(subscription, sequence, time_ns, lifetime_ms, reason, is_simulated, tuple(prices))
