"""Compiled functions as pieces and wholes: what numba does once for each function is done once for each program.

numba optimises a function, makes machine code and wrappers for Python of it, and does all of that again inside of each
of its callers, up to the loop at the top. Here a function that compiled code calls is a `_Piece`: typed and lowered to
LLVM's language, once for each combination of argument types, and nothing more. A function that Python calls is a
root: the `_Whole` of it and all pieces that it reaches is linked, optimised and made machine code in one go. LLVM sees
the same program as before, with the advantage that it knows every caller of every piece.

Rules: a piece and a root of the same function are two things, so a function that Python and compiled code call is
typed twice at most. Constants do not make specialisations: a piece takes an `int`, never the `int` 3. Everything is
made for one CPU, which nearly every machine has, so that machine code may be carried to another machine. Imported only
where compiled functions are machine code; must not know any of them.
"""

import collections
import gc
import hashlib
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import compiler, ir, itanium_mangler, lowering, sigutils, typing
from numba.core.analysis import compute_cfg_from_blocks, compute_use_defs, must_use_alloca
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.environment import lookup_environment
from numba.core.typed_passes import NativeLowering
from numba.core.types.misc import unliteral

from trinity.compiled import cpu, quicker
from trinity.compiled.store import RootStore

cpu.use_baseline()
quicker.install()


def dispatcher(function: Callable[..., Any], forceinline: bool, allocates: bool) -> Any:
    """What Python calls for `function`: numba's dispatcher, as a root, which compiled code calls as a piece."""
    options = {"nogil": True, "boundscheck": True, "forceinline": forceinline, "_nrt": allocates}
    root = numba.njit(no_cfunc_wrapper=True, pipeline_class=_RootCompiler, **options)(function)
    pieces = _Pieces(root)
    root._cache = root.stored = RootStore(root)  # noqa: SLF001 - where `enable_caching` puts numba's own
    root.get_call_template, root.get_overload = pieces.get_call_template, pieces.get_overload
    return root


class _Pieces:
    """The pieces of one function, by argument types: how numba asks for what compiled code calls."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._made: dict[tuple[Any, ...], Any] = {}

    def get_call_template(self, args: tuple[Any, ...], kws: dict[str, Any]) -> tuple[Any, ...]:
        """Called while a caller is typed: numba's answer to which signatures there are."""
        named = {name: unliteral(arg) for name, arg in kws.items()}
        signature, folded = self._root.fold_argument_types(tuple(map(unliteral, args)), named)
        if folded not in self._made:
            self._made[folded] = self._make(folded)
        name = self._root.py_func.__name__
        signatures = [made.signature for made in self._made.values()]
        template = typing.make_concrete_template(f"CallTemplate({name})", key=name, signatures=signatures)
        return template, signature, folded, {}

    def get_overload(self, sig: Any) -> Any:
        """Called while a caller is lowered: the key that the piece of this signature is registered with."""
        args, _ = sigutils.normalize_signature(sig)
        return self._made[tuple(args)].library

    def _make(self, args: tuple[Any, ...]) -> Any:
        root, context = self._root, self._root.targetctx
        flags = compiler.Flags()
        root.targetdescr.options.parse_as_flags(flags, root.targetoptions)
        flags.no_cpython_wrapper = flags.no_compile = True
        with global_compiler_lock:
            piece = _Piece(context.codegen(), root.py_func.__qualname__)
            made = compiler.compile_extra(
                root.typingctx, context, root.py_func, args, None, flags, root.locals, piece, _Compiler
            )
            context.insert_user_function(piece, made.fndesc, [piece])
        return made


class _Unoptimised(JITCodeLibrary):  # type: ignore[misc]
    """A library of numba whose functions are not optimised one by one when they are added."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout  # noqa: SLF001 - as numba's own method does


class _Piece(_Unoptimised):
    """A function that only compiled code calls: no machine code of its own."""

    def finalize(self) -> None:
        """Nothing is to be done before it is linked into a whole."""
        self._finalized = True

    @property
    def module(self) -> Any:
        """Its code for LLVM."""
        return self._final_module

    @property
    def calls(self) -> list[Any]:
        """The libraries of the functions that it calls."""
        return self._linking_libraries  # type: ignore[no-any-return]


class _Whole(_Unoptimised):
    """A function that Python calls, with all pieces that it reaches."""

    def finalize(self) -> None:
        """Link everything, let LLVM know that nobody else calls the pieces, and make machine code."""
        reached = _reached(self._linking_libraries)
        pieces = [library for library in reached if isinstance(library, _Piece)]
        for piece in pieces:
            self._final_module.link_in(piece.module, preserve=True)
        for piece in pieces:
            for function in piece.module.functions:
                if not function.is_declaration:
                    self._final_module.get_function(function.name).linkage = "internal"
        self._linking_libraries: list[Any] = [library for library in reached if not isinstance(library, _Piece)]
        super().finalize()
        for variable in self._final_module.global_variables:
            environment = lookup_environment(variable.name)
            if environment is not None:
                self._codegen.set_env(variable.name, environment)

    def serialize_using_object_code(self) -> tuple[str, str, tuple[bytes, bytes]]:
        """The machine code, and in the place of its source, which nobody links again, the names that it defines."""
        names = [f.name for f in self._final_module.functions if not f.is_declaration and f.linkage.name == "external"]
        stub = "\n".join(f'define void @"{name}"() {{ unreachable }}' for name in names)
        return self.name, "object", (self._get_compiled_object(), llvm.parse_assembly(stub).as_bitcode())


def _reached(libraries: list[Any]) -> list[Any]:
    """These libraries and all that their pieces call, each once, callers first."""
    reached: dict[Any, None] = {}
    waiting = list(libraries)
    while waiting:
        library = waiting.pop()
        if library not in reached:
            reached[library] = None
            if isinstance(library, _Piece):
                waiting.extend(library.calls)
    return list(reached)


class _Lower(lowering.Lower):  # type: ignore[misc]
    """numba's lowering, without a place in memory for what never changes.

    numba keeps a variable that two blocks use in memory, contexts of 600 values among them, and LLVM takes each apart
    to get rid of that again: a fifth of all the time.
    """

    def _find_singly_assigned_variable(self) -> None:
        super()._find_singly_assigned_variable()
        if self.context.enable_nrt:
            return  # references are counted where a variable ends
        blocks = self.func_ir.blocks
        uses, assigned = compute_use_defs(blocks).usemap, collections.Counter[str]()
        made_in: dict[str, int] = {}
        for label, block in blocks.items():
            for assignment in block.find_insts(ir.Assign):
                assigned[assignment.target.name] += 1
                made_in[assignment.target.name] = label
        dominators = compute_cfg_from_blocks(blocks).dominators()
        for name in {name for name, count in assigned.items() if count == 1} - must_use_alloca(blocks):
            made = made_in[name]
            users = [label for label, used in uses.items() if name in used]
            if all(made < label and made in dominators[label] for label in users):
                self._singly_assigned_vars.add(name)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):  # type: ignore[misc]
    _name = "native_lowering_without_memory"
    lowering_class = _Lower

    def run_pass(self, state: Any) -> bool:
        """With short names for LLVM: numba writes all argument types into them, 8,000 letters a call."""
        state.targetctx.mangler = _short_name
        return super().run_pass(state)  # type: ignore[no-any-return]


def _short_name(name: str, types: tuple[Any, ...], *, abi_tags: tuple[str, ...] = (), uid: int | None = None) -> str:
    tag = hashlib.blake2b(str(types).encode(), digest_size=8).hexdigest()
    return itanium_mangler.mangle(name, (), abi_tags=(*abi_tags, tag), uid=uid)  # type: ignore[no-any-return]


class _Compiler(compiler.Compiler):  # type: ignore[misc]
    """numba's compiler with our lowering, and without the passes that our functions have no use for."""

    def __init__(
        self, typingctx: Any, targetctx: Any, library: Any, args: Any, result: Any, flags: Any, variables: Any
    ):
        super().__init__(typingctx, targetctx, library, args, result, quicker.Flags(flags), variables)

    def define_pipelines(self) -> list[Any]:
        """numba's passes, one of them exchanged."""
        (pipeline,) = super().define_pipelines()
        pipeline.passes = [
            (_Lowering if made is NativeLowering else made, text)
            for made, text in pipeline.passes
            if made.__name__ not in quicker.LEFT_OUT
        ]
        pipeline.finalize()
        return [pipeline]


class _RootCompiler(_Compiler):
    """The same, into a `_Whole`."""

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        """Compile a function that Python calls."""
        whole = _Whole(self.state.targetctx.codegen(), func.__qualname__)
        whole.enable_object_caching()
        self.state.library = whole
        collects = gc.isenabled()
        gc.disable()  # what is made here is many objects that stay: looking through them again and again took a fifth
        try:
            return super().compile_extra(func)
        finally:
            if collects:
                gc.enable()
