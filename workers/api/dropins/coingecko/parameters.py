"""What clients of CoinGecko send as text, and what it means: lists, decimals, days, moments, windows. Pure.

Rules: each reader refuses with the parameter's name and what is allowed. A moment is seconds since 1970, also with a
fraction, or milliseconds, or ISO 8601 (2026-01-31, 2026-01-31T12:00, with or without a zone; UTC without one).
"""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from trinity.limits import ASSETS_MAX
from workers.api.base.parameters import read_moment
from workers.api.base.problems import bad_parameter
from workers.api.history.past import WINDOWS

# Days that the database keeps; "max" means as many.
DAYS_MAX = 93
DECIMALS_MAX = 18
# Windows that CoinGecko has and no candle here reaches back to: asked for, they are null.
TOO_LONG = ("200d", "1y")
_UNIX = re.compile(r"-?[0-9]{1,14}(\.[0-9]{1,9})?", re.ASCII)
_MILLISECONDS_FROM = 10**11  # as seconds that would be the year 5138
_SECONDS_MAX = 4_102_444_800  # the year 2100
_DAYS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)
_UTC = ZoneInfo("UTC")


def read_words(text: str | None, field: str) -> list[str]:
    """`bitcoin, ethereum` as words, as they were written."""
    words = [word.strip() for word in (text or "").split(",")]
    if len(words) > ASSETS_MAX:
        raise bad_parameter(field, f"at most {ASSETS_MAX} of them, not {len(words)}")
    return [word for word in words if word]


def read_decimals(precision: str) -> int | None:
    """Decimals of a price; None for all that it has."""
    if precision in ("", "full"):
        return None
    if not (precision.isascii() and precision.isdigit() and len(precision) <= 2 and int(precision) <= DECIMALS_MAX):
        raise bad_parameter("precision", f"{precision[:16]!r} is neither full nor 0 to {DECIMALS_MAX}")
    return int(precision)


def read_days(days: str) -> timedelta:
    """A number of days, at most as many as are kept."""
    if days == "max":
        return timedelta(days=DAYS_MAX)
    if not _DAYS.fullmatch(days) or not Decimal(days):
        raise bad_parameter("days", f"{days[:16]!r} is neither a number of days nor max")
    return timedelta(days=float(min(Decimal(days), Decimal(DAYS_MAX))))


def read_time(text: str, field: str) -> datetime:
    """A moment in UTC; what lies before 1970 or behind 2100 is the end of that time."""
    if not _UNIX.fullmatch(text):
        return read_moment(text, field, _UTC)
    seconds = float(text)
    seconds = seconds / 1000 if seconds >= _MILLISECONDS_FROM else seconds
    return datetime.fromtimestamp(min(max(seconds, 0.0), _SECONDS_MAX), UTC)


def read_date(text: str, field: str, today: date) -> datetime:
    """Midnight (UTC) of a day that is not ahead: 31-01-2026, or 2026-01-31."""
    for form in ("%d-%m-%Y", "%Y-%m-%d"):
        try:
            day = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        if day.date() > today:
            raise bad_parameter(field, f"{day:%d-%m-%Y} is ahead: today is {today:%d-%m-%Y} (UTC)")
        return day
    raise bad_parameter(field, f"{text[:16]!r} is not a date: use 31-01-2026 or 2026-01-31")


def read_windows(text: str) -> list[str]:
    """`1h,24h,7d` as names of windows."""
    words = read_words(text, "price_change_percentage")
    allowed = (*WINDOWS, *TOO_LONG)
    for word in words:
        if word not in allowed:
            raise bad_parameter("price_change_percentage", f"{word[:16]!r} is not one of {', '.join(allowed)}")
    return words
