"""trinity/compiled/whole.py"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from trinity.compiled import compiled, compiled_inline, jit_enabled
from trinity.memory.atomics import Words

if not jit_enabled():
    pytest.skip("there is no machine code", allow_module_level=True)

from numba import types
from numba.core import event

LIMIT = 3


class Pair(NamedTuple):
    """Two arrays, as the contexts of the request loop are."""

    first: Words
    second: Words


@compiled_inline
def _checked(value: int) -> int:
    if value > LIMIT:
        raise OverflowError("too much")
    return value


@compiled
def at(words: Words, index: int) -> int:
    """Called by Python and by compiled code."""
    return _checked(np.int64(words[index]))  # type: ignore[arg-type]


@compiled
def both(pair: Pair, index: int) -> int:
    """Called by Python."""
    return at(pair.first, index) * 10 + at(pair.second, 0) + at(pair.second, LIMIT - LIMIT)


def _pair() -> Pair:
    return Pair(np.array([1, 2, 9], dtype=np.uint64), np.array([3], dtype=np.uint64))


def test_a_whole_does_what_its_pieces_say() -> None:
    """Python's result, over two levels of calls, also for a function that is called from both sides."""
    assert both(_pair(), 1) == 2 * 10 + 3 + 3
    assert at(_pair().first, 0) == 1
    assert both(_pair(), 0) == 1 * 10 + 3 + 3


def test_what_a_piece_raises_reaches_python() -> None:
    """The type and the message, through compiled callers."""
    with pytest.raises(OverflowError, match="too much"):
        both(_pair(), 2)
    with pytest.raises(IndexError):
        both(_pair(), 3)
    with pytest.raises(IndexError):
        at(_pair().second, 1)


def test_a_constant_makes_no_specialisation_and_a_second_root_no_second_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each function is compiled once for each combination of argument types, whoever calls it, and with what."""
    monkeypatch.setattr("trinity.compiled._read", [tmp_path])  # nothing was compiled before
    monkeypatch.setattr("trinity.compiled._written", [tmp_path])

    @compiled
    def leaf(value: int) -> int:
        return value + 1

    @compiled
    def first(value: int) -> int:
        return leaf(value) + leaf(3) + leaf(value=4)

    @compiled
    def second(value: int) -> int:
        return leaf(value) + leaf(True + 1)

    with event.install_recorder("numba:run_pass") as seen:
        assert (first(1), second(1)) == (11, 5)
    typed = [
        happened.data["qualname"]
        for _, happened in seen.buffer
        if happened.is_start and happened.data["name"].startswith("nopython_type_inference ")
    ]
    assert sorted(name.rpartition(".")[2] for name in typed if "leaf" in name) == ["leaf"]


def test_a_root_is_compiled_for_types_alone() -> None:
    """As the warm-ups do: nothing is called."""

    @compiled
    def never(value: int) -> int:
        raise OverflowError("called")

    never.compile((types.int64,))  # type: ignore[attr-defined]
    assert len(never.signatures) == 1  # type: ignore[attr-defined]
