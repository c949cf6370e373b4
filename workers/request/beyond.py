"""Names that the catalog does not know: answered out of a spare row, refused, or asked for and waited for. Compiled.

    what = decide(beyond, gate, address, buffer, start, end, now_ns)    for one name that find_name did not find
        from beyond.state[FIRST] on    an asset in a spare row, whose answer is good now: `read_spare` copies it
        UNKNOWN                        no such asset
        refused(verdict)               another reason not to give a price; `verdict_of` takes it apart
    is_undecided(beyond)               since `begin_names`: a name was asked for and the request may wait for it

Rules: a request waits whole: if one of its names will not be asked for (the caller's budget is spent, the queue is
full, nobody resolves), it is answered at once. A request that waits has a place among `parked`, a bounded table; who
skins it (http/parked.py, udp/parked.py) keeps its bytes, looks again when the resolver has decided something, and at
the deadline answers with `asset_resolving`. What was taken of the rate when it came is kept in its place, and put back
before it is answered. Nothing here runs for a name of the catalog.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.access.gate import KEY_ID, RESULT_WORDS, Gate
from trinity.access.miss_budget import caller_hash, take_new_name
from trinity.compiled import compiled
from trinity.limits import ASSET_NAME_BYTES_MAX, DRAIN_PARKED_MAX_NS, MISS_MAX_NS, PARKED_OF_CALLER_MAX
from trinity.memory.asset_table import (
    ABSENT,
    NAME_WORDS,
    find_asset,
    is_answered,
    is_resolver_there,
    is_resolving,
    is_unchanged,
    note_asked,
    refusal_of,
)
from trinity.memory.atomics import Words, signed, unsigned
from trinity.memory.key_table import read_terms
from trinity.memory.miss_queue import ask_for
from trinity.native.octets import Integers, Octets, byte_at
from trinity.process import AskerMemory
from trinity.vocabulary import CODE_OK, CODES
from workers.request.answer import (
    ASSET_RESOLVING,
    MISS_BUDGET_EXCEEDED,
    STALE_PRICE,
    UNKNOWN,
    UNKNOWN_ASSET,
    VERDICT_CODES,
    Record,
    read_answer,
)

# Words of Beyond.state.
(
    IS_ON,  # 1: names beyond the catalog are answered
    FIRST,  # the asset of the first spare row
    IS_AGAIN,  # 1 while a parked request is looked at again
    IS_LATE,  # 1: and for the last time
    WAITS,  # set by who skins it: the request that was just looked at is to be parked
    UNDECIDED,  # names of this request that are being looked for,
    GIVEN_UP,  # names of it that will not be, so that the request is answered at once
    RETRY_MS,  # of the last refusal that time ends
    ASKED,  # 1: the resolver is to be woken
    FREE_PLACES,
    NEXT_NS,  # the earliest deadline of what is parked
    LATE_FROM_NS,  # nothing waits longer than this
    FROM_TABLE,  # names since the counters were last told: answered out of a spare row at once,
    MISSED,  # asked for,
    REFUSED,  # refused at once,
    NOT_OF_CATALOG,  # and how many of the lookups that were counted are of none of the catalog's rows
    _STATE_WORDS,
) = range(17)

# Words of a parked request: whose it is, then what the gate found, then what its skin keeps.
(
    SLOT,  # of the connection; DATAGRAM for one
    ARRIVED_NS,
    WHO,  # caller_hash
    WAITS_FOR,  # the first name that is not decided: two words
    _WAITS_FOR_END,
    CALLER,  # the address of who asks: two words
    _CALLER_END,
    GATE,  # Gate.result
) = range(8)
SKIN = GATE + RESULT_WORDS
SKIN_WORDS = 24
PLACE_WORDS = SKIN + SKIN_WORDS
FREE, DATAGRAM = -1, -2
NO_PLACE = -1
NEVER_NS = 2**62

_REFUSED_FROM = UNKNOWN - 1
# By vocabulary.CODES: what a name is refused with that the resolver could not give a price for.
_VERDICT_OF_CODE = np.full(len(CODES), STALE_PRICE, dtype=np.int64)
for _verdict in range(UNKNOWN_ASSET + 1):
    if VERDICT_CODES[_verdict] in CODES and _VERDICT_OF_CODE[CODES.index(VERDICT_CODES[_verdict])] == STALE_PRICE:
        _VERDICT_OF_CODE[CODES.index(VERDICT_CODES[_verdict])] = _verdict

_DIGIT_0, _DIGIT_9, _UPPER_A, _UPPER_Z, _LOWER_A, _LOWER_Z = b"09AZaz"
_CASE_BIT = 0x20
# Words of `words`: the name that is looked at, scratch for who asks, the first name that is not decided.
_NAME, _SCRATCH, _FIRST_UNDECIDED, _WORDS = 0, 2, 4, 6


class Beyond(NamedTuple):
    """What one process needs for names that its catalog does not know."""

    assets: Words  # AssetTable.words
    queue: Words  # its own miss queue
    words: Words
    octets: Octets  # the same memory: the name that is looked at begins it, in upper case
    state: Integers
    parked: NDArray[np.int64]  # int64[places, PLACE_WORDS]
    parked_words: NDArray[np.uint64]  # the same memory
    free: Integers  # a stack of places


def make_beyond(asker: AskerMemory, catalog_assets: int, is_on: bool, places: int) -> Beyond:
    """With room for so many parked requests; none: nobody waits, and is told to come again."""
    words = np.zeros(_WORDS, dtype=np.uint64)
    state = np.zeros(_STATE_WORDS, dtype=np.int64)
    state[IS_ON], state[FIRST], state[FREE_PLACES], state[LATE_FROM_NS] = is_on, catalog_assets, places, NEVER_NS
    state[NEXT_NS] = NEVER_NS
    parked = np.zeros((places, PLACE_WORDS), dtype=np.int64)
    parked[:, SLOT] = FREE
    return Beyond(
        assets=asker.assets.words,
        queue=asker.queue,
        words=words,
        octets=words.view(np.uint8),
        state=state,
        parked=parked,
        parked_words=parked.view(np.uint64),
        free=np.arange(places - 1, -1, -1, dtype=np.int64),
    )


# --- names ----------------------------------------------------------------------------------------------------


@compiled
def fold_name(buffer: Octets, start: int, end: int, name: Words) -> bool:
    """Write `buffer[start:end]` to the two words of `name` in upper case; False for what cannot be an asset's name."""
    if end - start < 1 or end - start > ASSET_NAME_BYTES_MAX:
        return False
    name[0] = name[1] = np.uint64(0)
    for i in range(end - start):
        byte = byte_at(buffer, start + i)
        if _LOWER_A <= byte <= _LOWER_Z:
            byte -= _CASE_BIT
        if not (_UPPER_A <= byte <= _UPPER_Z or _DIGIT_0 <= byte <= _DIGIT_9):
            return False
        name[i >> 3] |= unsigned(unsigned(byte) << unsigned(8 * (i & 7)))
    return True


@compiled
def refused(verdict: int) -> int:
    """A name that is no asset, and for what reason there is no price of it."""
    return _REFUSED_FROM - verdict if verdict != UNKNOWN_ASSET else UNKNOWN


@compiled
def verdict_of(asset: int) -> int:
    """The verdict on a name that is no asset: on UNKNOWN, and on what `refused` made."""
    return UNKNOWN_ASSET if asset == UNKNOWN else _REFUSED_FROM - asset


@compiled
def begin_names(beyond: Beyond) -> None:
    """Before the names of a request."""
    beyond.state[UNDECIDED] = beyond.state[GIVEN_UP] = 0


@compiled
def is_undecided(beyond: Beyond) -> bool:
    """Whether the request with these names is to wait."""
    state = beyond.state
    waits: bool = state[UNDECIDED] > 0 and state[GIVEN_UP] == 0 and state[IS_LATE] == 0
    return waits


@compiled
def decide(beyond: Beyond, gate: Gate, address: Words, buffer: Octets, start: int, end: int, now_ns: int) -> int:
    """What the name `buffer[start:end]` is; see the module's docstring."""
    state, name = beyond.state, beyond.words
    if state[IS_ON] == 0 or not fold_name(buffer, start, end, name):
        state[REFUSED] += 1
        return UNKNOWN
    cell, _ = find_asset(beyond.assets, name)
    if cell != ABSENT and is_answered(beyond.assets, cell, now_ns):
        if state[IS_AGAIN] == 0:
            state[FROM_TABLE] += 1
        note_asked(beyond.assets, cell, now_ns)
        found: int = state[FIRST] + cell
        return found
    code = refusal_of(beyond.assets, name, now_ns)
    if code != CODE_OK:
        state[REFUSED] += state[IS_AGAIN] == 0
        return refused(_VERDICT_OF_CODE[code])
    if state[IS_AGAIN] == 0 and not _ask(beyond, gate, address, cell, now_ns):
        state[REFUSED] += 1
        state[GIVEN_UP] += 1
        return refused(MISS_BUDGET_EXCEEDED if state[RETRY_MS] > 0 else ASSET_RESOLVING)
    if state[UNDECIDED] == 0:
        name[_FIRST_UNDECIDED], name[_FIRST_UNDECIDED + 1] = name[_NAME], name[_NAME + 1]
    state[UNDECIDED] += 1
    return refused(ASSET_RESOLVING)


@compiled
def _ask(beyond: Beyond, gate: Gate, address: Words, cell: int, now_ns: int) -> bool:
    """Ask for the name; False where that is in vain, or more than the caller may, which RETRY_MS then says."""
    state = beyond.state
    state[RETRY_MS] = 0
    if not is_resolver_there(beyond.assets, now_ns):
        return False
    who = caller_hash(gate, address, beyond.words[_SCRATCH : _SCRATCH + NAME_WORDS])
    if cell == ABSENT or not is_resolving(beyond.assets, cell):
        state[RETRY_MS] = take_new_name(gate, who, now_ns)
        if state[RETRY_MS] > 0:
            return False
    if not ask_for(beyond.queue, beyond.words, gate.result[KEY_ID], now_ns):
        return False
    state[ASKED] = 1
    state[MISSED] += 1
    if state[FREE_PLACES] == 0 or _places_of(beyond, who) >= PARKED_OF_CALLER_MAX:
        state[GIVEN_UP] += 1  # it is looked for, and nobody waits
    return True


@compiled
def read_spare(beyond: Beyond, table_words: Words, asset: int, row: int, record: Record) -> bool:
    """Copy the newest record of a row of the spare asset that was just decided; False where it is not its row now."""
    cell, version = find_asset(beyond.assets, beyond.words)
    if cell != asset - beyond.state[FIRST]:
        return False
    read_answer(table_words, row, record)
    return is_unchanged(beyond.assets, cell, version)


# --- places of requests that wait -----------------------------------------------------------------------------


@compiled
def _places_of(beyond: Beyond, who: int) -> int:
    count = 0
    for place in range(beyond.parked.shape[0]):
        count += beyond.parked[place, SLOT] != FREE and beyond.parked_words[place, WHO] == unsigned(who)
    return count


@compiled
def take_place(beyond: Beyond, gate: Gate, address: Words, slot: int, now_ns: int) -> int:
    """The place of the request that was just found undecided, with what the gate found; `decide` saw a free one."""
    state = beyond.state
    state[WAITS] = 0
    if state[FREE_PLACES] == 0:
        return NO_PLACE
    state[FREE_PLACES] -= 1
    place: int = beyond.free[state[FREE_PLACES]]
    row, words = beyond.parked[place], beyond.parked_words[place]
    row[SLOT], row[ARRIVED_NS] = slot, now_ns
    words[WHO] = unsigned(caller_hash(gate, address, beyond.words[_SCRATCH : _SCRATCH + NAME_WORDS]))
    words[CALLER], words[CALLER + 1] = address[0], address[1]
    for i in range(RESULT_WORDS):
        row[GATE + i] = gate.result[i]
    _wait_for_first(beyond, place)
    return place


@compiled
def _wait_for_first(beyond: Beyond, place: int) -> None:
    words = beyond.parked_words[place]
    words[WAITS_FOR], words[WAITS_FOR + 1] = beyond.words[_FIRST_UNDECIDED], beyond.words[_FIRST_UNDECIDED + 1]
    note_deadline(beyond, place)


@compiled
def note_deadline(beyond: Beyond, place: int) -> None:
    """This request goes on waiting."""
    beyond.state[NEXT_NS] = min(beyond.state[NEXT_NS], _deadline_of(beyond, place))


@compiled
def _deadline_of(beyond: Beyond, place: int) -> int:
    deadline_ns: int = min(beyond.parked[place, ARRIVED_NS] + MISS_MAX_NS, beyond.state[LATE_FROM_NS])
    return deadline_ns


@compiled
def release_place(beyond: Beyond, place: int) -> None:
    """The request is answered, or its client is gone."""
    beyond.parked[place, SLOT] = FREE
    beyond.free[beyond.state[FREE_PLACES]] = place
    beyond.state[FREE_PLACES] += 1


@compiled
def begin_again(beyond: Beyond, gate: Gate, place: int, now_ns: int) -> bool:
    """Whether to look at this parked request again now; then it is let in as it was when it came."""
    state, row, words = beyond.state, beyond.parked[place], beyond.parked_words[place]
    state[IS_LATE] = now_ns >= _deadline_of(beyond, place)
    if state[IS_LATE] == 0:
        name = words[WAITS_FOR : WAITS_FOR + NAME_WORDS]
        cell, _ = find_asset(beyond.assets, name)
        is_decided = cell != ABSENT and is_answered(beyond.assets, cell, now_ns)
        if not is_decided and refusal_of(beyond.assets, name, now_ns) == CODE_OK:
            note_deadline(beyond, place)
            return False
    state[IS_AGAIN] = 1
    for i in range(RESULT_WORDS):
        gate.result[i] = row[GATE + i]
    if gate.result[KEY_ID] > 0:
        read_terms(gate.keys, gate.result[KEY_ID], gate.own["terms"])
    return True


@compiled
def end_again(beyond: Beyond, place: int) -> bool:
    """Whether the request was answered: its place is free then, else it waits on, for another of its names."""
    state = beyond.state
    is_waiting = state[WAITS] == 1
    stop_again(beyond)
    if is_waiting:
        _wait_for_first(beyond, place)
        return False
    release_place(beyond, place)
    return True


@compiled
def stop_again(beyond: Beyond) -> None:
    """Whatever comes next is a new request."""
    beyond.state[WAITS] = beyond.state[IS_AGAIN] = beyond.state[IS_LATE] = 0


@compiled
def hurry(beyond: Beyond, now_ns: int) -> None:
    """The worker is to leave: nothing waits for long any more."""
    state = beyond.state
    state[LATE_FROM_NS] = now_ns + DRAIN_PARKED_MAX_NS
    if parked_count(beyond) > 0:
        state[NEXT_NS] = min(state[NEXT_NS], state[LATE_FROM_NS])


@compiled
def parked_count(beyond: Beyond) -> int:
    """Requests that wait."""
    free: int = beyond.state[FREE_PLACES]
    return signed(beyond.parked.shape[0]) - free
