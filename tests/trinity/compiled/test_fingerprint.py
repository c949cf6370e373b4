"""trinity/compiled/fingerprint.py"""

import sys
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import trinity.node.composition  # every compiled function of a node
from tests.support.hash_seeds import printed_by_each
from trinity.compiled import jit_enabled

if not jit_enabled():
    pytest.skip("there is no machine code", allow_module_level=True)

from numba import typeof, types
from numba.core.dispatcher import Dispatcher

from trinity.compiled.fingerprint import describe, fingerprint_of

SOURCE = '''
from enum import IntEnum
import numpy as np
from trinity import limits
from trinity.compiled import compiled, compiled_inline

class Kind(IntEnum):
    GOOD = 1
    BAD = 2

FACTOR = 3
TABLE = np.array([1, 2, 3])
PAIR = (4, 5)
UNUSED = 9
REACHED_ONLY_BY_OTHER = 7

@compiled
def helper(x, more=1):
    """Helps."""
    return x * FACTOR + TABLE[0] + more

@compiled
def other(x):
    return x + REACHED_ONLY_BY_OTHER

@compiled
def root(x):
    # a remark
    if x == Kind.GOOD:
        return helper(x) + PAIR[0]
    if x > limits.CONNECTIONS_MAX:
        raise ValueError("too many")
    return 0
'''
SAME = [
    ("# a remark", "# another remark"),
    ('"""Helps."""', '"""Helps out."""'),
    ("UNUSED = 9", "UNUSED = 10"),
    ("REACHED_ONLY_BY_OTHER = 7", "REACHED_ONLY_BY_OTHER = 8"),
    ("@compiled\ndef other(x):", "\n\n\n@compiled\ndef other(x):"),
]
DIFFERENT = [
    ("FACTOR = 3", "FACTOR = 4"),
    ("FACTOR = 3", "FACTOR = 3.0"),
    ("[1, 2, 3]", "[1, 2, 4]"),
    ("(4, 5)", "(5, 5)"),
    ("GOOD = 1", "GOOD = 3"),
    ("more=1", "more=2"),
    ("x * FACTOR", "x + FACTOR"),
    ('"too many"', '"too few"'),
    ("limits.CONNECTIONS_MAX", "limits.EVENTS_MAX"),
    ("@compiled\ndef helper", "@compiled_inline\ndef helper"),
]


def _fingerprint(source: str, cpu: tuple[Any, ...] = ()) -> str:
    scope: dict[str, Any] = {"__name__": "written"}
    exec(source, scope)
    return fingerprint_of(scope["root"], (types.int64,), cpu)


@pytest.mark.parametrize(("old", "new"), SAME)
def test_what_machine_code_does_not_depend_on_costs_nothing(old: str, new: str) -> None:
    """A remark, a docstring, a place in the file, a value or function that is not reached."""
    assert old in SOURCE
    assert _fingerprint(SOURCE.replace(old, new)) == _fingerprint(SOURCE)


@pytest.mark.parametrize(("old", "new"), DIFFERENT)
def test_what_machine_code_depends_on_is_told_apart(old: str, new: str) -> None:
    """Code, constants, globals, members, defaults and options, its own and those of what it calls."""
    assert old in SOURCE
    assert _fingerprint(SOURCE.replace(old, new)) != _fingerprint(SOURCE)


def test_a_bound_in_another_module_counts_when_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a module that compiled code names, the values that it takes from there."""
    before = _fingerprint(SOURCE)
    monkeypatch.setattr("trinity.limits.EVENTS_MAX", 1)
    assert _fingerprint(SOURCE) == before
    monkeypatch.setattr("trinity.limits.CONNECTIONS_MAX", 1)
    assert _fingerprint(SOURCE) != before


def test_another_cpu_has_other_machine_code() -> None:
    """What was made for one CPU is not found on another."""
    assert _fingerprint(SOURCE, ("x86-64-v3",)) != _fingerprint(SOURCE, ("x86-64-v2",))


def test_argument_types_are_told_apart_by_their_fields() -> None:
    """Two named tuples with the same types in another order are two kinds of argument."""
    scope: dict[str, Any] = {"__name__": "written"}
    exec(SOURCE, scope)
    values = (np.zeros(1), np.zeros(1))
    kinds = [typeof(namedtuple("Both", fields)(*values)) for fields in ("a b", "b a")]  # noqa: PYI024 - two of a name
    assert str(kinds[0]) == str(kinds[1]), "numba's own text does not tell"
    assert len({fingerprint_of(scope["root"], (kind,), ()) for kind in kinds}) == 2


def test_what_cannot_be_told_is_refused() -> None:
    """A global of a kind that is not known could change unseen."""
    with pytest.raises(TypeError, match="cannot be said what machine code depends on"):
        _fingerprint(SOURCE.replace("PAIR = (4, 5)", "PAIR = {0: 4}"))


def test_each_compiled_function_of_a_node_can_be_told() -> None:
    """Nothing that a compiled function names is of a kind that is not known."""
    assert trinity.node.composition
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] in ("trinity", "workers")]
    compiled = {id(value): value for module in modules for value in vars(module).values()}
    functions = [value for value in compiled.values() if isinstance(value, Dispatcher)]
    assert len(functions) > 200
    for function in functions:
        assert len(list(describe(function))) >= 2


def test_all_processes_say_the_same() -> None:
    """The order of sets, which is another in each process, is not in it."""
    script = (
        "from workers.request.loop import _serve; from trinity.compiled.fingerprint import fingerprint_of;"
        "print(fingerprint_of(_serve, (), ()))"
    )
    assert len(printed_by_each(script)) == 1
