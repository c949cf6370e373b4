"""Prices, changes and moments as CoinGecko writes them: plain digits, never an exponent, no price becomes 0. Pure.

Rules: numbers are Decimal until they are written. A quotient of two prices has QUOTIENT_DIGITS digits, a change in
percent CHANGE_DECIMALS decimals, as CoinGecko's have. `precision` rounds to so many decimals, half to even; a price
that would be 0 then keeps its first digits instead (SMALL_DIGITS).
"""

import functools
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

QUOTIENT_DIGITS = 12
CHANGE_DECIMALS = 5
SMALL_DIGITS = 4
ONE = Decimal(1)


def quotient(value: Decimal, unit: Decimal) -> Decimal:
    """`value` in units of `unit`; exact in USD, whose unit is 1."""
    return value if unit == ONE else round_to_digits(value / unit, QUOTIENT_DIGITS)


def round_to_digits(value: Decimal, digits: int) -> Decimal:
    """The value with so many digits that mean something."""
    return round(value, digits - 1 - value.adjusted())


def rounded(price: Decimal, decimals: int | None) -> Decimal:
    """The price to so many decimals; None: as it is."""
    if decimals is None or not price:
        return price
    return round(price, decimals) or round_to_digits(price, SMALL_DIGITS)


def number(value: Decimal) -> msgspec.Raw:
    """The value as JSON, in plain digits."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return msgspec.Raw((text if text != "-0" else "0").encode())


def numbers(texts: Iterable[str]) -> msgspec.Raw:
    """A JSON list of numbers that are in plain digits already."""
    return msgspec.Raw(f"[{','.join(texts)}]".encode())


def number_or_null(value: Decimal | None) -> msgspec.Raw | None:
    """The same; what is not known is null."""
    return None if value is None else number(value)


def change_percent(now: Decimal | None, then: Decimal | None) -> msgspec.Raw | None:
    """By how many percent a price has changed; null where one of the two is not known."""
    if now is None or not then:
        return None
    return number(round((now / then - 1) * 100, CHANGE_DECIMALS))


def iso_time(milliseconds: int) -> str:
    """A moment as 2026-01-31T12:00:00.000Z."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_iso_second(seconds)}.{rest:03}Z"


@functools.lru_cache(maxsize=64)  # the prices of a table are all of the same few seconds
def _iso_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
