"""Which kept sums make up a span of time: days where they fit, hours and minutes at the edges. Pure.

    minute_from    hour_from          day_from ............ day_to          hour_to    minute_to
    |--- minutes ---|----- hours ------|------- days --------|----- hours ----|- minutes -|

Rules: sums are kept by minute, hour and day of UTC. A sum is used only when all of it lies in one bucket of the answer:
days of another zone are made of hours, and where a zone is not whole hours away from UTC, of minutes; months are made
of days. Every moment of the span is counted once. A span is widened to whole minutes. How many minutes and hours a
report may read is bounded: an hour is sixty minutes, so 93 days would be a scan of everything. Sums by day are kept for
years, the others for months: who asks for more of those than there are is told so, and not given less.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

from workers.api.base.parameters import TimeSpan
from workers.api.base.problems import ProblemError

Granularity = Literal["minute", "hour", "day", "month"]

# Days that may be read as minutes: of an account's keys, and of all keys. A day of minutes of 200 keys is 300,000 rows.
MINUTE_DAYS_MAX, MINUTE_DAYS_MAX_OF_ALL = 31, 8
# Days that may be read at all: ten years, and as hours.
DAYS_MAX, HOUR_DAYS_MAX = 3_700, 100

MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Pieces(NamedTuple):
    """The borders of the drawing above; an empty piece begins where it ends. Named as the statements' parameters."""

    minute_from: datetime
    hour_from: datetime
    day_from: datetime
    day_to: datetime
    hour_to: datetime
    minute_to: datetime


def cut(span: TimeSpan, granularity: Granularity | None) -> Pieces:
    """The pieces of a span for buckets of this granularity; None: the whole span is one bucket."""
    start, end = _down(span.start, MINUTE), round_up(span.end, MINUTE)
    whole_hours = granularity is None or (granularity != "minute" and _keeps_whole_hours(span))
    hour_from, hour_to = (round_up(start, _HOUR), _down(end, _HOUR)) if whole_hours else (end, end)
    if hour_from >= hour_to:
        return Pieces(start, end, end, end, end, end)
    whole_days = granularity is None or (granularity in ("day", "month") and _keeps_utc(span))
    day_from, day_to = (round_up(hour_from, _DAY), _down(hour_to, _DAY)) if whole_days else (hour_to, hour_to)
    if day_from >= day_to:
        day_from = day_to = hour_to
    return Pieces(start, hour_from, day_from, day_to, hour_to, end)


def check(pieces: Pieces, granularity: Granularity | None, is_of_all: bool, detail_from: date) -> None:
    """Refuse what would read too much, and what is kept no more, by the name of the parameter that asks for it.

    `detail_from` is the first day of which hours and minutes are kept.
    """
    days_max = MINUTE_DAYS_MAX_OF_ALL if is_of_all else MINUTE_DAYS_MAX
    if (pieces.hour_from - pieces.minute_from) + (pieces.minute_to - pieces.hour_to) > days_max * _DAY:
        field = "granularity" if granularity == "minute" else "tz"
        why = "minutes" if granularity == "minute" else f"a {granularity} that is not made of whole hours of UTC"
        detail = f"{why}: at most {days_max} days at once; ask for a shorter span, another granularity or another tz"
        raise ProblemError(400, "range_too_large", detail, field)
    if (pieces.day_from - pieces.hour_from) + (pieces.hour_to - pieces.day_to) > HOUR_DAYS_MAX * _DAY:
        field = "granularity" if granularity == "hour" else "tz"
        detail = f"at most {HOUR_DAYS_MAX} days of hours at once; for more ask for days or months with tz=UTC"
        raise ProblemError(400, "range_too_large", detail, field)
    finer = ((pieces.minute_from, pieces.day_from), (pieces.day_to, pieces.minute_to))
    if any(start < end and start.date() < detail_from for start, end in finer):
        detail = f"before {detail_from} only days are kept: ask for days or months, with tz=UTC, from and to midnight"
        raise ProblemError(400, "detail_gone", detail, "from")


def _keeps_whole_hours(span: TimeSpan) -> bool:
    """Whether the zone's hours and days begin with an hour of UTC throughout the span."""
    return all(offset % _HOUR == timedelta() for offset in _offsets(span))


def _keeps_utc(span: TimeSpan) -> bool:
    return all(offset == timedelta() for offset in _offsets(span))


def _offsets(span: TimeSpan) -> set[timedelta]:
    """Offsets from UTC; a zone changes at most twice in some months, and stays longer than a day."""
    days = (span.end - span.start) // _DAY + 1
    moments = [min(span.start + number * _DAY, span.end) for number in range(days + 1)]
    return {moment.astimezone(span.zone).utcoffset() or timedelta() for moment in moments}


def _down(moment: datetime, unit: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % unit


def round_up(moment: datetime, unit: timedelta) -> datetime:
    """The next whole unit of UTC, or the moment itself."""
    return moment + (_EPOCH - moment) % unit
