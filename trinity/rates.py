"""A rate as one number: so many requests in so many whole seconds, 32 bits.

    requests (20 bits) | seconds - 1 (12 bits, at 20)        a rate of one second is the number of its requests

    "200"  "0.2"  "1/5s"  "90/m"  "1000/h"  "0"              what people write; 0 is no limit

Rules: exact, because the limit and its header (`q=1;w=5`) both come from the same two whole numbers: a third of a
request a second is 1 in 3, and not 333 in 1,000. A decimal becomes the fraction that it is, or is refused. Pure.
"""

import re
from fractions import Fraction

from trinity.limits import RATE_REQUESTS_MAX, RATE_SECONDS_MAX

SECONDS_SHIFT = 20
REQUESTS_MASK = (1 << SECONDS_SHIFT) - 1
RATE_BITS = 0xFFFF_FFFF
assert RATE_REQUESTS_MAX <= REQUESTS_MASK
assert RATE_SECONDS_MAX < 1 << 32 - SECONDS_SHIFT, "-1 is no rate"

_UNITS = {"s": 1, "m": 60, "h": 3600}
# At most nine digits before and behind a point: anything longer is out of bounds anyway.
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_IN_A_TIME = re.compile(r"([0-9]{1,9})/([0-9]{1,4})?([smh])", re.ASCII)


def rate_of(requests: int, seconds: int = 1) -> int:
    """The rate of `requests` in `seconds`; ValueError beyond the bounds."""
    if not 0 <= requests <= RATE_REQUESTS_MAX:
        raise ValueError(f"{requests} requests are not between 0 and {RATE_REQUESTS_MAX}")
    if not 1 <= seconds <= RATE_SECONDS_MAX:
        raise ValueError(f"{seconds} seconds are not between 1 and {RATE_SECONDS_MAX}")
    return requests | seconds - 1 << SECONDS_SHIFT if requests else 0


def requests_of(rate: int) -> int:
    return rate & REQUESTS_MASK


def seconds_of(rate: int) -> int:
    return (rate >> SECONDS_SHIFT) + 1


def read_rate(text: str) -> int:
    """The rate that a person wrote; ValueError says what is wrong with it."""
    if found := _IN_A_TIME.fullmatch(text):
        return rate_of(int(found[1]), int(found[2] or 1) * _UNITS[found[3]])
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:24]!a} is not a rate like 200, 0.2 or 1/5s")
    fraction = Fraction(text)
    if fraction.denominator > RATE_SECONDS_MAX:
        raise ValueError(f"{text} cannot be kept exactly: write it as requests in a time, like 1/5s or 90/m")
    return rate_of(fraction.numerator, fraction.denominator)


def rate_text(requests: int, seconds: int) -> str:
    """As people read it, and as `read_rate` reads it again."""
    return str(requests) if seconds == 1 else f"{requests}/{seconds}s"
