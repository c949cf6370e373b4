"""The key table: what each API key may do, found by the SHA-256 of the key, never holding the key.

    +---------------------------------------------------------------------------------------+
    | header, 8 words: KEYS_MAX, LOADED, DIGESTS_AT, INDEX_AT, INDEX_MASK, INDEX_USED       |
    +---------------------------------------------------------------------------------------+
    | terms of key 0 (unused), 1, 2 ... keys_max: 8 words each, one cache line              |
    |   0     counter: number of versions; its lowest bit names the slot of the newest      |
    |   1-3   slot 0: flags, pace, quota                                                    |
    |   4-6   slot 1                                                                        |
    |         flags  state (8 bits) | dry run (1 bit, at 8) | admission class (2 bits, at   |
    |                9) | generation (31 bits, at 32)                                       |
    |         pace   rate (32 bits, see rates.py) | burst (32 bits, at 32)                  |
    |         quota  requests a month                                                       |
    +---------------------------------------------------------------------------------------+
    | digests of key 0, 1, 2 ...: 4 words each, the 32 bytes as they are                    |
    +---------------------------------------------------------------------------------------+
    | index: key ids, 32 bits each, two a word, by the digest's first word, open addressing |
    +---------------------------------------------------------------------------------------+

Rules: one writer, the access process; readers are compiled. Terms are versioned as in cell.py, so a reader never sees
half of a change, whenever the writer was killed. A digest is written while its terms say EMPTY, and the generation
that comes with a new digest tells workers that what they recognise is another key by now. Entries are never removed:
a revoked key stays, to be answered as such. 104 bytes a key and its place in the index: 1 million keys in 105 MB.
"""

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled, compiled_inline
from trinity.errors import KeyChangesError, KeysFullError
from trinity.memory.atomics import Words, fence, load_acquire, read_fence, signed, store_release, unsigned
from trinity.memory.cell import READ_TRIES_MAX
from trinity.memory.gcra import BUCKET_NS_MAX
from trinity.memory.segment import Segment
from trinity.rates import RATE_BITS, REQUESTS_MASK, SECONDS_SHIFT
from trinity.vocabulary import KeyState

LAYOUT_VERSION = 2
LAYOUT_HASH = 0  # the header names all that the bytes' meaning depends on

HEADER_WORDS = 8
TERMS_WORDS = 8
TERMS_SLOT_WORDS = 3
DIGEST_WORDS = 4
DIGEST_BYTES = 32
_KEYS_MAX, _LOADED, _DIGESTS_AT, _INDEX_AT, _INDEX_MASK, _INDEX_USED = range(6)

FLAGS, PACE, QUOTA = range(TERMS_SLOT_WORDS)
STATE_MASK = 0xFF
DRY_RUN_BIT = 1 << 8
CLASS_SHIFT, CLASS_MASK = 9, 0b11
GENERATION_SHIFT = 32
BURST_SHIFT = 32
_GENERATION_MASK = 0x7FFF_FFFF
# What a column of the database may hold: field, lowest, highest.
_BOUNDS = (
    ("key_id", 1, 2**31 - 1),
    ("state", int(KeyState.ACTIVE), int(KeyState.REVOKED)),
    ("rate", 0, RATE_BITS),
    ("burst", 0, 2**31 - 1),
    ("monthly_quota", 0, 2**63 - 1),
    ("dry_run", 0, 1),
    ("admission_class", 0, CLASS_MASK),
)

_HALF_BITS = 32
_HALF, _0, _1 = np.uint64(0xFFFF_FFFF), np.uint64(0), np.uint64(1)


_EMPTY, _REVOKED = int(KeyState.EMPTY), int(KeyState.REVOKED)


class KeyTable:
    """API keys by id; `words` is for compiled readers."""

    def __init__(self, words: Words, segment: Segment | None = None) -> None:
        self.words = words
        self.segment = segment
        self.keys_max = int(words[_KEYS_MAX])

    @classmethod
    def create(cls, name: str, keys_max: int) -> "KeyTable":
        """Make an empty table for ids up to `keys_max` (see Segment.create for the errors)."""
        segment = Segment.create(name, LAYOUT_VERSION, LAYOUT_HASH, words_needed(keys_max))
        _lay_out(segment.body, keys_max)
        return cls(segment.body, segment)

    @classmethod
    def attach(cls, name: str) -> "KeyTable":
        """Open the table of a running node (see Segment.attach for the errors)."""
        segment = Segment.attach(name, LAYOUT_VERSION, LAYOUT_HASH)
        return cls(segment.body, segment)

    @classmethod
    def private(cls, keys_max: int) -> "KeyTable":
        """An empty table that no other process sees."""
        words = np.zeros(words_needed(keys_max), dtype=np.uint64)
        _lay_out(words, keys_max)
        return cls(words)

    @property
    def loaded(self) -> bool:
        """Whether the keys were written once; until then no key can be told from a wrong one."""
        return bool(load_acquire(self.words, _LOADED))

    def mark_loaded(self) -> None:
        """Say that all keys are there; only the access process may call it."""
        store_release(self.words, _LOADED, 1)

    def write(
        self,
        key_id: int,
        digest: bytes,
        state: KeyState,
        rate: int,
        burst: int,
        monthly_quota: int,
        dry_run: bool,
        admission_class: int = 0,
    ) -> bool:
        """Write one key, as `write_many`; True when that changed something."""
        digests = np.frombuffer(digest, dtype=np.uint8).reshape(1, DIGEST_BYTES)
        terms = state, rate, burst, monthly_quota, dry_run, admission_class
        one = [np.array([value], dtype=np.int64) for value in terms]
        return self.write_many(np.array([key_id], dtype=np.int64), digests, *one) == 1

    def write_many(
        self,
        key_ids: NDArray[np.int64],
        digests: NDArray[np.uint8],
        states: NDArray[np.int64],
        rates: NDArray[np.int64],
        bursts: NDArray[np.int64],
        monthly_quotas: NDArray[np.int64],
        dry_runs: NDArray[np.int64],
        admission_classes: NDArray[np.int64],
    ) -> int:
        """Write all these keys (`digests` is uint8[n, 32]); returns how many were not already so.

        Raises KeysFullError for ids beyond `keys_max` and KeyChangesError when the index is used up, both after
        everything that fits was written; ValueError, before anything was, for numbers that no key can have.
        """
        columns = [key_ids, states, rates, bursts, monthly_quotas, dry_runs, admission_classes]
        columns = [column.astype(np.int64) for column in columns]
        for values, (what, low, high) in zip(columns, _BOUNDS, strict=True):
            if values.size and (values.min() < low or values.max() > high):
                raise ValueError(f"{what} is not between {low} and {high}")
        fits = key_ids <= self.keys_max
        ids, state, rate, burst, quota, dry_run, admission_class = (column[fits] for column in columns)
        words = np.ascontiguousarray(digests[fits]).view(np.uint64)
        flags = state | dry_run * DRY_RUN_BIT | admission_class << CLASS_SHIFT
        paces = rate | _bursts_within(rate, burst) << BURST_SHIFT
        changed, failed_id = _write_entries(self.words, ids, words, flags, paces, quota)
        if failed_id:
            raise KeyChangesError(failed_id)
        if not fits.all():
            raise KeysFullError(int(key_ids.max()), self.keys_max)
        return int(changed)

    def revoke_others(self, key_ids: NDArray[np.int64]) -> int:
        """Revoke every key in the table that is not among `key_ids`; returns how many. A repair, not an operation."""
        keep = np.zeros(self.keys_max + 1, dtype=np.bool_)
        keep[key_ids[key_ids <= self.keys_max]] = True
        return int(_revoke_others(self.words, keep))

    def digest_of(self, key_id: int) -> bytes:
        """The SHA-256 of a key in the table; zeroes where it has none of this id."""
        at = int(self.words[_DIGESTS_AT]) + key_id * DIGEST_WORDS
        return self.words[at : at + DIGEST_WORDS].tobytes() if key_id <= self.keys_max else bytes(DIGEST_BYTES)

    def states(self) -> NDArray[np.int64]:
        """KeyState of every id from 0 to keys_max, for the writer."""
        return self.states_of(np.arange(self.keys_max + 1))

    def states_of(self, key_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """KeyState of these ids, EMPTY for those that the table has no place for."""
        at = HEADER_WORDS + np.where(key_ids <= self.keys_max, key_ids, 0) * TERMS_WORDS
        newest = at + 1 + (self.words[at] & _1).astype(np.int64) * TERMS_SLOT_WORDS + FLAGS
        states: NDArray[np.int64] = self.words[newest].astype(np.int64) & STATE_MASK
        return states


def _bursts_within(rates: NDArray[np.int64], bursts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bursts cut to the largest bucket, so that no request has to ask whether its arithmetic fits."""
    seconds, requests = (rates >> SECONDS_SHIFT) + 1, np.maximum(rates & REQUESTS_MASK, 1)
    intervals_ns: NDArray[np.int64] = (NS_PER_SECOND * seconds + requests - 1) // requests
    return np.minimum(bursts, BUCKET_NS_MAX // intervals_ns)


def words_needed(keys_max: int) -> int:
    """Words of a table for ids up to `keys_max`, id 0 included."""
    return HEADER_WORDS + (keys_max + 1) * (TERMS_WORDS + DIGEST_WORDS) + _index_slots(keys_max) // 2


def _index_slots(keys_max: int) -> int:
    """At least two slots a key: a search ends after 1.5 looks on average when half of them are used."""
    return 1 << (2 * (keys_max + 1) - 1).bit_length()


def _lay_out(words: Words, keys_max: int) -> None:
    words[_DIGESTS_AT] = HEADER_WORDS + (keys_max + 1) * TERMS_WORDS
    words[_INDEX_AT] = HEADER_WORDS + (keys_max + 1) * (TERMS_WORDS + DIGEST_WORDS)
    words[_INDEX_MASK] = _index_slots(keys_max) - 1
    words[_KEYS_MAX] = keys_max


# --- reading --------------------------------------------------------------------------------------------------


@compiled_inline
def is_loaded(keys: Words) -> bool:
    return load_acquire(keys, _LOADED) == 1


@compiled
def has_room(keys: Words, key_id: int) -> bool:
    """Whether a key of this id has a place in the table; who reads by id asks first."""
    return 0 < key_id <= signed(keys[_KEYS_MAX])


@compiled
def read_terms(keys: Words, key_id: int, terms: Words) -> bool:
    """Copy a key's terms (FLAGS, PACE, QUOTA); False when no key has this id."""
    at = HEADER_WORDS + key_id * TERMS_WORDS
    for _ in range(READ_TRIES_MAX):
        counter = signed(load_acquire(keys, at))
        if counter == 0:
            return False
        slot = at + 1 + (counter & 1) * TERMS_SLOT_WORDS
        for i in range(TERMS_SLOT_WORDS):
            terms[i] = keys[slot + i]
        read_fence()
        if signed(load_acquire(keys, at)) == counter:
            return signed(terms[FLAGS]) & STATE_MASK != _EMPTY
    return False


@compiled
def find_key(keys: Words, digest: Words, terms: Words) -> int:
    """Id of the key with this digest and its terms, 0 when there is none.

    All 32 bytes of a candidate are compared whatever they are. The digest is compared again behind its terms: it is
    never changed while they say anything else than EMPTY.
    """
    mask = signed(keys[_INDEX_MASK])
    digests_at = signed(keys[_DIGESTS_AT])
    slot = signed(digest[0] & keys[_INDEX_MASK])
    for _ in range(mask + 1):
        key_id = _index_id(keys, slot)
        if key_id == 0:
            return 0
        at = digests_at + key_id * DIGEST_WORDS
        if _same_digest(keys, at, digest) and read_terms(keys, key_id, terms):
            read_fence()
            if _same_digest(keys, at, digest):
                return key_id
        slot = (slot + 1) & mask
    return 0


@compiled
def _same_digest(keys: Words, at: int, digest: Words) -> bool:
    differing = keys[at] ^ digest[0]
    for i in range(1, DIGEST_WORDS):
        differing |= keys[at + i] ^ digest[i]
    return bool(differing == _0)


@compiled
def _index_id(keys: Words, slot: int) -> int:
    """The key id in one place of the index, 0 when it is free."""
    word = load_acquire(keys, signed(keys[_INDEX_AT]) + (slot >> 1))
    return signed(word >> unsigned(_HALF_BITS * (slot & 1)) & _HALF)


# --- writing --------------------------------------------------------------------------------------------------


@compiled
def _write_entries(
    keys: Words,
    key_ids: NDArray[np.int64],
    digests: NDArray[np.uint64],
    flags: NDArray[np.int64],
    paces: NDArray[np.int64],
    quotas: NDArray[np.int64],
) -> tuple[int, int]:
    """Write entries one by one: how many were changed, and the first id that the index had no place for (or 0)."""
    changed = failed_id = 0
    for i in range(key_ids.size):
        key_id = key_ids[i]
        at = HEADER_WORDS + key_id * TERMS_WORDS
        digest_at = signed(keys[_DIGESTS_AT]) + key_id * DIGEST_WORDS
        counter = signed(keys[at])
        slot = at + 1 + (counter & 1) * TERMS_SLOT_WORDS
        generation = signed(keys[slot + FLAGS]) >> GENERATION_SHIFT
        digest = digests[i]
        empty = counter == 0 or signed(keys[slot + FLAGS]) & STATE_MASK == _EMPTY
        if empty or not _same_digest(keys, digest_at, digest):
            generation = (generation + 1) & _GENERATION_MASK
            if counter != 0:
                _publish_terms(keys, at, _EMPTY | generation << GENERATION_SHIFT, 0, 0)
                fence()
            for word in range(DIGEST_WORDS):
                keys[digest_at + word] = digest[word]
            fence()
            if not _enter(keys, key_id, digest):
                failed_id = failed_id or key_id
                continue
        elif (
            signed(keys[slot + FLAGS]) == flags[i] | generation << GENERATION_SHIFT
            and signed(keys[slot + PACE]) == paces[i]
            and signed(keys[slot + QUOTA]) == quotas[i]
        ):
            continue
        _publish_terms(keys, at, flags[i] | generation << GENERATION_SHIFT, paces[i], quotas[i])
        changed += 1
    return changed, failed_id


@compiled
def _publish_terms(keys: Words, at: int, flags: int, pace: int, quota: int) -> None:
    counter = signed(keys[at])
    slot = at + 1 + ((counter + 1) & 1) * TERMS_SLOT_WORDS
    fence()
    keys[slot + FLAGS] = unsigned(flags)
    keys[slot + PACE] = unsigned(pace)
    keys[slot + QUOTA] = unsigned(quota)
    store_release(keys, at, counter + 1)


@compiled
def _enter(keys: Words, key_id: int, digest: Words) -> bool:
    """Put the id into the index, unless it is on its digest's way already; False when the index is used up.

    The place of a digest that was replaced stays used. A quarter of the places is left free: a search must end.
    """
    mask = signed(keys[_INDEX_MASK])
    slot = signed(digest[0] & keys[_INDEX_MASK])
    while True:
        found = _index_id(keys, slot)
        if found == key_id:
            return True
        if found == 0:
            break
        slot = (slot + 1) & mask
    if signed(keys[_INDEX_USED]) >= (mask + 1) // 4 * 3:
        return False
    keys[_INDEX_USED] += _1
    at = signed(keys[_INDEX_AT]) + (slot >> 1)
    store_release(keys, at, keys[at] | unsigned(key_id << _HALF_BITS * (slot & 1)))
    return True


@compiled
def _revoke_others(keys: Words, keep: NDArray[np.bool_]) -> int:
    revoked = 0
    for key_id in range(1, keep.size):
        state = _state_of(keys, key_id)
        if keep[key_id] or state in (_EMPTY, _REVOKED):
            continue
        at = HEADER_WORDS + key_id * TERMS_WORDS
        slot = at + 1 + signed(keys[at] & _1) * TERMS_SLOT_WORDS
        flags = signed(keys[slot + FLAGS]) & ~STATE_MASK | _REVOKED
        _publish_terms(keys, at, flags, signed(keys[slot + PACE]), signed(keys[slot + QUOTA]))
        revoked += 1
    return revoked


@compiled
def _state_of(keys: Words, key_id: int) -> int:
    """The state as the writer sees it."""
    at = HEADER_WORDS + key_id * TERMS_WORDS
    slot = at + 1 + signed(keys[at] & _1) * TERMS_SLOT_WORDS
    return signed(keys[slot + FLAGS]) & STATE_MASK
