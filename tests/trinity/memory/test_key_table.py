"""trinity/memory/key_table.py"""

import hashlib
import os
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import KeyChangesError, KeysFullError
from trinity.memory.key_table import (
    BURST_SHIFT,
    DRY_RUN_BIT,
    FLAGS,
    GENERATION_SHIFT,
    PACE,
    QUOTA,
    STATE_MASK,
    TERMS_SLOT_WORDS,
    KeyTable,
    find_key,
    is_loaded,
    read_terms,
    words_needed,
)
from trinity.rates import RATE_BITS, rate_of
from trinity.vocabulary import KeyState

SUSPENDED, ACTIVE, REVOKED = KeyState.SUSPENDED, KeyState.ACTIVE, KeyState.REVOKED


def digest_of(key: object) -> bytes:
    return hashlib.sha256(repr(key).encode()).digest()


def find(table: KeyTable, digest: bytes) -> tuple[int, ...]:
    """(id, state, rate, burst, quota, dry run) of the key with this digest; (0,) when there is none."""
    terms = np.zeros(TERMS_SLOT_WORDS, dtype=np.uint64)
    key_id = int(find_key(table.words, np.frombuffer(digest, dtype=np.uint64).copy(), terms))
    if not key_id:
        return (0,)
    flags, pace = int(terms[FLAGS]), int(terms[PACE])
    return (
        key_id, flags & STATE_MASK, pace & RATE_BITS, pace >> BURST_SHIFT, int(terms[QUOTA]),
        int(flags & DRY_RUN_BIT != 0),
    )  # fmt: skip


def generation(table: KeyTable, key_id: int) -> int:
    terms = np.zeros(TERMS_SLOT_WORDS, dtype=np.uint64)
    assert read_terms(table.words, key_id, terms)
    return int(terms[FLAGS]) >> GENERATION_SHIFT


def write_all(table: KeyTable, ids: list[int], state: KeyState = ACTIVE) -> int:
    """Keys whose digest and terms follow from their id."""
    numbers = np.array(ids, dtype=np.int64)
    digests = np.frombuffer(b"".join(digest_of(key_id) for key_id in ids), dtype=np.uint8).reshape(-1, 32)
    states = np.full(len(ids), int(state), dtype=np.int64)
    return table.write_many(numbers, digests, states, numbers * 2, numbers * 3, numbers * 5, numbers % 2, numbers % 4)


ENTRY = st.tuples(
    st.integers(1, 12),  # id
    st.integers(0, 30),  # key
    st.sampled_from([ACTIVE, SUSPENDED, REVOKED]),
    st.integers(0, RATE_BITS),
    st.integers(0, 500_000),
    st.integers(0, 2**63 - 1),
    st.booleans(),
)


@pytest.mark.uncompiled
@given(st.lists(ENTRY, max_size=12))
def test_every_key_is_found_with_its_newest_terms_and_no_other_key_is(entries: list[tuple[int, ...]]) -> None:
    """As a dictionary would: an id that gets another digest is found by the new one only."""
    table, model = KeyTable.private(12), {}
    for key_id, key, state, rate, burst, quota, dry_run in entries:
        if any(other != key_id and digest == digest_of(key) for other, (digest, _) in model.items()):
            continue  # the database has a key once
        table.write(key_id, digest_of(key), KeyState(state), rate, burst, quota, bool(dry_run))
        model[key_id] = digest_of(key), (key_id, state, rate, burst, quota, int(dry_run))
    expected = dict(model.values())
    for key in range(31):
        assert find(table, digest_of(key)) == expected.get(digest_of(key), (0,))
    assert [int(state) for state in table.states()] == [model[i][1][1] if i in model else 0 for i in range(13)]


@pytest.mark.uncompiled
def test_keys_are_known_to_be_there_only_when_it_was_said() -> None:
    """An empty table is not yet "no such key"."""
    table = KeyTable.private(1)
    assert not table.loaded
    assert not is_loaded(table.words)
    table.mark_loaded()
    assert table.loaded
    assert is_loaded(table.words)


@pytest.mark.uncompiled
def test_a_repeated_load_changes_nothing() -> None:
    """The periodic comparison writes all keys again: readers and recognised keys are not disturbed."""
    table = KeyTable.private(50)
    assert write_all(table, list(range(1, 51))) == 50
    before = table.words.copy()
    assert write_all(table, list(range(1, 51))) == 0
    assert (table.words == before).all()
    assert write_all(table, list(range(10, 20)), SUSPENDED) == 10
    assert find(table, digest_of(13)) == (13, SUSPENDED, 26, 39, 65, 1)


@pytest.mark.uncompiled
def test_a_new_digest_is_a_new_generation_and_new_terms_are_not() -> None:
    """Workers recognise a key by id and generation: only another key makes them ask for a proof again."""
    table = KeyTable.private(3)
    table.write(2, digest_of("a"), ACTIVE, 1, 1, 0, False)
    first = generation(table, 2)
    table.write(2, digest_of("a"), REVOKED, 5, 5, 5, True)
    assert generation(table, 2) == first
    table.write(2, digest_of("b"), ACTIVE, 1, 1, 0, False)
    assert generation(table, 2) != first
    assert find(table, digest_of("a")) == (0,)


@pytest.mark.uncompiled
def test_an_id_beyond_the_room_is_named_and_the_others_are_written() -> None:
    """One key too many does not cost the rest of the customers their access."""
    table = KeyTable.private(10)
    with pytest.raises(KeysFullError, match="KEYS_MAX is 10: set KEYS_MAX to more than 12"):
        write_all(table, [9, 12, 10, 11])
    assert [find(table, digest_of(key_id))[0] for key_id in (9, 10, 11, 12)] == [9, 10, 0, 0]


def test_a_burst_is_cut_to_what_the_arithmetic_of_the_limit_holds() -> None:
    """A billion requests at once, at one an hour, are 73 years of them: nobody notices, and nothing overflows."""
    table = KeyTable.private(2)
    table.write(1, digest_of(1), ACTIVE, rate_of(1, 3600), 2**31 - 1, 0, False)
    table.write(2, digest_of(2), ACTIVE, rate_of(1), 2**31 - 1, 0, False)
    assert find(table, digest_of(1))[3] == 2**61 // (3600 * 10**9)
    assert find(table, digest_of(2))[2:4] == (1, 2**31 - 1)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("key_id", (0, 1, 1, 1, 1, 0, 0)), ("state", (1, 0, 1, 1, 1, 0, 0)), ("state", (1, 4, 1, 1, 1, 0, 0)),
        ("rate", (1, 1, -1, 1, 1, 0, 0)), ("burst", (1, 1, 1, 2**31, 1, 0, 0)),
        ("monthly_quota", (1, 1, 1, 1, -1, 0, 0)), ("dry_run", (1, 1, 1, 1, 1, 2, 0)),
        ("admission_class", (1, 1, 1, 1, 1, 1, 4)),
    ],
)  # fmt: skip
def test_numbers_that_no_key_has_are_refused_before_anything_is_written(field: str, values: tuple[int, ...]) -> None:
    """The message names the field."""
    table = KeyTable.private(2)
    key_id, *rest = (np.array([value, value or 1], dtype=np.int64) for value in values)
    digests = np.zeros((2, 32), dtype=np.uint8)
    before = table.words.copy()
    with pytest.raises(ValueError, match=field):
        table.write_many(key_id, digests, *rest)
    assert (table.words == before).all()


@pytest.mark.uncompiled
def test_keys_that_are_gone_from_the_database_are_revoked() -> None:
    """They stay to be answered as revoked, with the rest of their terms."""
    table = KeyTable.private(20)
    write_all(table, list(range(1, 16)))
    assert table.revoke_others(np.array([1, 2, 3, 99], dtype=np.int64)) == 12
    assert table.revoke_others(np.array([1, 2, 3], dtype=np.int64)) == 0
    assert find(table, digest_of(2)) == (2, ACTIVE, 4, 6, 10, 0)
    assert find(table, digest_of(7)) == (7, REVOKED, 14, 21, 35, 1)


def test_ids_that_change_their_key_for_ever_end_in_an_error_and_not_in_an_endless_search() -> None:
    """Each new digest of an id uses up a place of the index; a quarter stays free."""
    table = KeyTable.private(7)

    def change() -> None:
        for turn in range(1000):
            table.write(3, digest_of(turn), ACTIVE, 1, 1, 0, False)

    with pytest.raises(KeyChangesError):
        change()
    assert find(table, digest_of("nobody")) == (0,)


def test_a_writer_killed_at_any_moment_leaves_whole_terms(segment_name: str) -> None:
    """50 kills: state, rate, burst and quota are always of the same write."""
    table = KeyTable.create(segment_name, 4)
    assert table.segment is not None
    table.write(1, digest_of(1), ACTIVE, 1, 1, 1, False)
    for _ in range(50):
        ready, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            turn = 1
            while True:
                turn = turn % 1_000_000 + 1
                table.write(1, digest_of(1), KeyState(1 + turn % 3), turn, turn, turn, bool(turn % 2))
                if turn == 20:
                    os.write(write_end, b"x")
        os.read(ready, 1)
        seen = [find(table, digest_of(1)) for _ in range(50)]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for key_id, state, rate, burst, quota, dry_run in [*seen, find(table, digest_of(1))]:
            assert rate == burst == quota
            assert rate == 1 or (key_id, state, dry_run) == (1, 1 + rate % 3, rate % 2)
        os.close(ready)
        os.close(write_end)
    table.segment.unlink()


def test_a_tool_finds_the_table_by_its_name(segment_name: str) -> None:
    """The size is in the table itself."""
    table = KeyTable.create(segment_name, 33)
    table.write(33, digest_of(33), ACTIVE, 1, 2, 3, False)
    found = KeyTable.attach(segment_name)
    assert found.keys_max == 33
    assert find(found, digest_of(33)) == (33, ACTIVE, 1, 2, 3, 0)
    assert table.segment is not None
    table.segment.unlink()


def test_a_million_keys_need_less_than_128_megabytes() -> None:
    """Terms, digests and index."""
    assert words_needed(1_000_000) * 8 < 128_000_000
