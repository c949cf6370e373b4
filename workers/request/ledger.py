"""The usage record of every answer: what the routes and datagrams note, and its way into the worker's ring. Compiled.

    begin(ledger, protocol)                         before an answer: nothing is noted
    note_price(ledger, asset, exchange, verdict)    one price; note_prices for a list; note_error for a refusal
    record(ledger, caller, now_ns, done_ns)         the answer is whole: publish its record, before its bytes are sent

Rules: HTTP and UDP are two skins over this file. A record is of an answer, so a datagram that gets no reply has none.
Its time is that of the turn that served it, on the wall clock as it was at the last second; its latency is counted
from the start of that turn. A full ring never stops an answer: it is counted there, and by the caller.
"""

from typing import NamedTuple

import numpy as np

from trinity import vocabulary
from trinity.compiled import compiled, compiled_inline
from trinity.limits import ASSET_NAME_BYTES_MAX
from trinity.markets import Catalog
from trinity.memory.atomics import Words
from trinity.memory.usage_ring import append_record
from trinity.native.octets import Integers
from workers.request.answer import CONSENSUS, UNKNOWN, VERDICT_CODES, VERDICT_STATUS
from workers.request.forwarded import ADDRESS, Caller

# Words of Ledger.tally: what the answer is, then what is the same for many answers.
(
    TALLY_STATUS,  # index of vocabulary.HTTP_STATUSES, also for datagrams
    TALLY_CODE,  # index of vocabulary.CODES
    TALLY_LOOKUPS,
    TALLY_KEY,  # api_keys.id, vocabulary.ANONYMOUS_KEY_ID
    TALLY_PROTOCOL,  # index of vocabulary.PROTOCOLS
    _ASSET,  # index in the catalog, behind it of an asset that it does not name, UNKNOWN for none or several
    _SOURCE,  # index of vocabulary.SOURCES
    WALL_OFFSET_NS,  # wall clock minus monotonic clock
    _TALLY_WORDS,
) = range(9)

_NAME_WORDS = ASSET_NAME_BYTES_MAX // 8
_STATUSES = np.array([int(status) for status in vocabulary.HTTP_STATUSES], dtype=np.int64)
_STATUS_OK = vocabulary.HTTP_STATUSES.index("200")
_STATUS_OF_VERDICT = np.array([vocabulary.HTTP_STATUSES.index(str(s)) for s in VERDICT_STATUS], dtype=np.int64)
_CODE_OF_VERDICT = np.array(
    [vocabulary.CODE_OK if code == "fresh" else vocabulary.CODES.index(code) for code in VERDICT_CODES], dtype=np.int64
)


class UsageRecorder(NamedTuple):
    """One worker's; few arrays, because they are passed on."""

    ring: Words  # UsageRing.words
    tally: Integers
    names: Words  # two words an asset; the first two are of none, the last two of one that no catalog names
    sources: Integers  # vocabulary.SOURCES of the consensus, then of each exchange


def make_ledger(ring: Words, catalog: Catalog) -> UsageRecorder:
    """Names and sources as a record holds them."""
    named = [b"", *(asset.name.encode() for asset in catalog.assets), b""]
    names = np.array(named, dtype=f"S{ASSET_NAME_BYTES_MAX}")
    sources = [vocabulary.SOURCE_CONSENSUS, *(vocabulary.SOURCES.index(exchange) for exchange in catalog.exchanges)]
    return UsageRecorder(
        ring=ring,
        tally=np.zeros(_TALLY_WORDS, dtype=np.int64),
        names=names.view(np.uint64).copy(),
        sources=np.array(sources, dtype=np.int64),
    )


@compiled_inline
def begin(ledger: UsageRecorder, protocol: int) -> None:
    """Forget the answer before; what nobody notes otherwise is ok."""
    tally = ledger.tally
    tally[TALLY_STATUS], tally[TALLY_CODE], tally[TALLY_LOOKUPS] = _STATUS_OK, vocabulary.CODE_OK, 0
    tally[TALLY_KEY], tally[_ASSET], tally[_SOURCE] = vocabulary.ANONYMOUS_KEY_ID, UNKNOWN, vocabulary.SOURCE_NONE
    tally[TALLY_PROTOCOL] = protocol


@compiled_inline
def note_status(ledger: UsageRecorder, status: int) -> None:
    """A good answer of another status than 200, as an index."""
    ledger.tally[TALLY_STATUS] = status


@compiled_inline
def note_price(ledger: UsageRecorder, asset: int, exchange: int, verdict: int) -> None:
    """One price was looked up; `asset` UNKNOWN for a name that no asset has."""
    tally = ledger.tally
    tally[TALLY_STATUS], tally[TALLY_CODE] = _STATUS_OF_VERDICT[verdict], _CODE_OF_VERDICT[verdict]
    tally[TALLY_LOOKUPS], tally[_ASSET], tally[_SOURCE] = 1, asset, ledger.sources[exchange - CONSENSUS]


@compiled_inline
def note_prices(ledger: UsageRecorder, asset: int, count: int, given: int, exchange: int) -> None:
    """A list, which is ok whatever its elements are: `given` of them are prices, and those cost.

    `asset` is the first one, kept when it is the only one.
    """
    tally = ledger.tally
    tally[TALLY_LOOKUPS], tally[_SOURCE] = given, ledger.sources[exchange - CONSENSUS]
    tally[_ASSET] = asset if count == 1 else UNKNOWN


@compiled
def note_name(ledger: UsageRecorder, name: Words) -> None:
    """The one asset of this answer is none of the catalog's: its name (two words) is recorded."""
    at = ledger.names.size - _NAME_WORDS
    ledger.names[at], ledger.names[at + 1] = name[0], name[1]
    ledger.tally[_ASSET] = at // _NAME_WORDS + UNKNOWN


@compiled
def note_error(ledger: UsageRecorder, status: int, code: int) -> None:
    """The whole request was refused; `status` as an index."""
    tally = ledger.tally
    tally[TALLY_STATUS], tally[TALLY_CODE] = status, code
    tally[TALLY_LOOKUPS], tally[_ASSET], tally[_SOURCE] = 0, UNKNOWN, vocabulary.SOURCE_NONE


@compiled_inline
def record(ledger: UsageRecorder, caller: Caller, now_ns: int, done_ns: int) -> bool:
    """Publish the record of the answer that was noted since `begin`; False when the ring is full."""
    tally = ledger.tally
    name = (tally[_ASSET] - UNKNOWN) * _NAME_WORDS
    return append_record(
        ledger.ring,
        now_ns + tally[WALL_OFFSET_NS],
        caller.words[ADDRESS : ADDRESS + 2],
        ledger.names[name : name + _NAME_WORDS],
        max(0, done_ns - now_ns),
        tally[TALLY_KEY],
        _STATUSES[tally[TALLY_STATUS]],
        tally[TALLY_LOOKUPS],
        tally[TALLY_PROTOCOL],
        tally[_SOURCE],
        tally[TALLY_CODE],
    )
