"""What Valkey holds of the ledger, as it is told in Valkey itself: `sync:mark`.

    database   which PostgreSQL it is of: its identity, and the line of its history
    snapshot   a snapshot of its transactions: what that saw, is held ...
    missing    ... but of these seconds, which are still to be brought, or for which there was no room
    first      the first second that is kept at all
    taken_at   when the snapshot was taken, by PostgreSQL's clock
    run        whose mark it is: made anew by each run
    tags       of a cluster: the names sync:mark:{<tag>}, one a server, which hold `run` as well

Rules: pure, but for the two scripts. The mark is moved behind the data: by a script that changes it only while it is
this run's own. A Valkey that was emptied meanwhile has none, so nothing is claimed of what is gone; a server of a
cluster that was emptied alone has no tag's name. One that holds another database's rows holds nothing.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from trinity.cache.client import CacheScript
from trinity.sync.intervals import Intervals, as_text, from_text

# Older batches are deleted after two days (operator.prune_batches): what came since a snapshot is known for so long.
AGE_SECONDS_MAX = 46 * 3600
_FORMAT = "1"

# KEYS[1] the mark; ARGV: the run that it must be of, empty for none, then its fields. 1 when it was changed.
MOVE = CacheScript("""
local run = redis.call('HGET', KEYS[1], 'run')
if (run or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
""")


@dataclass(frozen=True)
class Mark:
    """One state of it."""

    database: str
    snapshot: str
    missing: Intervals
    first: int
    taken_at: int
    run: str
    tags: tuple[str, ...] = ()

    def fields(self) -> list[str]:
        """As HSET takes them."""
        texts = {
            "format": _FORMAT,
            "database": self.database,
            "snapshot": self.snapshot,
            "missing": as_text(self.missing),
            "first": str(self.first),
            "taken_at": str(self.taken_at),
            "run": self.run,
            "tags": " ".join(self.tags),
        }
        return [word for pair in texts.items() for word in pair]

    def with_missing(self, missing: Intervals) -> "Mark":
        return dataclasses.replace(self, missing=missing)

    def is_fresh(self, now_s: float) -> bool:
        """Whether it can be told what came since."""
        return now_s - self.taken_at < AGE_SECONDS_MAX


def read_mark(found: Mapping[bytes, bytes]) -> Mark | None:
    """The mark of a hash; None for none, and for one of another version."""
    texts = {name.decode(): value.decode() for name, value in found.items()}
    if texts.get("format") != _FORMAT:
        return None
    try:
        return Mark(
            texts["database"],
            texts["snapshot"],
            from_text(texts["missing"]),
            int(texts["first"]),
            int(texts["taken_at"]),
            texts["run"],
            tuple(texts["tags"].split()),
        )
    except (KeyError, ValueError):
        return None
