"""numba's own Python, where it takes longest: the same results in less time.

Typing and lowering the request loop's 250 functions is numba's Python alone, and four habits of it take a third of
that: each pass lists the variables of every instruction by a chain of `isinstance`, works out for every block which
variables live at its beginning, which only generators and code for the interpreter ask for, compares options by
listing all forty, and asks for each addition anew what the sum of two integers is.

Rules: what is replaced gives what numba's own gives, for any program; must not know any compiled function.
"""

from typing import Any

from numba.core import compiler, ir, transforms
from numba.core.postproc import PostProcessor, VariableLifetime
from numba.core.types.functions import BaseFunction

_VARIABLE, _INSTRUCTION, _SEQUENCE, _MAPPING, _OTHER = range(5)
_kinds: dict[type, int] = {}

# Passes for what compiled functions do not have: contexts of `with`, closures and comprehensions, arithmetic on whole
# arrays, loops over tuples of several types, parallel loops. A function that has them is refused by the later passes.
LEFT_OUT = frozenset(
    {
        "WithLifting",
        "InlineClosureLikes",
        "MakeFunctionToJitFunction",
        "InlineInlinables",
        "InlineOverloads",
        "LiteralUnroll",
        "NopythonRewrites",
        "DumpParforDiagnostics",
    }
)


def install() -> None:
    """Put what is quicker in numba's place, once for the process."""
    ir.Inst._rec_list_vars = _list_variables  # noqa: SLF001 - numba has no other place for it
    PostProcessor.run = _process
    BaseFunction.get_call_type = _get_call_type  # type: ignore[method-assign, assignment]


class Flags(compiler.Flags):  # type: ignore[misc]
    """numba's options, compared by those that were set."""

    def __hash__(self) -> int:
        return _FLAGS_HASH

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, compiler.Flags):
            return NotImplemented
        mine, others = self._values, other._values
        if mine == others:
            return True
        # An option that was set to its default is as one that was not.
        return all(getattr(self, name) == getattr(other, name) for name in mine.keys() | others.keys())


_FLAGS_HASH = hash(compiler.Flags())  # equal ones must have the same, and numba's own is of the names alone


def _list_variables(_instruction: Any, value: Any) -> list[Any]:
    """The variables in a value, depth first, in the order in which they stand."""
    found: list[Any] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[Any]) -> None:
    kind = _kinds.get(type(value))
    if kind is None:
        kind = _kinds[type(value)] = _kind_of(value)
    if kind == _VARIABLE:
        found.append(value)
    elif kind == _INSTRUCTION:
        found += value.list_vars()
    elif kind == _SEQUENCE:
        for part in value:
            _collect(part, found)
    elif kind == _MAPPING:
        for part in value.values():
            _collect(part, found)


def _kind_of(value: Any) -> int:
    classes = ((ir.Var, _VARIABLE), (ir.Inst, _INSTRUCTION), ((list, tuple), _SEQUENCE), (dict, _MAPPING))
    return next((kind for types, kind in classes if isinstance(value, types)), _OTHER)


_find_call_type = BaseFunction.get_call_type
_call_types: dict[tuple[Any, ...], Any] = {}


def _get_call_type(function: Any, context: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
    """The signature of a builtin function for these types, found once; what raises is asked again."""
    key = (context, function, args, *kws.items())
    found = _call_types.get(key)
    if found is None:
        found = _call_types[key] = _find_call_type(function, context, args, kws)
    return found


_process_all = PostProcessor.run


def _process(processor: Any, emit_dels: bool = False, extend_lifetimes: bool = False) -> None:
    """As numba's, but which variables live at a block's beginning is not worked out where nobody asks."""
    function = processor.func_ir
    if function.is_generator:
        _process_all(processor, emit_dels, extend_lifetimes)
        return
    function.blocks = transforms.canonicalize_cfg(function.blocks)
    function.variable_lifetime = VariableLifetime(function.blocks)  # each of its parts is made when it is asked for
    function.generator_info = None
    if emit_dels:
        processor._insert_var_dels(extend_lifetimes=extend_lifetimes)  # noqa: SLF001 - as numba's own
