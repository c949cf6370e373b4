"""Moments on the command line: ISO 8601 (UTC where no offset stands), or seconds since 1970. Pure."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from trinity.clock import NS_PER_SECOND, NS_PER_US
from trinity.errors import InputError

_EPOCH = datetime.fromtimestamp(0, UTC)
# The tables and recordings keep times as signed 64-bit nanoseconds: up to the year 2262.
_SECONDS_MAX = 2**63 // NS_PER_SECOND


def parse_moment(field: str, text: str) -> int:
    """Nanoseconds since 1970; InputError names the argument `field`."""
    seconds = _number(text)
    if seconds is not None:
        if not 0 <= seconds < _SECONDS_MAX:
            raise InputError(field, f"{text!r} is not between 1970 and 2262")
        return int(seconds * NS_PER_SECOND)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(field, f"{text[:40]!r} is neither 2026-01-31T12:00:00Z nor seconds since 1970") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    span_us = (moment - _EPOCH) // timedelta(microseconds=1)
    if not 0 <= span_us * NS_PER_US < _SECONDS_MAX * NS_PER_SECOND:
        raise InputError(field, f"{text!r} is not between 1970 and 2262")
    return span_us * NS_PER_US


def _number(text: str) -> Decimal | None:
    """Plain digits with at most one point, as people write seconds."""
    if not text.isascii() or not text.replace(".", "", 1).isdigit() or len(text) > 30:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
