"""Refusals without a key: exact sums by minute, network and code, and a small sample in place of a row each.

Anybody can cause them, as many as the node can send, so what they leave in the database is bounded:

    sums      GROUPS_A_MINUTE groups (network, code, status, protocol) a minute, the largest first; what is left is
              summed up by code without its network
    sample    ROWS_A_SECOND rows a second, each code in its turn, so that a flood of one hides no other; each row has
              the number of refusals of its code and second that it stands for

Rules: pure numpy, no Python a record. All refusals are in the sums, each once; the sample only illustrates. A network
is an IPv4 /24 or an IPv6 /64: what one customer of a provider has. The bounds hold for one loader's connection; the
next one begins them anew.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND
from trinity.vocabulary import ANONYMOUS_KEY_ID, CODE_OK
from workers.ledger.sums import NS_PER_MINUTE, number_rows
from workers.ledger.usage.usage_sums import SMALL_MAX

# A row of its own in usage_runs takes some 170 bytes with its indexes: 150 MB a day, however long a flood is.
ROWS_A_SECOND = 10
# A group takes some 170 bytes: 60 MB a day.
GROUPS_A_MINUTE = 256
# What is remembered of the room that was taken: longer than a file of the spool stays open.
_SECONDS_REMEMBERED = 4096
_MINUTES_REMEMBERED = 128

_IPV4_BITS, _IPV6_BITS, _ANY_BITS = 96 + 24, 64, 0
_MAPPED = 0xFFFF
_HOST_BYTE = np.uint64(0xFF)

GROUP_DTYPE = np.dtype(
    [
        ("minute", "<i8"),  # minutes since 1970
        ("network", ">u8", 2),
        ("bits", "u1"),
        ("code", "u1"),
        ("protocol", "u1"),
        ("status", "<u2"),
        ("requests", "<i8"),
        ("last_ns", "<i8"),
    ]
)
Groups = NDArray[np.void]
Numbers = NDArray[np.int64]


class Condensed(NamedTuple):
    """What a batch leaves: rows (places in the batch, in order) with their weights, and the groups of the refusals."""

    rows: Numbers
    weights: Numbers
    groups: Groups
    seconds: dict[int, int]  # rows of the sample by second
    sampled: int  # refusals that have no row of their own

    @property
    def keys(self) -> dict[int, set[bytes]]:
        """Groups with a network, by minute."""
        found: dict[int, set[bytes]] = {}
        for group in self.groups[self.groups["bits"] != _ANY_BITS]:
            found.setdefault(int(group["minute"]), set()).add(_key_of(group))
        return found


class Condenser:
    """The room that is left, second by second and minute by minute."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._groups: dict[int, set[bytes]] = {}

    def condense(self, records: NDArray[np.void]) -> Condensed:
        """What is to be written of these records; `commit` says that it was."""
        is_refused = (records["key_id"] == ANONYMOUS_KEY_ID) & (records["code"] != CODE_OK)
        refused = np.flatnonzero(is_refused)
        if len(refused) == 0:
            every = np.arange(len(records))
            return Condensed(every, np.ones(len(records), dtype=np.int64), np.zeros(0, dtype=GROUP_DTYPE), {}, 0)
        seconds = records["time_ns"][refused] // NS_PER_SECOND
        kept, weights_of_kept = self._sample(seconds, records["code"][refused])
        weights = np.zeros(len(records), dtype=np.int64)
        weights[~is_refused] = 1
        weights[refused[kept]] = weights_of_kept
        rows = np.flatnonzero(weights)
        found, counts = np.unique(seconds[kept], return_counts=True)
        taken = dict(zip(found.tolist(), counts.tolist(), strict=True))
        return Condensed(rows, weights[rows], self._group(records[refused]), taken, len(refused) - len(kept))

    def commit(self, condensed: Condensed) -> None:
        """It is in the database: its room is taken."""
        for second, count in condensed.seconds.items():
            self._rows[second] = self._rows.get(second, 0) + count
        for minute, keys in condensed.keys.items():
            self._groups.setdefault(minute, set()).update(keys)
        for memory, most in ((self._rows, _SECONDS_REMEMBERED), (self._groups, _MINUTES_REMEMBERED)):
            for oldest in sorted(memory)[:-most]:
                del memory[oldest]

    def _sample(self, seconds: Numbers, codes: NDArray[np.uint8]) -> tuple[Numbers, Numbers]:
        """Places of the refusals that get a row, and how many each stands for."""
        stratum, _ = number_rows(seconds, codes)
        in_stratum = np.bincount(stratum)
        rank = _ranks(stratum)
        # No second has room for more; few are left of a flood, whatever its size.
        candidates = np.flatnonzero(rank < ROWS_A_SECOND)
        order = np.lexsort((codes[candidates], rank[candidates], seconds[candidates]))
        candidates = candidates[order]
        found, number = np.unique(seconds[candidates], return_inverse=True)
        room = np.array([ROWS_A_SECOND - self._rows.get(second, 0) for second in found.tolist()], dtype=np.int64)
        kept = candidates[_ranks(number) < room[number]]
        in_sample = np.bincount(stratum[kept], minlength=len(in_stratum))
        # As many in all as there were: the first ones stand for one more where it does not come out even.
        whole, left = np.divmod(in_stratum[stratum[kept]], in_sample[stratum[kept]])
        return kept, whole + (rank[kept] < left)

    def _group(self, records: NDArray[np.void]) -> Groups:
        groups = _merge(_as_groups(records))
        order = np.lexsort((-groups["requests"], groups["minute"]))
        groups = groups[order]
        _, number = np.unique(groups["minute"], return_inverse=True)
        has_room = _ranks(number) < GROUPS_A_MINUTE
        left: dict[int, int] = {}
        for place in np.flatnonzero(has_room).tolist():
            group = groups[place]
            minute, known = int(group["minute"]), self._groups.get(int(group["minute"]), set())
            if _key_of(group) not in known:
                left.setdefault(minute, GROUPS_A_MINUTE - len(known))
                left[minute] -= 1
                has_room[place] = left[minute] >= 0
        groups["network"][~has_room], groups["bits"][~has_room] = 0, _ANY_BITS
        return _merge(groups)


def _as_groups(records: NDArray[np.void]) -> Groups:
    """One group a record."""
    groups = np.zeros(len(records), dtype=GROUP_DTYPE)
    groups["minute"] = records["time_ns"] // NS_PER_MINUTE
    address = np.ascontiguousarray(records["address"]).view(">u8").astype(np.uint64)
    is_ipv4 = (address[:, 0] == 0) & (address[:, 1] >> np.uint64(32) == _MAPPED)
    groups["network"][:, 0] = address[:, 0]
    groups["network"][:, 1] = np.where(is_ipv4, address[:, 1] & ~_HOST_BYTE, 0)
    groups["bits"] = np.where(is_ipv4, _IPV4_BITS, _IPV6_BITS)
    groups["code"], groups["protocol"] = records["code"], records["protocol"]
    groups["status"] = np.minimum(records["status"], SMALL_MAX)
    groups["requests"], groups["last_ns"] = 1, records["time_ns"]
    return groups


def _merge(groups: Groups) -> Groups:
    """One group for each minute, network, code, status and protocol."""
    few = groups["status"].astype(np.uint64) << np.uint64(24) | groups["code"].astype(np.uint64) << np.uint64(16)
    few |= groups["bits"].astype(np.uint64) << np.uint64(8) | groups["protocol"]
    high, low = (groups["network"][:, word].astype(np.uint64) for word in (0, 1))
    number, firsts = number_rows(groups["minute"], few, high, low)
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(firsts)))
    merged = groups[firsts]
    merged["requests"] = np.add.reduceat(groups["requests"][order], starts)
    merged["last_ns"] = np.maximum.reduceat(groups["last_ns"][order], starts)
    return merged


def _ranks(number: Numbers) -> Numbers:
    """The place of each row among those of the same number, in their order."""
    order = np.argsort(number, kind="stable")
    ordered = number[order]
    ranks = np.empty(len(number), dtype=np.int64)
    ranks[order] = np.arange(len(number)) - np.searchsorted(ordered, ordered)
    return ranks


def _key_of(group: np.void) -> bytes:
    return group[["network", "bits", "code", "protocol", "status"]].tobytes()
