"""Atomic operations on aligned 64-bit words of shared memory.

Rules: an index out of range raises IndexError; nothing here spins. Compiled, each function is one LLVM
instruction (so x86 and ARM both get the order they need); under NUMBA_DISABLE_JIT=1 each is its plain Python
twin, which has no ordering of its own and is meant for single-process tests.

    load_acquire   later reads cannot move before it
    store_release  earlier writes cannot move after it
    fence          nothing moves across it, either way
    read_fence     reads do not move across it; costs nothing on x86, a full fence some 50 ns
    copy_words     no atomic: many words at once, at the speed of memcpy, checked once

`signed` and `unsigned` say which of the two a number is: compiled code makes a float of a mixture.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled, compiled_inline, jit_enabled

Words = NDArray[np.uint64]


def _word_intrinsics() -> tuple[Any, ...]:
    """The LLVM instructions as numba intrinsics; none checks its index, the functions below do."""
    return *_ordering_intrinsics(), *_changing_intrinsics()


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The address of the word that the first two arguments, array and index, name."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


def _ordering_intrinsics() -> tuple[Any, Any, Any, Any]:
    from numba import types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def load(_context: Any, words: Any, index: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load_atomic(_pointer(context, builder, signature, args), "acquire", 8)

        return types.uint64(words, types.intp), emit

    @intrinsic  # type: ignore[untyped-decorator]
    def store(_context: Any, words: Any, index: Any, value: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store_atomic(args[2], _pointer(context, builder, signature, args), "release", 8)
            return context.get_dummy_value()

        return types.void(words, types.intp, types.uint64), emit

    @intrinsic  # type: ignore[untyped-decorator]
    def barrier(_context: Any) -> Any:
        def emit(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            builder.fence("seq_cst")
            return context.get_dummy_value()

        return types.void(), emit

    @intrinsic  # type: ignore[untyped-decorator]
    def read_barrier(_context: Any) -> Any:
        def emit(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            builder.fence("acquire")
            return context.get_dummy_value()

        return types.void(), emit

    return load, store, barrier, read_barrier


def _changing_intrinsics() -> tuple[Any, Any]:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def swap(_context: Any, words: Any, index: Any, expected: Any, desired: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = _pointer(context, builder, signature, args)
            pair = builder.cmpxchg(word, args[2], args[3], "acq_rel", "acquire")
            return builder.extract_value(pair, 1)

        return types.boolean(words, types.intp, types.uint64, types.uint64), emit

    @intrinsic  # type: ignore[untyped-decorator]
    def copy(_context: Any, words: Any, start: Any, value: Any, count: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source = _pointer(context, builder, signature, args)
            target = context.make_array(signature.args[2])(context, builder, args[2]).data
            size = builder.mul(args[3], ir.Constant(args[3].type, 8))
            memcpy = builder.module.declare_intrinsic("llvm.memcpy", [target.type, source.type, size.type])
            builder.call(memcpy, [target, source, size, ir.Constant(ir.IntType(1), 0)])
            return context.get_dummy_value()

        return types.void(words, types.intp, value, types.intp), emit

    return swap, copy


def _plain_twins() -> tuple[Callable[..., Any], ...]:
    """The same in plain Python, for NUMBA_DISABLE_JIT=1."""

    def load(words: Words, index: int) -> np.uint64:
        return np.uint64(words[index])

    def store(words: Words, index: int, value: int) -> None:
        words[index] = value

    def barrier() -> None:
        return None

    def swap(words: Words, index: int, expected: int, desired: int) -> bool:
        if words[index] != expected:
            return False
        words[index] = desired
        return True

    def copy(words: Words, start: int, value: Words, count: int) -> None:
        value[:count] = words[start : start + count]

    return load, store, barrier, barrier, swap, copy


_load, _store, _barrier, _read_barrier, _swap, _copy = _word_intrinsics() if jit_enabled() else _plain_twins()


@compiled
def _check(words: Words, index: int) -> None:
    if index < 0 or index >= words.size:
        raise IndexError("atomic word out of range")


@compiled
def load_acquire(words: Words, index: int) -> int:
    """Read `words[index]`; later reads stay behind it."""
    _check(words, index)
    return _load(words, index)  # type: ignore[no-any-return]


@compiled
def store_release(words: Words, index: int, value: int) -> None:
    """Write `words[index]`; earlier writes stay before it."""
    _check(words, index)
    _store(words, index, np.uint64(value))


@compiled
def fence() -> None:
    """A full barrier: no read or write crosses it."""
    _barrier()


@compiled
def read_fence() -> None:
    """No read before it moves behind a read after it (C11 acquire fence)."""
    _read_barrier()


@compiled
def compare_and_swap(words: Words, index: int, expected: int, desired: int) -> bool:
    """Replace `expected` by `desired`; False when the word held something else."""
    _check(words, index)
    return _swap(words, index, np.uint64(expected), np.uint64(desired))  # type: ignore[no-any-return]


@compiled
def copy_words(words: Words, start: int, value: Words, count: int) -> None:
    """Copy `words[start : start + count]` to the start of `value`, another array."""
    if start < 0 or count < 0 or start > words.size - count or count > value.size:
        raise IndexError("words out of range")
    _copy(words, start, value, count)


@compiled_inline
def signed(number: Any) -> int:
    """A number below 2**63 as an int64."""
    return np.int64(number)  # type: ignore[return-value]


@compiled_inline
def unsigned(number: Any) -> int:
    """A number that is not negative as a uint64."""
    return np.uint64(number)  # type: ignore[return-value]
