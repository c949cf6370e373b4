"""Room in Valkey: how much there is, what goes to make some, and whether a server of a cluster lost what it had.

Rules: of `maxmemory` the sync leaves a part to the others: limits, prices and telemetry are small, but must have room
whenever they are written. Without `maxmemory` there is no bound. What one entry takes is measured as they are written.
"""

from collections.abc import Iterable, Iterator

from trinity.cache.keys import REPORT_USAGE, SYNC_MARK_OF, USAGE_LOG, USAGE_LOGS, USAGE_LOGS_OF_ASSET, USAGE_LOGS_OF_KEY
from trinity.sync.entries import Commands, Vocabulary, command
from trinity.sync.wire import Bulk, BulkLink

# Of `maxmemory`, for entries and whatever else is there.
SHARE_MAX = 0.85
# An entry with its places in three sets, before any was measured.
_ENTRY_BYTES = 1_200
# What is removed at once, at the least: a removal looks at every set.
_REMOVED_MIN = 1_000
_NAMES_A_SCAN, _NAMES_A_TURN = 1_000, 5_000


class Room:
    """The room of all servers."""

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk
        self._entry_bytes = float(_ENTRY_BYTES)
        self._measured: tuple[int, int] | None = None  # used bytes of all, and the entries that were sent since
        self.is_refused = False  # what was sent last

    def tags(self) -> tuple[str, ...]:
        """A tag for each server of a cluster, whose name is on that server; none of a single one."""
        if len(self._bulk.links) == 1:
            return ()
        found: dict[int, str] = {}
        number = 0
        while len(found) < len(self._bulk.links):
            found.setdefault(self._bulk.place_of(SYNC_MARK_OF.name(str(number))), str(number))
            number += 1
        return tuple(found[place] for place in sorted(found))

    def has_room(self, count: int) -> bool:
        """Whether so many entries more fit into every server."""
        if self.is_refused:
            self.is_refused = False
            return False
        states = [_memory_of(link) for link in self._bulk.links]
        used = sum(state[0] for state in states)
        if self._measured is not None and self._measured[1] > 0 and used > self._measured[0]:
            self._entry_bytes = max(200.0, (used - self._measured[0]) / self._measured[1])
        self._measured = used, count
        wanted = count * self._entry_bytes / len(states)
        return all(most == 0 or used + wanted <= SHARE_MAX * most for used, most in states)

    def cut(self, count: int) -> int | None:
        """The time in microseconds up to which entries go to make room for so many; None where there are none."""
        link = self._bulk.links[self._bulk.place_of(USAGE_LOGS.name())]
        number = max(count, _REMOVED_MIN)
        held = int(link.ask("ZCARD", USAGE_LOGS.name()))
        if held == 0:
            return None
        place = min(number, held) - 1
        return int(float(link.ask("ZRANGE", USAGE_LOGS.name(), place, place, "WITHSCORES")[1]))

    def remove_before(self, cut_us: int, known: Vocabulary) -> int:
        """Remove the entries that are older; how many there were."""
        link, removed = self._bulk.links[self._bulk.place_of(USAGE_LOGS.name())], 0
        while True:
            found = link.ask("ZRANGE", USAGE_LOGS.name(), "-inf", f"({cut_us}", "BYSCORE", "LIMIT", 0, _NAMES_A_TURN)
            if not found:
                break
            self._bulk.send(_unlinking(USAGE_LOG.name(member.decode()) for member in found))
            self._bulk.send([Commands(USAGE_LOGS.name().encode(), command("ZREM", USAGE_LOGS.name(), *found), 1)])
            removed += len(found)
        self.remove_sets_before(cut_us, known)
        self._measured = None
        return removed

    def remove_sets_before(self, cut_us: int, known: Vocabulary) -> None:
        """The members of all sets that are older: their entries have ended by themselves."""
        names = [USAGE_LOGS.name()]
        names += [USAGE_LOGS_OF_KEY.name(digest) for digest in known.keys.values()]
        names += [USAGE_LOGS_OF_ASSET.name(asset) for asset in known.assets.values()]
        self._bulk.send(
            Commands(name.encode(), command("ZREMRANGEBYSCORE", name, "-inf", f"({cut_us}"), 1) for name in names
        )

    def remove_all(self) -> None:
        """Every entry, set and call that stands in the servers."""
        for link in self._bulk.links:
            for pattern in (USAGE_LOG.name("*"), USAGE_LOGS_OF_KEY.name("*"), USAGE_LOGS_OF_ASSET.name("*"),
                            USAGE_LOGS.name(), REPORT_USAGE.name("*")):  # fmt: skip
                for names in _scan(link, pattern):
                    link.send([(b"".join(one.data for one in _unlinking(names)), len(names))])
        self._measured = None


def _scan(link: BulkLink, pattern: str) -> Iterator[list[str]]:
    cursor = "0"
    while True:
        next_cursor, found = link.ask("SCAN", cursor, "MATCH", pattern, "COUNT", _NAMES_A_SCAN)
        if found:
            yield [name.decode() for name in found]
        cursor = next_cursor.decode() if isinstance(next_cursor, bytes) else str(next_cursor)
        if cursor == "0":
            return


def _unlinking(names: Iterable[str]) -> list[Commands]:
    return [Commands(name.encode(), command("UNLINK", name), 1) for name in names]


def _memory_of(link: BulkLink) -> tuple[int, int]:
    """Bytes in use, and the most that may be; 0: no bound."""
    lines = link.ask("INFO", "memory").decode().splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    used = int(found["used_memory"]) - int(found.get("mem_not_counted_for_evict", "0"))
    return used, int(found.get("maxmemory", "0"))
