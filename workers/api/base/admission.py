"""Whether a caller of the reporting service may ask now: the rate and the quota of a lookup, in the very same cells.

Rules: a call here and a lookup on 8080 count together, so no plan is got around by the port. Who calls is known already
(auth.py): a key by its id, anybody else by the address. What a key may do is read from shared memory each time; one
that is not there yet comes again in a moment. What costs no month has a rate of its own. What does is charged when the
answer is known, and before it goes out: by the handler that knows how many prices it gives (`charge`), else when its
status is there (`settle`): one, a mistake of the caller, or nothing. A refusal has the code, the sentence and the
headers of the request workers: both take them from trinity. A plan's dry run is counted, and goes on.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import numpy as np

from trinity.access.charge import MISTAKE, charge
from trinity.access.gate import COUNTED_WORDS, OVERRUN, Gate, admit_known, make_gate, turn_month
from trinity.access.limit_headers import (
    LIMIT_HEADERS_BYTES_MAX,
    append_limit_headers,
    append_limits_left,
    retry_after_ms,
)
from trinity.clock import Clock
from trinity.config import AccessSection
from trinity.memory.access import AccessMemory
from trinity.memory.control import ProcessBlock
from trinity.native.addresses import address_words
from trinity.observe.metrics import REPORTER
from trinity.process import ProcessContext
from trinity.vocabulary import ACCESS_REFUSALS, CODE_OK, CODES, LIMIT_REFUSALS
from workers.api.base.problems import refusal_of

_REFUSED = {code: REPORTER.index("report_access_refusals_total", code) for code in ACCESS_REFUSALS}
_DRY_RUN = {code: REPORTER.index("report_limit_dry_run_total", code) for code in LIMIT_REFUSALS}
# Statuses that tell the caller what it did wrong; the CoinGecko-shaped routes say 422.
_MISTAKES = (400, 404, 405, 413, 415, 422)
# Keys are proved elsewhere, so the gate has none to recognise: its smallest room.
_RECOGNISED = 4


@dataclass
class Admitted:
    """What the gate knew about a caller when it was let in: others come in before its call is worked on."""

    result: np.ndarray[tuple[int], np.dtype[np.int64]]
    terms: np.ndarray[tuple[int], np.dtype[np.uint64]]
    is_charged: bool = False


class Admission:
    """One process's view of the node's limits."""

    def __init__(self, gate: Gate, clock: Clock, block: ProcessBlock) -> None:
        self._gate = gate
        self._clock = clock
        self._block = block
        self._out = np.zeros(LIMIT_HEADERS_BYTES_MAX, dtype=np.uint8)

    def admit(self, key_id: int, address: IPv4Address | IPv6Address, is_free: bool) -> Admitted:
        """Take one request from the key, or with the id 0 from the address; ProblemError when there is none left."""
        now_ns = self._clock.monotonic_ns()
        turn_month(self._gate, self._clock.wall_ns(), now_ns)
        self._judge(int(admit_known(self._gate, key_id, address_words(str(address)), is_free, now_ns)))
        return Admitted(self._gate.result.copy(), self._gate.own["terms"].copy())

    def charge(self, admitted: Admitted, lookups: int) -> None:
        """Take what the answer costs from the key's month, or count a MISTAKE; ProblemError as above."""
        admitted.is_charged = True
        self._gate.result[:] = admitted.result
        if self._gate.result[OVERRUN] != CODE_OK:
            return  # a dry run that was counted when it was let in
        self._gate.own["terms"] = admitted.terms
        self._judge(int(charge(self._gate, lookups, self._clock.monotonic_ns())))
        admitted.result[:] = self._gate.result

    def settle(self, admitted: Admitted, status: int) -> dict[str, str]:
        """Charge an answer of this status that was not charged yet; the headers that tell a good one's limits."""
        is_good = 200 <= status < 300
        if (is_good or status in _MISTAKES) and not admitted.is_charged:
            self.charge(admitted, 1 if is_good else MISTAKE)
        if not is_good:
            return {}
        self._gate.result[:] = admitted.result
        return self._lines(append_limits_left(self._gate, self._clock.monotonic_ns(), self._out, 0))

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


def make_admission(context: ProcessContext, tables: AccessMemory, section: AccessSection) -> Admission:
    """Over the node's tables."""
    return Admission(_gate_over(tables, section), context.clock, context.block)


def _gate_over(tables: AccessMemory, section: AccessSection) -> Gate:
    counters = np.zeros(COUNTED_WORDS, dtype=np.uint64)  # those of a request worker: here the process counts itself
    return make_gate(
        tables.keys, tables.limits, tables.addresses, tables.blocks, counters, section, remembered=_RECOGNISED
    )
