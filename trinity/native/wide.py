"""Signed integers of 128 bits in compiled code: exact products of two 64-bit numbers, their sums and comparisons.

    widen(number)            a 64-bit integer as a wide one
    a + b, a - b, a * b      wrap around at 2**127, as all compiled integers do: the caller knows the bounds
    a < b, a <= b, a == b    as usual
    narrow(a)                back to 64 bits; the caller knows that it fits
    join(high, low), high_half(a)    of and to two 64-bit words; the lower one counts as without a sign
    divide(a, b)             quotient and remainder of numbers that are not negative
    store_wide, load_wide    in an array of 64-bit words, two each

Rules: both operands are wide; nothing is converted by itself. Under NUMBA_DISABLE_JIT=1 a wide number is a plain
Python integer, so that the same code runs exactly there, and an overflow of the compiled twin shows as a difference.
LLVM has these operations for 128 bits but for the division, which it would look for in a library of the compiler.
"""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from trinity.compiled import compiled, jit_enabled

Integers = NDArray[np.int64]
Wide = Any  # a Python integer, or a number of the compiled type below

_WORD, _SIGN = 1 << 64, 1 << 63


def _make_compiled() -> tuple[Callable[..., Any], ...]:
    """The type, its operators, and `widen`, `narrow`, `halve`, `bit_length` as numba intrinsics."""
    from numba import types
    from numba.extending import intrinsic, models, overload, register_model

    class WideType(types.Type):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="Wide")

    wide = WideType()

    @register_model(WideType)
    class WideModel(models.PrimitiveModel):  # type: ignore[misc]
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, ir.IntType(128))

    # The operands' types are fixed by the signature, to which numba converts.
    def one(emit: Callable[..., Any], result: Any, argument: Any) -> Any:
        @intrinsic  # type: ignore[untyped-decorator]
        def operation(_context: Any, number: Any) -> Any:  # noqa: ARG001 - see above
            return result(argument), lambda _context, builder, _signature, args: emit(builder, args[0])

        return operation

    def two(emit: Callable[..., Any], result: Any, first: Any, second: Any) -> Any:
        @intrinsic  # type: ignore[untyped-decorator]
        def operation(_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001 - see above
            return result(first, second), lambda _context, builder, _signature, args: emit(builder, *args)

        return operation

    def offer(symbol: Any, operation: Any) -> None:
        @overload(symbol)
        def chosen(a, b):  # type: ignore[no-untyped-def]
            return (lambda a, b: operation(a, b)) if a is wide and b is wide else None

    for symbol, name in ((operator.add, "add"), (operator.sub, "sub"), (operator.mul, "mul")):
        emit = partial(lambda name, builder, a, b: getattr(builder, name)(a, b), name)
        offer(symbol, two(emit, wide, wide, wide))
    compared = {operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "=="}
    for symbol, sign in compared.items():
        emit = partial(lambda sign, builder, a, b: builder.icmp_signed(sign, a, b), sign)
        offer(symbol, two(emit, types.boolean, wide, wide))

    return (
        one(_emit_widen, wide, types.int64),
        one(_emit_narrow, types.int64, wide),
        two(_emit_shift, wide, wide, types.int64),
        one(_emit_halve, wide, wide),
        one(_emit_length, types.int64, wide),
        two(_emit_join, wide, types.int64, types.int64),
        one(_emit_high_half, types.int64, wide),
    )


def _emit_widen(builder: Any, number: Any) -> Any:
    return builder.sext(number, ir.IntType(128))


def _emit_narrow(builder: Any, number: Any) -> Any:
    return builder.trunc(number, ir.IntType(64))


def _emit_shift(builder: Any, number: Any, count: Any) -> Any:
    return builder.shl(number, builder.sext(count, ir.IntType(128)))


def _emit_halve(builder: Any, number: Any) -> Any:
    return builder.ashr(number, ir.Constant(ir.IntType(128), 1))


def _emit_length(builder: Any, number: Any) -> Any:
    zeros = builder.ctlz(number, ir.Constant(ir.IntType(1), 0))
    return builder.trunc(builder.sub(ir.Constant(ir.IntType(128), 128), zeros), ir.IntType(64))


def _emit_join(builder: Any, high: Any, low: Any) -> Any:
    upper = builder.shl(builder.sext(high, ir.IntType(128)), ir.Constant(ir.IntType(128), 64))
    return builder.or_(upper, builder.zext(low, ir.IntType(128)))


def _emit_high_half(builder: Any, number: Any) -> Any:
    return builder.trunc(builder.ashr(number, ir.Constant(ir.IntType(128), 64)), ir.IntType(64))


def _plain_twins() -> tuple[Callable[..., Any], ...]:
    """The same of Python's integers, which have no end."""

    def shift_left(number: int, count: int) -> int:
        return number << int(count)

    def halve(number: int) -> int:
        return number >> 1

    def low_half(number: int) -> int:
        return (number + _SIGN) % _WORD - _SIGN

    def join(high: int, low: int) -> int:
        return int(high) * _WORD + int(low) % _WORD

    def high_half(number: int) -> int:
        return number >> 64

    return int, low_half, shift_left, halve, int.bit_length, join, high_half


widen, narrow, shift_left, halve, bit_length, join, high_half = _make_compiled() if jit_enabled() else _plain_twins()


@compiled
def store_wide(numbers: Integers, position: int, value: Wide) -> None:
    """Keep a wide number in two words, at `position` of an array of such pairs."""
    numbers[2 * position] = narrow(value)
    numbers[2 * position + 1] = high_half(value)


@compiled
def load_wide(numbers: Integers, position: int) -> Wide:
    """What `store_wide` kept."""
    return join(numbers[2 * position + 1], numbers[2 * position])


@compiled
def divide(dividend: Wide, divisor: Wide) -> tuple[Wide, Wide]:
    """Quotient and remainder; `dividend` >= 0, `divisor` > 0. One step for each bit of the quotient."""
    quotient, rest = widen(0), dividend
    steps = bit_length(dividend) - bit_length(divisor) + 1
    if steps > 0:
        part = shift_left(divisor, steps - 1)
        for _ in range(steps):
            quotient = quotient + quotient
            if part <= rest:
                rest = rest - part
                quotient = quotient + widen(1)
            part = halve(part)
    return quotient, rest
