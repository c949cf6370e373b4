"""What a compiled function depends on, as a short text: two functions with the same one have the same machine code.

That is its bytecode and constants, the values of the globals that it names, and the same of every function that it
can call, whatever file they stand in. So an edit of a comment, of a function that is not called, of a bound that no
compiled function uses, costs nothing, and a change of anything else cannot meet stale machine code. What this module
cannot look into is a TypeError: it must be told how, or not be a global of compiled code.

Beside it the argument types (a named tuple with its fields in their order), the CPU, the versions of Python, numba,
LLVM and numpy, and the code of `whole.py`, `quicker.py` and `reference.py`, which say how all of it is put together.

Rules: pure but for reading those three; compiles nothing; must not know any compiled function.
"""

import builtins
import enum
import functools
import hashlib
import sys
import types
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.core.types import ExternalFunction, Type
from numba.core.types.containers import BaseNamedTuple, BaseTuple
from numba.core.typing.templates import Signature
from numba.extending import _Intrinsic

from trinity.compiled.reference import Reference

_KEY_BYTES = 16
# Libraries whose versions tell what is in them.
_VERSIONED = ("numpy", "math", "llvmlite", "numba")
_PLAIN = (type(None), type(Ellipsis), bool, int, float, complex, str, bytes, np.generic)


def fingerprint_of(root: Dispatcher, arguments: tuple[Any, ...], cpu: tuple[Any, ...]) -> str:
    """The name of the machine code of `root` for arguments of these types, on this CPU."""
    lines = [_surroundings(), repr(cpu), *map(_of_type, arguments), *describe(root)]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=_KEY_BYTES).hexdigest()


def describe(root: Dispatcher) -> Iterator[str]:
    """One line for each function that `root` reaches, itself first, in an order that is always the same."""
    waiting: list[Callable[..., Any]] = []
    yield _of_value(root, waiting)
    seen = {root.py_func}
    while waiting:
        function = waiting.pop()
        met: list[Callable[..., Any]] = []
        yield f"{function.__module__}.{function.__qualname__}: {_of_function(function, met)}"
        for other in met:
            if other not in seen:
                seen.add(other)
                waiting.append(other)


@functools.cache
def _surroundings() -> str:
    """What all machine code depends on."""
    whole = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("whole.py", "quicker.py", "reference.py"))
    versions = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__, np.__version__)
    return f"{versions} {numba.config.OPT} {hashlib.blake2b(whole, digest_size=_KEY_BYTES).hexdigest()}"


def _of_function(function: Callable[..., Any], met: list[Callable[..., Any]]) -> str:
    """A function's code and the values that it names; what it can call is added to `met`."""
    code: types.CodeType = function.__code__
    names = sorted({*code.co_freevars, *(name for part in _codes(code) for name in part.co_names)})
    cells = (cell.cell_contents for cell in function.__closure__ or ())
    scope = vars(builtins) | function.__globals__ | dict(zip(code.co_freevars, cells, strict=True))
    named = [f"{name}={_of_named(scope[name], names, met)}" for name in names if name in scope]
    defaults = [_of_value(value, met) for value in function.__defaults__ or ()]
    bodies = [_of_code(part, function.__doc__ if part is code else None, met) for part in _codes(code)]
    return f"{bodies} {defaults} {named}"


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _of_code(code: types.CodeType, docstring: str | None, met: list[Callable[..., Any]]) -> str:
    """Bytecode without line numbers, constants without the docstring."""
    constants = [
        "code" if isinstance(constant, types.CodeType) else _of_value(constant, met)
        for constant in code.co_consts
        if docstring is None or constant != docstring
    ]
    names = code.co_varnames, code.co_names, code.co_freevars, code.co_cellvars
    return f"{code.co_code.hex()} {code.co_exceptiontable.hex()} {constants} {names} {code.co_argcount}"


def _of_value(value: Any, met: list[Callable[..., Any]]) -> str:
    """A value that compiled code may name."""
    match value:
        case Dispatcher():
            met.append(value.py_func)
            return f"compiled {value.py_func.__module__}.{value.py_func.__qualname__} {value.targetoptions}"
        case _Intrinsic():
            met.append(value._defn)  # noqa: SLF001 - numba has no public name for it
            return f"intrinsic {value._name}"  # noqa: SLF001
        case ExternalFunction():
            return f"external {value.symbol} {value.sig}"
        case enum.EnumMeta():
            members: dict[str, enum.Enum] = dict(value.__members__)
            return f"{value.__qualname__} {[f'{name} {member.value!r}' for name, member in members.items()]}"
        case enum.Enum():
            return f"{type(value).__qualname__} {_of_value(value.value, met)}"
        case np.ndarray():
            return f"array {value.dtype} {value.shape} {value.flags.writeable} {value.tobytes().hex()}"
        case tuple() | frozenset():
            fields = getattr(value, "_fields", "")
            parts = [_of_value(part, met) for part in value]
            return f"{type(value).__qualname__}{fields}{sorted(parts) if isinstance(value, frozenset) else parts}"
        case type():
            return f"class {value.__module__}.{value.__qualname__} {getattr(value, '_fields', '')}"
        case types.FunctionType():
            met.append(value)
            return f"function {value.__module__}.{value.__qualname__}"
        case _ if isinstance(value, _PLAIN):
            return f"{type(value).__qualname__} {value!r}"
        case Type() | Signature():
            return f"type {value}"
        case types.BuiltinFunctionType() | np.ufunc():
            return f"builtin {value.__name__}"
    raise TypeError(f"compiled code names {value!r}: of this kind it cannot be said what machine code depends on")


def _of_named(value: Any, names: Collection[str], met: list[Callable[..., Any]]) -> str:
    """A value that stands in a function's scope; of a module those parts whose names the function has as well."""
    if not isinstance(value, types.ModuleType):
        return _of_value(value, met)
    if value.__name__.partition(".")[0] in _VERSIONED:
        return f"module {value.__name__}"
    parts = [f"{name}={_of_named(vars(value)[name], names, met)}" for name in names if name in vars(value)]
    return f"module {value.__name__} {parts}"


def _of_type(of: Any) -> str:
    """An argument's type; numba tells named tuples apart by their class, here it is their fields."""
    match of:
        case Reference():
            return f"reference {_of_type(of.target)}"
        case BaseNamedTuple():
            fields = [f"{name}: {_of_type(kind)}" for name, kind in zip(of.fields, of, strict=True)]
            return f"{of.instance_class.__qualname__}{fields}"
        case BaseTuple():
            return f"{list(map(_of_type, of))}"
    return str(of)
