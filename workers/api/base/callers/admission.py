"""Whether a caller of the reporting service may ask now: the rate and the quota of a lookup, in the very same cells.

Rules: a call here and a lookup on 8080 count together, so no plan is got around by the port. Who calls is known already
(auth.py): a key by its id, anybody else by the address. What a key may do is read from shared memory each time; one
that is not there yet comes again in a moment. What costs no month has a rate of its own. What does is charged when the
answer is known, and before it goes out: by the handler that knows how many prices it gives (`charge`), else when its
status is there (`settle`): one, a mistake of the caller, or nothing. A refusal has the code, the sentence and the
headers of the request workers: both take them from trinity. A plan's dry run is counted, and goes on.

What an answer costs a key's month is its usage record as well, in a ring of this process's own: the ledger has it
exactly once, as it has the answers of the request workers. What is free has none, and neither has who has no month.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

import numpy as np

from trinity.access.charge import MISTAKE, charge
from trinity.access.gate import COUNTED_WORDS, OVERRUN, Gate, admit_known, make_gate, turn_month
from trinity.access.limit_headers import (
    LIMIT_HEADERS_BYTES_MAX,
    append_limit_headers,
    append_limits_left,
    retry_after_ms,
)
from trinity.access.months import find_month, start_of_month
from trinity.clock import Clock
from trinity.config import AccessSection
from trinity.limits import ASSET_NAME_BYTES_MAX
from trinity.memory.access import AccessMemory
from trinity.memory.atomics import Words
from trinity.memory.control import ProcessBlock
from trinity.memory.key_table import BURST_SHIFT, DRY_RUN_BIT
from trinity.memory.limit_table import LimitTable
from trinity.memory.usage_ring import append_record
from trinity.native.addresses import address_words
from trinity.observe.metrics import REPORTER
from trinity.process import ProcessContext
from trinity.rates import RATE_BITS, requests_of, seconds_of
from trinity.vocabulary import ACCESS_REFUSALS, CODE_OK, CODES, LIMIT_REFUSALS, REPORTS, SOURCE_CONSENSUS
from workers.api.base.problems import refusal_of

_REFUSED = {code: REPORTER.index("report_access_refusals_total", code) for code in ACCESS_REFUSALS}
_DRY_RUN = {code: REPORTER.index("report_limit_dry_run_total", code) for code in LIMIT_REFUSALS}
# Statuses that tell the caller what it did wrong; the CoinGecko-shaped routes say 422.
_MISTAKES = (400, 404, 405, 413, 415, 422)
STATUS_OK = 200
# Keys are proved elsewhere, so the gate has none to recognise: its smallest room.
_RECOGNISED = 4


class KeyLimits(NamedTuple):
    """What a key is held to; 0 is no limit."""

    requests: int
    seconds: int
    burst: int
    month: int
    dry_run: bool


@dataclass
class Admitted:
    """What the gate knew about a caller when it was let in: others come in before its call is worked on."""

    result: np.ndarray[tuple[int], np.dtype[np.int64]]
    terms: np.ndarray[tuple[int], np.dtype[np.uint64]]
    key_id: int
    address: Words
    is_free: bool
    at_ns: int
    is_charged: bool = False
    asset: str = ""  # the one that it is about

    @property
    def limits(self) -> KeyLimits:
        """Those of the key, by this node's own table."""
        flags, pace, quota = (int(word) for word in self.terms)
        rate = pace & RATE_BITS
        return KeyLimits(requests_of(rate), seconds_of(rate), pace >> BURST_SHIFT, quota, flags & DRY_RUN_BIT != 0)


class Admission:
    """One process's view of the node's limits."""

    def __init__(self, gate: Gate, ring: Words, clock: Clock, block: ProcessBlock) -> None:
        self._gate = gate
        self._ring = ring
        self._clock = clock
        self._block = block
        self._out = np.zeros(LIMIT_HEADERS_BYTES_MAX, dtype=np.uint8)

    def admit(self, key_id: int, address: IPv4Address | IPv6Address, is_free: bool) -> Admitted:
        """Take one request from the key, or with the id 0 from the address; ProblemError when there is none left."""
        now_ns, words = self._clock.monotonic_ns(), address_words(str(address))
        turn_month(self._gate, self._clock.wall_ns(), now_ns)
        self._judge(int(admit_known(self._gate, key_id, words, is_free, now_ns)))
        return Admitted(self._gate.result.copy(), self._gate.own["terms"].copy(), key_id, words, is_free, now_ns)

    def charge(self, admitted: Admitted, lookups: int, status: int = STATUS_OK, code: int = CODE_OK) -> None:
        """Take what the answer costs from the key's month and write it down, or count a MISTAKE; raises as above."""
        admitted.is_charged = True
        now_ns = self._clock.monotonic_ns()
        if admitted.result[OVERRUN] == CODE_OK:  # else a dry run that was counted when it was let in
            self._gate.result[:] = admitted.result
            self._gate.own["terms"] = admitted.terms
            self._judge(int(charge(self._gate, lookups, now_ns)))
            admitted.result[:] = self._gate.result
        if lookups > 0 and admitted.key_id and not admitted.is_free:
            self._record(admitted, lookups, status, code, now_ns)

    def settle(self, admitted: Admitted, status: int) -> dict[str, str]:
        """Charge an answer of this status that was not charged yet; the headers that tell a good one's limits."""
        is_good = 200 <= status < 300
        if (is_good or status in _MISTAKES) and not admitted.is_charged:
            self.charge(admitted, 1 if is_good else MISTAKE)
        if not is_good:
            return {}
        self._gate.result[:] = admitted.result
        return self._lines(append_limits_left(self._gate, self._clock.monotonic_ns(), self._out, 0))

    def month_of(self, key_id: int) -> tuple[int, int]:
        """Lookups that a key has taken of this month by its limit's own count, and when it ends (wall clock)."""
        wall_ns = self._clock.wall_ns()
        month = int(find_month(0, wall_ns))
        used = LimitTable(self._gate.limits).used(np.array([key_id]), month)
        return int(used[0]), int(start_of_month(month + 1))

    def _record(self, admitted: Admitted, lookups: int, status: int, code: int, now_ns: int) -> None:
        """A full ring never stops an answer: it is counted there."""
        append_record(
            self._ring,
            self._clock.wall_ns(),
            admitted.address,
            _words_of(admitted.asset),
            max(0, now_ns - admitted.at_ns),
            admitted.key_id,
            status,
            lookups,
            REPORTS,
            SOURCE_CONSENSUS,
            code,
        )

    def _judge(self, index: int) -> None:
        """Count a dry run, raise a refusal."""
        overrun = int(self._gate.result[OVERRUN])
        if overrun != CODE_OK:
            self._block.count(_DRY_RUN[CODES[overrun]])
        if index == CODE_OK:
            return
        code = CODES[index]
        self._block.count(_REFUSED[code])
        raise refusal_of(code, headers=self._headers(index))

    def _headers(self, index: int) -> dict[str, str]:
        if retry_after_ms(self._gate, index) == 0:
            return {}
        return self._lines(append_limit_headers(self._gate, index, self._out, 0))

    def _lines(self, end: int) -> dict[str, str]:
        """The header lines in the first `end` bytes of what was written."""
        lines = bytes(self._out[:end]).decode().splitlines()
        return dict(line.split(": ", 1) for line in lines)


def _words_of(asset: str) -> Words:
    """A name as a usage record has it; a bytearray, because numba compiles again for what cannot be written."""
    return np.frombuffer(bytearray(asset.encode().ljust(ASSET_NAME_BYTES_MAX, b"\0")), dtype=np.uint64)


def make_admission(context: ProcessContext, tables: AccessMemory, ring: Words, section: AccessSection) -> Admission:
    """Over the node's tables; `ring`: the words of this process's usage ring."""
    return Admission(_gate_over(tables, section), ring, context.clock, context.block)


def _gate_over(tables: AccessMemory, section: AccessSection) -> Gate:
    counters = np.zeros(COUNTED_WORDS, dtype=np.uint64)  # those of a request worker: here the process counts itself
    return make_gate(
        tables.keys, tables.limits, tables.addresses, tables.blocks, counters, section, remembered=_RECOGNISED
    )
