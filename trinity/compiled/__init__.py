"""The decorators of compiled code, and where its machine code lies.

Rules: every compiled function is bounds-checked (an index error raises, it never corrupts memory) and releases
the interpreter lock. `NUMBA_DISABLE_JIT=1` turns all of them into plain Python, for hypothesis and the coverage tool.
A `compiled` function makes no arrays: its caller owns all memory. So numba counts no references, which cost three
quarters of an answer's time (text lookup: 970 ns with, 270 ns without). Only a tool that cannot be given its memory is
`compiled_allocating`.

A function that Python calls is a root: it becomes machine code together with everything that it calls (`whole.py`), is
written to a file whose name says all that it depends on (`fingerprint.py`, `store.py`), and is looked for there first:
among the files that came with the package, then in `data_dir/compiled`. So `prepare_cache` must run before the first
root is called.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

# Where a wheel or an image brings machine code; `trinity compile --out` fills it, and a checkout has none.
SHIPPED = Path(__file__).parent / "shipped"

# Where machine code is looked for, and the one of them that it is written to: none before `prepare_cache`.
_read: list[Path] = [SHIPPED]
_written: list[Path] = []


def jit_enabled() -> bool:
    """Whether compiled functions are machine code (False under NUMBA_DISABLE_JIT=1)."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def compiled(function: F) -> F:
    """Compile `function` with bounds checks and without the interpreter lock; it makes no arrays."""
    return _dispatcher(function, forceinline=False, allocates=False)


def compiled_inline(function: F) -> F:
    """As `compiled`, but woven into its caller: for the steps of a hot path with one caller each.

    Parsing and answering a request took 440 ns with calls in between and takes 150 ns without.
    """
    return _dispatcher(function, forceinline=True, allocates=False)


def compiled_allocating(function: F) -> F:
    """As `compiled`, but the function may make arrays and pays for counting references to them."""
    return _dispatcher(function, forceinline=False, allocates=True)


def _dispatcher(function: F, *, forceinline: bool, allocates: bool) -> F:
    if not jit_enabled():
        return function
    from trinity.compiled.whole import dispatcher

    return dispatcher(function, forceinline, allocates)  # type: ignore[no-any-return]


def refer_to(context: T) -> T:
    """A context (a named tuple of arrays) as a root takes it that shall get one pointer, not hundreds of values.

    Uncompiled it is the context itself.
    """
    if not jit_enabled():
        return context
    from trinity.compiled.reference import Referred

    return Referred(context)  # type: ignore[arg-type, return-value]


def compile_for(function: Callable[..., Any], *examples: Any) -> None:
    """Compile a function for arguments of these types, or load its machine code, without calling it."""
    if jit_enabled():
        function.compile(_types_of(examples))  # type: ignore[attr-defined]


def has_code_for(function: Callable[..., Any], *examples: Any) -> bool:
    """Whether there is machine code of a function for arguments of these types; uncompiled it needs none."""
    return not jit_enabled() or function.stored.has(_types_of(examples))  # type: ignore[attr-defined]


def _types_of(examples: tuple[Any, ...]) -> tuple[Any, ...]:
    from numba import typeof

    return tuple(typeof(example) for example in examples)


def prepare_cache(data_dir: Path) -> Path:
    """Keep machine code in `data_dir/compiled`, and return that folder.

    Also keeps numpy to one thread: a process that is to fork must have no other threads, and importing numpy
    starts one per core for OpenBLAS.
    """
    folder = data_dir / "compiled"
    _use(folder, SHIPPED, folder)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return folder


def write_cache_to(folder: Path) -> None:
    """Keep machine code in this folder, and look for it nowhere else: what is to be shipped must all be in it."""
    _use(folder, folder)


def cache_folders() -> tuple[Path, ...]:
    """Where machine code is looked for, in this order."""
    return tuple(_read)


def written_folder() -> Path | None:
    """Where new machine code is written to; None where nobody has said so."""
    return _written[0] if _written else None


def _use(written: Path, *read: Path) -> None:
    written.mkdir(parents=True, exist_ok=True)
    _read[:], _written[:] = read, [written]
