"""Machine code on disk: one file for each root and combination of argument types, named by what it depends on.

    <module>.<function>-<fingerprint>.code    the digest of what follows (32 bytes), numba's own serialised result

So a file is right or is not there: no stamps, no index, nothing to be told when a source changes, and a folder of such
files may be carried to another machine. A file that is cut short or damaged is as good as none; it is written again.

Rules: a file is written whole or not at all. What these folders hold is executed, so they are trusted like the package
itself: the one comes with it, the other is its user's alone, as the whole data directory. Must not know who asks.
"""

import hashlib
import pickle
from pathlib import Path
from typing import Any

from numba.core import compiler, sigutils
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps

from trinity.compiled import cache_folders, written_folder
from trinity.compiled.fingerprint import fingerprint_of
from trinity.files import Durability, write_whole

_DIGEST_BYTES = 32
# As numba pickles a result: the rebuilt one needs what these name, and nothing else is ever made.
_SUFFIX = ".code"


class RootStore(NullCache):  # type: ignore[misc]
    """The files of one root, as the cache that numba asks before it compiles and tells when it has."""

    def __init__(self, root: Dispatcher) -> None:
        self._root = root

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for this signature, or None."""
        target_context.refresh()
        name = self.name_of(sig)
        for folder in cache_folders():
            content = _read(folder / name)
            if content is not None:
                return compiler.CompileResult._rebuild(target_context, *pickle.loads(content))  # noqa: S301, SLF001
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled; OSError when there is no room for it."""
        if data.library.has_dynamic_globals:
            raise TypeError(f"{self._root.py_func.__qualname__} holds an address of this process: it cannot be kept")
        folder = written_folder()
        if folder is None:
            return
        content = dumps(data._replace(type_annotation=None)._reduce())  # noqa: SLF001
        digest = hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
        write_whole(folder / self.name_of(sig), (digest, content), Durability.RENAMED)

    def has(self, sig: Any) -> bool:
        """Whether there is a file, good or not."""
        return any((folder / self.name_of(sig)).exists() for folder in cache_folders())

    def name_of(self, sig: Any) -> str:
        """The file's name."""
        function = self._root.py_func
        args, _ = sigutils.normalize_signature(sig)
        cpu = self._root.targetctx.codegen().magic_tuple()
        return f"{function.__module__}.{function.__qualname__}-{fingerprint_of(self._root, args, cpu)}{_SUFFIX}"


def _read(path: Path) -> bytes | None:
    """What the file holds behind its digest; None when it is not there or damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    return content if hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() == digest else None
