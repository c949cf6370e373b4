"""When which job is due, and what is told of it.

Rules: pure; time and randomness are arguments. A job is due at once when new, then its period after the end of a run
that went well. After one that failed it is due by its own back-off (trinity/backoff.py), whatever its period is: an
hour is too long for what failed for a second. What one job does changes nothing for another. News of a job is one line
a change of its state, which is the kind of its failure: the words of two deadlocks differ, the state does not.
"""

from collections.abc import Mapping
from random import Random

from trinity.backoff import Backoff
from trinity.clock import NS_PER_SECOND
from trinity.observe.log import Settled

# No job is repeated within a second after a failure, and none waits for longer than a minute.
RETRY_FLOOR_SECONDS, RETRY_CAP_SECONDS = 1.0, 60.0


class Schedule:
    """The due times of jobs, by their names; the order is that of `every_seconds`."""

    def __init__(self, every_seconds: Mapping[str, float], random: Random) -> None:
        self._every_ns = {name: int(seconds * NS_PER_SECOND) for name, seconds in every_seconds.items()}
        self._due_ns = dict.fromkeys(every_seconds, 0)
        # A run that goes well is proof of recovery: no time of good data is waited for.
        self._backoffs = {
            name: Backoff(random, RETRY_FLOOR_SECONDS, cap_seconds=RETRY_CAP_SECONDS, reset_seconds=0.0)
            for name in every_seconds
        }
        self._news = {name: Settled(None) for name in every_seconds}
        self._failing: dict[str, str] = {}

    def is_due(self, name: str, now_ns: int) -> bool:
        return now_ns >= self._due_ns[name] and self._backoffs[name].is_due(now_ns)

    def begin(self, name: str, now_ns: int) -> None:
        """A run begins; should it end without a word, it is tried again."""
        self._backoffs[name].on_try(now_ns)

    def succeeded(self, name: str, now_ns: int) -> bool:
        """A run went well; whether to tell that the job works again."""
        self._backoffs[name].on_good(now_ns)
        self._due_ns[name] = now_ns + self._every_ns[name]
        self._failing.pop(name, None)
        return self._news[name].is_news(None, now_ns)

    def failed(self, name: str, kind: str, now_ns: int) -> bool:
        """A run failed; whether to tell so."""
        self._backoffs[name].on_failure(now_ns)
        self._failing[name] = kind
        return self._news[name].is_news(kind, now_ns)

    def is_failing(self, name: str) -> bool:
        return name in self._failing

    def begin_anew(self) -> None:
        """Another connection, perhaps to another database: everything is due, but what failed a moment ago."""
        self._due_ns = dict.fromkeys(self._due_ns, 0)
