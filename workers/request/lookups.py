"""Lookups for a process that is no request worker: the workers' own machine code, over the same table.

Rules: whoever asks was let in, is charged and is written down elsewhere; what a lookup refuses and how it says so is
decided here as everywhere (http/routes.py). Nobody waits here: an asset beyond the catalog that is in no row yet is
asked for, within the caller's budget, and the answer says so. No other shared memory is written.
"""

import contextlib
import dataclasses
import os

import numpy as np

from trinity.access.gate import COST, COUNTED_WORDS, KEY_ID
from trinity.compiled import compile_for, has_code_for, refer_to
from trinity.config import AccessSection
from trinity.markets import Catalog, load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.address_table import AddressTable
from trinity.memory.atomics import Words
from trinity.native.octets import Octets, octets_of
from trinity.process import AskerMemory
from trinity.vocabulary import HTTP_STATUSES
from workers.request.beyond import ASKED
from workers.request.forwarded import ADDRESS
from workers.request.http.context import RequestContext, make_private_context, response_bytes_max
from workers.request.http.routes import answer_admitted
from workers.request.ledger import TALLY_CODE, TALLY_STATUS

_HEAD_END = b"\r\n\r\n"


class LocalLookups:
    """Answers targets of HTTP requests, out of the words of the node's answer table; of the catalog alone without
    `asker`. `addresses` is the node's table of callers' limits."""

    def __init__(
        self,
        table_words: Words,
        catalog: Catalog,
        asker: AskerMemory | None = None,
        addresses: AddressTable | None = None,
    ) -> None:
        context = _context(table_words, catalog, asker, addresses)
        self._asked, self._resolver_fd = context.beyond.state, asker.resolver_fd if asker else -1
        self._address = context.caller.words[ADDRESS : ADDRESS + 2]
        self._context, self._tally, self._gate = refer_to(context), context.ledger.tally, context.gate.result
        self._out = _room_for(context)

    def __call__(
        self, target: bytes, now_ns: int, key_id: int = 0, address: Words | None = None
    ) -> tuple[int, int, int, bytes]:
        """Status, index of its code, cost (prices, or charge.MISTAKE), body of GET `target` at `now_ns` (monotonic).

        The key, or without one the address (two words), is whose budget of new assets is taken.
        """
        self._gate[KEY_ID] = key_id
        self._address[:] = 0 if address is None else address
        octets = octets_of(target)
        end = answer_admitted(self._context, octets, 0, octets.size, now_ns, self._out)
        if self._asked[ASKED]:
            self._asked[ASKED] = 0
            with contextlib.suppress(BlockingIOError):  # it is awake
                os.eventfd_write(self._resolver_fd, 1)
        body = self._out[:end].tobytes().partition(_HEAD_END)[2]
        status = int(HTTP_STATUSES[self._tally[TALLY_STATUS]])
        return status, int(self._tally[TALLY_CODE]), int(self._gate[COST]), body


def warm_up() -> None:
    """Compile it, or load it: the supervisor does it once, before it forks."""
    compile_for(answer_admitted, *_examples())


def is_compiled() -> bool:
    """Whether it only has to be loaded."""
    return has_code_for(answer_admitted, *_examples())


def _examples() -> tuple[object, ...]:
    context = _context(np.zeros(1, dtype=np.uint64), load_catalog())
    return refer_to(context), octets_of(b"/"), 0, 0, 0, _room_for(context)


def _context(
    table_words: Words, catalog: Catalog, asker: AskerMemory | None = None, addresses: AddressTable | None = None
) -> RequestContext:
    counters, access = np.zeros(COUNTED_WORDS, dtype=np.uint64), AccessMemory.private(1)
    if addresses is not None:
        access = dataclasses.replace(access, addresses=addresses)
    return make_private_context(table_words, catalog, counters, AccessSection(), access, asker)


def _room_for(context: RequestContext) -> Octets:
    return np.zeros(response_bytes_max(context), dtype=np.uint8)
