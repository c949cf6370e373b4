"""trinity/compiled/quicker.py, with numba's own functions as the oracle."""

import ast
import inspect
import operator
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.compiled import compiled, jit_enabled

if not jit_enabled():
    pytest.skip("there is no machine code", allow_module_level=True)

from numba import types
from numba.core import bytecode, compiler, event, interpreter, ir
from numba.core.errors import TypingError, UnsupportedError
from numba.core.postproc import PostProcessor
from numba.core.registry import cpu_target
from numba.core.types.functions import BaseFunction

from trinity.compiled import quicker

quicker.install()  # as whole.py does


def _loops(words: Any, count: int) -> int:
    total = 0
    for index in range(count):
        while words[index] > total:
            total += words[index] - 1
        if total > 100:
            break
    return total


def _branches(value: int, other: tuple[int, int]) -> int:
    first, second = other
    if value > first:
        return max(value, second, key=abs)
    if value == 0:
        raise ValueError("zero")
    return {1: first, 2: second}[value]


def _yields(count: int) -> Iterator[int]:
    for index in range(count):
        yield index * count


FUNCTIONS = (_loops, _branches, _yields)


def _code_of(function: Callable[..., Any]) -> Any:
    """numba's own code of a function, before any pass."""
    identity = bytecode.FunctionIdentity.from_function(function)
    return interpreter.Interpreter(identity).interpret(bytecode.ByteCode(func_id=identity))


def _numbas_own_list_of_variables() -> Any:
    """`Inst._rec_list_vars` as it stands in numba's file: in the class it has been replaced."""
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(ir.Inst))).body
    assert isinstance(made, ast.ClassDef)
    (method,) = (part for part in made.body if isinstance(part, ast.FunctionDef) and part.name == "_rec_list_vars")
    scope = dict(vars(ir))
    exec(compile(ast.Module([method], []), ir.__file__, "exec"), scope)
    return scope["_rec_list_vars"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_instruction_has_the_same_variables(function: Callable[..., Any]) -> None:
    """The same, as often, in the same order, for every instruction and everything in it."""
    own = _numbas_own_list_of_variables()
    statements = [statement for block in _code_of(function).blocks.values() for statement in block.body]
    assert len(statements) > 10
    for statement in statements:
        for value in (statement, vars(statement), *vars(statement).values()):
            ours = ir.Inst._rec_list_vars(statement, value)
            assert [id(variable) for variable in ours] == [id(variable) for variable in own(statement, value)]
    assert ir.Inst._rec_list_vars is quicker._list_variables


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("emits", [False, True])
@pytest.mark.parametrize("extends", [False, True])
def test_a_function_is_processed_to_the_same(function: Callable[..., Any], emits: bool, extends: bool) -> None:
    """Blocks, places where variables end, and what lives where."""
    assert PostProcessor.run is quicker._process
    ours, own = _code_of(function), _code_of(function)
    PostProcessor(ours).run(emits, extends)
    quicker._process_all(PostProcessor(own), emits, extends)
    assert _text_of(ours) == _text_of(own)
    for name in ("livemap", "deadmaps", "usedefs"):
        assert getattr(ours.variable_lifetime, name) == getattr(own.variable_lifetime, name)
    assert (ours.generator_info is None) == (own.generator_info is None)


def _text_of(code: Any) -> list[str]:
    return [f"{offset}: {statement}" for offset, block in code.blocks.items() for statement in block.body]


OPTIONS = [name for name, option in compiler.Flags.options.items() if option.type is bool]
VALUES = st.dictionaries(st.sampled_from(OPTIONS), st.booleans(), max_size=4)


@given(VALUES, VALUES)
def test_options_are_equal_when_numbas_are(first: dict[str, bool], second: dict[str, bool]) -> None:
    """Also where one was set to its default and the other was not set; equal ones have the same hash."""
    ours, own = [], []
    for values in (first, second):
        for made, kind in ((ours, quicker.Flags), (own, compiler.Flags)):
            flags = kind()
            for name, value in values.items():
                setattr(flags, name, value)
            made.append(flags)
    assert (ours[0] == ours[1]) == (own[0] == own[1])
    assert ours[0] == own[0]
    assert hash(ours[0]) == hash(ours[1]) == hash(own[0])


def test_passes_that_are_left_out_exist_and_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that numba has renamed would run again; the others run as before."""
    monkeypatch.setattr("trinity.compiled._read", [tmp_path])  # nothing was compiled before
    monkeypatch.setattr("trinity.compiled._written", [tmp_path])
    state = compiler.StateDict()
    state.func_ir, state.flags = None, compiler.Flags()
    every = [made for made, _ in compiler.DefaultPassBuilder.define_nopython_pipeline(state).passes]
    assert {made.__name__ for made in every} >= quicker.LEFT_OUT

    @compiled
    def added(value: int) -> int:
        return value + 1

    with event.install_recorder("numba:run_pass") as seen:
        added.compile((types.int64,))  # type: ignore[attr-defined]
    ran = {happened.data["name"].partition(" [")[0] for _, happened in seen.buffer if happened.is_start}
    left_out = {made.name() for made in every if made.__name__ in quicker.LEFT_OUT}
    assert not ran & left_out
    assert len(ran) == len({made.name() for made in every} - left_out)


def test_what_needs_a_pass_that_is_left_out_is_refused() -> None:
    """It is no other program then: a comprehension does not compile at all."""

    @compiled
    def doubled(count: int) -> int:
        return sum([2 * index for index in range(count)])

    with pytest.raises((TypingError, UnsupportedError)):
        doubled(3)


NUMBERS = (types.int32, types.int64, types.uint64, types.float64, types.boolean, types.literal(3), types.none)


@pytest.mark.parametrize("operation", [operator.add, operator.and_, operator.lt, operator.getitem, max, abs])
def test_a_builtin_function_has_the_same_signature(operation: Callable[..., Any]) -> None:
    """For every two numbers, asked once and again; where numba finds none, both raise the same."""
    context = cpu_target.typing_context
    context.refresh()
    function = context.resolve_value_type(operation)
    for args in ((first, second) for first in NUMBERS for second in NUMBERS):
        for _ in range(2):
            assert _signature(function.get_call_type, args) == _signature(
                lambda *given: quicker._find_call_type(function, *given), args
            )
    assert BaseFunction.get_call_type is quicker._get_call_type


def _signature(find: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return find(cpu_target.typing_context, args, {})
    except TypingError as error:
        return type(error)
