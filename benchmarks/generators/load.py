"""What a load is and what came of it: shared by the HTTP and the UDP generator.

Rules: a generator connects once and then makes any number of runs; a run is a closed loop (each connection asks
again when it was answered) or an open loop at a fixed rate (requests fall due whether or not the server keeps up).
In the open loop a latency counts from the time at which the request was due, so a server that stalls pays for every
request that it delayed (no coordinated omission).
"""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.generators.checks import FAULTS, LOST, Ints
from benchmarks.generators.histogram import Latencies
from trinity.compiled import compiled

# Words of the counters that the compiled loops fill; behind them one word a fault.
SENT, ANSWERED, LOOKUPS, CLOSED, STARTED_NS, ENDED_NS = range(6)
FAULT_BASE = 6
COUNTER_WORDS = FAULT_BASE + len(FAULTS)

# Answers that are still out when a run ends are waited for this long, then they are lost.
DRAIN_NS = 1_000_000_000


@dataclass(frozen=True)
class Load:
    """One run: `rate` 0 is the closed loop, else requests a second over all connections."""

    seconds: float
    rate: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a run measured. Each request sent is either answered rightly or a fault; `faults` holds those that occurred.

    `closed` counts connections that the server closed, asked or unasked.
    """

    seconds: float
    sent: int
    answered: int
    lookups: int
    closed: int
    faults: dict[str, int]
    latencies: Latencies = field(repr=False)

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def lookups_per_second(self) -> float:
        return self.lookups / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, rates and latency percentiles in microseconds."""
        return {
            "seconds": round(self.seconds, 4),
            "sent": self.sent,
            "answered": self.answered,
            "closed": self.closed,
            "per_second": round(self.per_second, 1),
            "lookups_per_second": round(self.lookups_per_second, 1),
            "faults": self.faults,
            "latency_us": self.latencies.summary_us(),
        }


@compiled
def in_flight(counters: Ints) -> int:
    """Requests that fell due and are neither answered nor counted as a fault."""
    count = int(counters[SENT] - counters[ANSWERED])
    for fault in range(FAULT_BASE, COUNTER_WORDS):
        count -= int(counters[fault])
    return count


def outcome_of(counters: Ints, latencies: Latencies) -> Outcome:
    """Read a compiled loop's counters; what was neither answered nor counted otherwise is the fault `lost`.

    In the open loop that includes requests that fell due and could not be sent while the server lagged behind.
    """
    sent, answered = int(counters[SENT]), int(counters[ANSWERED])
    counts = {name: int(counters[FAULT_BASE + i]) for i, name in enumerate(FAULTS)}
    # Answers that nobody asked for are faults too, so faults and answers may be more than requests.
    counts[FAULTS[LOST]] += max(0, in_flight(counters))
    seconds = max(0, int(counters[ENDED_NS] - counters[STARTED_NS])) / 1e9
    faults = {name: count for name, count in counts.items() if count}
    return Outcome(seconds, sent, answered, int(counters[LOOKUPS]), int(counters[CLOSED]), faults, latencies)
