"""What callers may ask for, as text, and what it means: moments, spans, zones, names. Pure.

Rules: each reader takes the parameter's name and refuses with it (`ProblemError`, 400, `field`). A moment is ISO 8601,
in the caller's zone where it names none, or seconds or milliseconds since 1970. A span is at most so many days long.
"""

import functools
import re
import zoneinfo
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from workers.api.base.problems import ProblemError, bad_parameter

# 93 days are kept; a span may begin a week before that.
SPAN_DAYS_MAX = 100
# As many names as one datagram of a lookup may have.
NAMES_MAX = 64
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_LAST = datetime(2100, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[0-9]{1,14}", re.ASCII)
_MOMENT = re.compile(r"[0-9][0-9TtZz:.+ -]{7,39}", re.ASCII)
_MILLISECONDS_FROM = 10**11  # as seconds that would be the year 5138
_PERIOD = re.compile(r"([1-9][0-9]{0,3})([mhd])", re.ASCII)
_PERIOD_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_NAME = re.compile(r"[A-Za-z0-9]{1,16}", re.ASCII)
_NO_ZONE = "not a time zone: use a name of the IANA database, for example Europe/Berlin"


class TimeSpan(NamedTuple):
    """A time with its end left out, both in UTC, and the zone in which it is read and shown."""

    start: datetime
    end: datetime
    zone: zoneinfo.ZoneInfo


def read_span(
    start: str | None,
    end: str | None,
    zone_name: str,
    now: datetime,
    default: timedelta = timedelta(days=1),
    days_max: int = SPAN_DAYS_MAX,
) -> TimeSpan:
    """The span of `from`, `to` and `tz`; what is missing is now, and `default` before the end."""
    zone = read_zone(zone_name)
    last = read_moment(end, "to", zone) if end is not None else now
    first = read_moment(start, "from", zone) if start is not None else last - default
    if first >= last:
        raise bad_parameter("from" if end is None else "to", "`from` must be before `to`")
    if last - first > timedelta(days=days_max):
        raise bad_parameter("from", f"at most {days_max} days can be asked for at once")
    return TimeSpan(first, last, zone)


def read_moment(text: str, field: str, zone: zoneinfo.ZoneInfo) -> datetime:
    """A moment in UTC."""
    moment: datetime | None = None
    try:
        if _NUMBER.fullmatch(text):
            number = int(text)
            moment = datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS_FROM else number, UTC)
        elif _MOMENT.fullmatch(text):
            moment = datetime.fromisoformat(text)
            moment = (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        moment = None
    if moment is None:
        detail = "not a time: use 2026-01-31, 2026-01-31T12:00:00Z or seconds since 1970 (write + as %2B)"
        raise bad_parameter(field, detail)
    if not _FIRST <= moment < _LAST:
        raise bad_parameter(field, f"the year is not between {_FIRST.year} and {_LAST.year}")
    return moment


def read_period(text: str, field: str) -> timedelta:
    """`15m`, `24h`, `93d`."""
    found = _PERIOD.fullmatch(text)
    period = int(found[1]) * _PERIOD_UNITS[found[2]] if found else timedelta()
    if not timedelta() < period <= timedelta(days=SPAN_DAYS_MAX):
        raise bad_parameter(field, f"not a period: use 15m, 24h or 7d, at most {SPAN_DAYS_MAX}d")
    return period


@functools.lru_cache(maxsize=1024)
def read_zone(name: str) -> zoneinfo.ZoneInfo:
    """A zone of the IANA database, by its exact name."""
    if name not in _zone_names():
        raise bad_parameter("tz", _NO_ZONE)
    return zoneinfo.ZoneInfo(name)


@functools.cache
def _zone_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def refuse_unknown(sent: Iterable[tuple[str, str]], known: Mapping[str, bool]) -> None:
    """A misspelt parameter must not be dropped silently; `known` says of each whether it is a list."""
    for name, count in Counter(name for name, _ in sent).items():
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise ProblemError(
                400, "unknown_parameter", f"{name[:64]!r} is not a parameter here; there are: {names}", name[:64]
            )
        if count > 1 and not known[name]:
            raise ProblemError(400, "repeated_parameter", f"{name} stands there {count} times", name)


def is_name(text: str) -> bool:
    """Whether an asset could have this name, in any case."""
    return _NAME.fullmatch(text) is not None


def read_names(text: str | None, field: str) -> list[str] | None:
    """Names of assets, separated by commas, in upper case; None for no parameter."""
    if text is None:
        return None
    if text.count(",") >= NAMES_MAX:
        raise ProblemError(400, "too_many_assets", f"at most {NAMES_MAX} names", field)
    names = text.split(",")
    for name in names:
        if not is_name(name):
            raise bad_parameter(field, "an asset's name is 1 to 16 letters and digits")
    return [name.upper() for name in names]
