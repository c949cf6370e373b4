"""When the loader rests: answers go first while the processors are taken, within what can be made good in a minute.

    a processor is idle, or hardly anybody asks    load what is there, at full speed
    none is, the lag is small                      rest nine times as long as the last file took; an outage is no work
                                                   and earns no rest
    none is, the lag is large                      load at full speed: from here the lag must not grow

A lag is small while the database, at the rate that it has shown, would load it in LAG_SECONDS_MAX.

Rules: pure but for `Processors`, which reads what the kernel has counted. Records that wait are safe: they are in the
spool, which has a bound of its own. A rest ends early when a processor falls idle or the lag has grown too large.
"""

from pathlib import Path
from typing import NamedTuple

from trinity.clock import NS_PER_SECOND
from trinity.limits import LAG_SECONDS_MAX, LOAD_ROWS_PER_SECOND_MIN

# Of the time under full load the loader has this part: 1 of 10.
_RESTS_A_LOAD = 9
# A whole segment is 1 s to 3 s of work. What took longer waited for a server or a disk that stood still: that took no
# processor from anybody, and nine times an outage of a minute would be another one, of nine.
_WORK_NS_MAX = 3 * NS_PER_SECOND
# How fast the database is, files tell that take longer than their transaction's fixed 10 ms; a slower one counts
# little, because it may have met the load, and not a slower database.
_TELLING_RECORDS = 50_000
_SLOWER_WEIGHT = 0.05
# Loading what arrives at this share of the database's rate takes no more time than the loader has while it rests: then
# it is not this node's load that takes the processors, and there is nothing to rest for.
_ARRIVING_SHARE_MIN = 0.1
# What waits by choice leaves the spool's room to outages.
_SPOOL_SHARE_MAX = 0.1
# Below this idle share of all processors the load is full: client and worker that wait for each other leave 5 % to 20 %
# of two processors, a node without load 70 %.
_IDLE_SHARE_MIN = 0.25
# The kernel counts in hundredths of a second: shorter spans say little.
_SPAN_NS_MIN = 200_000_000
# So often a rest looks whether it may end.
REST_TURN_SECONDS = 0.25

# The first line of /proc/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal; then guests' time,
# which stands in user and nice as well.
_IDLE, _IOWAIT, _COLUMNS = 3, 4, 8
_STAT = Path("/proc/stat")


class Ticks(NamedTuple):
    """Hundredths of a second of all processors since the machine's start."""

    idle: int
    total: int


class Pace:
    """The rest after each file; times are of the monotonic clock."""

    def __init__(self) -> None:
        self._rest_until_ns = 0
        self._rows_per_second = LOAD_ROWS_PER_SECOND_MIN

    def loaded(self, records: int, took_ns: int, now_ns: int) -> None:
        """A file took so long."""
        self._rest_until_ns = now_ns + min(took_ns, _WORK_NS_MAX) * _RESTS_A_LOAD
        if records >= _TELLING_RECORDS and took_ns > 0:
            rate = records * NS_PER_SECOND / took_ns
            slower = self._rows_per_second + (rate - self._rows_per_second) * _SLOWER_WEIGHT
            self._rows_per_second = max(rate, slower)

    def rests(
        self, now_ns: int, waiting: int, arriving_per_second: float, spool_share: float, idle_share: float
    ) -> bool:
        """Whether the next file has to wait while so many records do."""
        return (
            now_ns < self._rest_until_ns
            and arriving_per_second >= self._rows_per_second * _ARRIVING_SHARE_MIN
            and idle_share < _IDLE_SHARE_MIN
            and spool_share < _SPOOL_SHARE_MAX
            and waiting < self._rows_per_second * LAG_SECONDS_MAX
        )


class Arrivals:
    """How many records a second arrived since the reading before."""

    def __init__(self) -> None:
        self._before, self._read_at_ns, self._per_second = 0, 0, 0.0

    def per_second(self, total: int, now_ns: int) -> float:
        """`total` is a counter of all that ever arrived."""
        passed_ns = now_ns - self._read_at_ns
        if passed_ns >= _SPAN_NS_MIN:
            self._per_second = max(0, total - self._before) * NS_PER_SECOND / passed_ns
            self._before, self._read_at_ns = total, now_ns
        return self._per_second


class Processors:
    """How idle the machine's processors were since the reading before."""

    def __init__(self, stat: Path = _STAT) -> None:
        self._stat = stat
        self._share = 1.0
        self._before, self._read_at_ns = self._read(), 0

    def idle_share(self, now_ns: int) -> float:
        """From 0 to 1; 1 where the kernel does not tell."""
        if now_ns - self._read_at_ns >= _SPAN_NS_MIN:
            now = self._read()
            self._share = share_between(self._before, now)
            self._before, self._read_at_ns = now, now_ns
        return self._share

    def _read(self) -> Ticks:
        try:
            return parse_ticks(self._stat.read_bytes().split(b"\n", 1)[0])
        except OSError:
            return Ticks(0, 0)


def parse_ticks(line: bytes) -> Ticks:
    """The first line of /proc/stat; zeros for anything else. A disk that is waited for leaves the processor idle."""
    name, *columns = line.split()[: 1 + _COLUMNS] or [b""]
    if name != b"cpu" or len(columns) < _COLUMNS or not all(column.isdigit() for column in columns):
        return Ticks(0, 0)
    ticks = [int(column) for column in columns]
    return Ticks(ticks[_IDLE] + ticks[_IOWAIT], sum(ticks))


def share_between(before: Ticks, now: Ticks) -> float:
    """The idle share of the time between two readings; 1 where none passed or one of them says nothing."""
    passed = now.total - before.total
    if before.total == 0 or passed <= 0:
        return 1.0
    return min(max(0, now.idle - before.idle) / passed, 1.0)
