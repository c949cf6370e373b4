"""Whether a node's service is in the load balancer's lists, and when it is asked next. Pure.

    200          it is in, at once
    another      the node itself says no (503: it drains, it has no fresh price): it is out, at once
    no answer    refused, broken off, silent: out after `misses_max` in a row, asked quickly until that is settled

Rules: who is in and answers is asked every `interval`; who is out, or has just not answered, every `quick`. Whoever
was never heard of is neither in nor out. Where nobody is in, all are (`chosen`): a load balancer that asks nobody helps
nobody, and a check that is wrong everywhere must not be an outage.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from trinity.clock import NS_PER_SECOND
from trinity.errors import InputError

# The first of these is the specification's. With the second a node that is gone is out 0.6 s after its connections
# ended: before somebody whose datagram went down with it asks again.
INTERVAL_SECONDS, QUICK_SECONDS = 30.0, 0.3
# One that is refused may be a health process that died alone and begins anew, while its node answers lookups.
MISSES_MAX = 3

Name = TypeVar("Name")


class ListStanding(enum.Enum):
    """Of one service of one node."""

    UNKNOWN = "unknown"
    IN = "in"
    OUT = "out"


@dataclass(frozen=True)
class AskingPace:
    """How often is asked, and how many silences are an end; InputError."""

    interval_ns: int = int(INTERVAL_SECONDS * NS_PER_SECOND)
    quick_ns: int = int(QUICK_SECONDS * NS_PER_SECOND)
    misses_max: int = MISSES_MAX

    def __post_init__(self) -> None:
        if not 0 < self.quick_ns <= self.interval_ns:
            raise InputError("--quick", "more than 0 s, and not more than --interval")
        if self.misses_max < 1:
            raise InputError("--misses", "at least 1")


class ServiceHealth:
    """What is known of one service of one node."""

    def __init__(self, pace: AskingPace) -> None:
        self._pace = pace
        self._misses = 0
        self.standing = ListStanding.UNKNOWN
        self.reason = "not asked yet"

    def hear(self, status: int, reason: str) -> None:
        """`status` of its answer, 0 where there was none; `reason` says why not."""
        if status == 200:
            self._misses, self.standing, self.reason = 0, ListStanding.IN, ""
        elif status:
            self._misses, self.standing, self.reason = 0, ListStanding.OUT, reason
        else:
            self._misses += 1
            self.reason = reason
            if self._misses >= self._pace.misses_max:
                self.standing = ListStanding.OUT

    @property
    def wait_ns(self) -> int:
        """Until it is asked again."""
        is_settled = self.standing is ListStanding.IN and not self._misses
        return self._pace.interval_ns if is_settled else self._pace.quick_ns


def chosen(standings: Sequence[tuple[Name, ListStanding]]) -> list[Name]:
    """Who is asked: who is in, and who was never heard of; all, where that is nobody."""
    good = [name for name, standing in standings if standing is not ListStanding.OUT]
    return good or [name for name, _ in standings]
