"""The one decorator of compiled code, and where its cache lies.

Rules: every compiled function is bounds-checked (an index error raises, it never corrupts memory), releases
the interpreter lock and is cached on disk. `NUMBA_DISABLE_JIT=1` turns all of them into plain Python, for
hypothesis and the coverage tool. A `compiled` function makes no arrays: its caller owns all memory. So numba counts
no references, which cost three quarters of an answer's time (text lookup: 970 ns with, 270 ns without). Only a tool
that cannot be given its memory is `compiled_allocating`.

numba's cache looks only at the file of each function, not at the files of the functions it calls, so a change
in one module could leave stale machine code in another. The cache folder's name therefore holds a hash of every
source that compiled code may come from: `prepare_cache` must run before the first compiled module is imported.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# The only sources that compiled functions may lie in, and whose constants they may use.
COMPILED_SOURCES = (
    "trinity/clock.py",
    "trinity/compiled.py",
    "trinity/limits.py",
    "trinity/linux.py",
    "trinity/vocabulary.py",
    "trinity/observe/metrics.py",
    "trinity/memory/*.py",
    "trinity/native/*.py",
    "trinity/access/gate.py",
    "trinity/access/limit_headers.py",
    "feeds/consensus/*.py",
    "workers/request/**/*.py",
    "benchmarks/*.py",
)


def jit_enabled() -> bool:
    """Whether compiled functions are machine code (False under NUMBA_DISABLE_JIT=1)."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def compiled(function: F) -> F:
    """Compile `function` with bounds checks, without the interpreter lock, cached on disk; it makes no arrays."""
    import numba

    jitted: F = numba.njit(nogil=True, boundscheck=True, cache=True, _nrt=False)(function)
    return _without_literals(jitted)


def compiled_inline(function: F) -> F:
    """As `compiled`, but woven into its caller: for the steps of a hot path with one caller each.

    Parsing and answering a request took 440 ns with calls in between and takes 150 ns without.
    """
    import numba

    jitted: F = numba.njit(nogil=True, boundscheck=True, cache=True, forceinline=True, _nrt=False)(function)
    return _without_literals(jitted)


def compiled_allocating(function: F) -> F:
    """As `compiled`, but the function may make arrays and pays for counting references to them."""
    import numba

    jitted: F = numba.njit(nogil=True, boundscheck=True, cache=True, _nrt=True)(function)
    return _without_literals(jitted)


def compile_for(function: Callable[..., Any], *examples: object) -> None:
    """Compile a compiled function for arguments of these types, or load it from the cache, without calling it."""
    from numba import typeof

    function.compile(tuple(typeof(example) for example in examples))  # type: ignore[attr-defined]


def _without_literals(jitted: F) -> F:
    """Keep numba from compiling a callee anew for each constant that it is called with (half of the compile time)."""
    if not jit_enabled():
        return jitted
    from numba.core.types.misc import unliteral

    template_of: Callable[..., Any] = jitted.get_call_template  # type: ignore[attr-defined]

    def template_of_plain(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return template_of(tuple(unliteral(arg) for arg in args), {name: unliteral(arg) for name, arg in kws.items()})

    jitted.get_call_template = template_of_plain  # type: ignore[attr-defined]
    return jitted


def prepare_cache(data_dir: Path) -> Path:
    """Point numba at `data_dir/compiled/<hash of the sources>` and return that folder.

    Also keeps numpy to one thread: a process that is to fork must have no other threads, and importing numpy
    starts one per core for OpenBLAS.
    """
    folder = data_dir / "compiled" / _sources_hash()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return folder


def _sources_hash() -> str:
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.blake2b(digest_size=8)
    for pattern in COMPILED_SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
