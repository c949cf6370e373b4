"""trinity/cache/slots.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.cache.slots import CacheServer, read_slots, slot_of

ASKED = CacheServer("asked", 1)


def test_a_command_s_slot_is_that_of_its_name_or_its_hash_tag() -> None:
    """Wherever the name stands; a command without one may go anywhere."""
    slot = slot_of(("GET", "foo"))
    assert slot == 12182  # CLUSTER KEYSLOT foo
    assert slot_of((b"set", b"foo", "1")) == slot_of(("EVALSHA", "0" * 40, 1, "foo")) == slot
    assert slot_of(("GET", "{foo}:a")) == slot
    assert slot_of(("PING",)) is slot_of(("SCRIPT LOAD", "return 1")) is slot_of(("CLUSTER", "SLOTS")) is None


def test_slots_are_read_with_their_primary() -> None:
    """An empty host is the server that was asked."""
    answer = [[0, 1, [b"a", 7, b"id"], [b"replica", 8, b"id"]], [2, 2, [b"", 9, b"id"]]]
    assert read_slots(answer, ASKED) == {0: CacheServer("a", 7), 1: CacheServer("a", 7), 2: CacheServer("asked", 9)}


@given(st.recursive(st.none() | st.integers(-2, 20) | st.binary(max_size=4), lambda inner: st.lists(inner, max_size=4)))
def test_any_other_answer_is_an_error_of_value(answer: object) -> None:
    """Of a server that is something else."""
    try:
        read_slots(answer, ASKED)  # type: ignore[arg-type]
    except ValueError:
        return


def test_a_wrong_shape_says_so() -> None:
    """With what was asked."""
    with pytest.raises(ValueError, match="CLUSTER SLOTS"):
        read_slots([1], ASKED)
