"""Bytes in compiled code: copy, append, render and read numbers; what every protocol of the workers stands on.

Rules: `out` is a byte array, `at` the position of the next byte; every `append_*` returns the position behind what
it wrote. A range outside an array raises IndexError, checked once per copy instead of once per byte. Numbers that
cannot be read give BAD_NUMBER; nothing here raises for what a client sent.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled, jit_enabled

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]

BAD_NUMBER = -1
NOT_FOUND = -1
# 18 digits always fit a signed 64-bit integer.
DIGITS_MAX = 18
WORD_BYTES = 8

_ZERO, _NINE, _POINT, _MINUS, _PERCENT = b"09.-%"
_UPPER_A, _UPPER_Z = b"AZ"
_LOWER_A = ord("a")
_CASE_BIT = 0x20
# Of eight bytes at once: what a byte from 0x20 on plus 0x60 has, and one below has not, is its highest bit.
_LOW_BITS, _HIGH_BITS = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
_ABOVE, _NONE = np.uint64(0x6060606060606060), np.uint64(0)


def octets_of(text: bytes) -> Octets:
    """A constant for compiled code: its own, writable copy, so that all byte arrays have one compiled type."""
    return np.frombuffer(text, dtype=np.uint8).copy()


def pack_texts(texts: Sequence[bytes]) -> tuple[Octets, Integers]:
    """Several constants in one array, and where each begins; text i ends where text i + 1 begins."""
    bounds = np.cumsum([0, *(len(text) for text in texts)], dtype=np.int64)
    return octets_of(b"".join(texts)), bounds


def _move_intrinsic() -> Callable[..., Any]:
    """LLVM's memmove between two byte arrays; it checks nothing, `append_slice` does."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def move(_context: Any, out: Any, at: Any, source: Any, start: Any, length: Any) -> Any:  # noqa: ARG001 - the types
        def pointer(context: Any, builder: Any, signature: Any, args: Any, position: int) -> Any:
            array = context.make_array(signature.args[position])(context, builder, args[position])
            return builder.gep(array.data, [args[position + 1]])

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            target = pointer(context, builder, signature, args, 0)
            origin = pointer(context, builder, signature, args, 2)
            memmove = builder.module.declare_intrinsic("llvm.memmove", [target.type, origin.type, args[4].type])
            builder.call(memmove, [target, origin, args[4], ir.Constant(ir.IntType(1), 0)])
            return context.get_dummy_value()

        return types.void(out, types.intp, source, types.intp, types.intp), emit

    return move  # type: ignore[no-any-return]


def _move_plainly(out: Octets, at: int, source: Octets, start: int, length: int) -> None:
    out[at : at + length] = source[start : start + length].copy()


_move = _move_intrinsic() if jit_enabled() else _move_plainly


def _word_intrinsic() -> Callable[..., Any]:
    """Eight bytes of an array in one load, wherever they begin; it checks nothing, `has_control` does."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def word(_context: Any, source: Any, at: Any) -> Any:  # noqa: ARG001 - the types
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, args[0])
            place = builder.bitcast(builder.gep(array.data, [args[1]]), ir.IntType(64).as_pointer())
            return builder.load(place, align=1)

        return types.uint64(source, types.intp), emit

    return word  # type: ignore[no-any-return]


def _word_plainly(source: Octets, at: int) -> np.uint64:
    return source[at : at + WORD_BYTES].view("<u8")[0]  # type: ignore[no-any-return]


_word = _word_intrinsic() if jit_enabled() else _word_plainly


@compiled
def byte_at(source: Octets, position: int) -> int:
    """One byte as a signed integer: numba makes a float of uint8 and int64 in some expressions, numpy wraps around.

    A negative position is out of range; the unsigned index spares the code that would count it from the end.
    """
    return np.int64(source[np.uint64(position)])  # type: ignore[return-value]


@compiled
def has_control(source: Octets, at: int) -> bool:
    """Whether one of the eight bytes from here is a control character (under 0x20), all of them in five operations."""
    if at < 0 or at > source.size - WORD_BYTES:
        raise IndexError("word out of range")
    word = _word(source, at)
    return bool(~((word & _LOW_BITS) + _ABOVE | word) & _HIGH_BITS != _NONE)


@compiled
def append_slice(source: Octets, start: int, length: int, out: Octets, at: int) -> int:
    """Copy `length` bytes from `source[start:]` to `out[at:]`; they may overlap."""
    if length < 0 or start < 0 or at < 0 or start > source.size - length or at > out.size - length:
        raise IndexError("copy out of range")
    _move(out, at, source, start, length)
    return at + length


@compiled
def append_octets(source: Octets, out: Octets, at: int) -> int:
    """Copy all of `source`."""
    return append_slice(source, 0, source.size, out, at)


@compiled
def append_packed(texts: Octets, bounds: Integers, which: int, out: Octets, at: int) -> int:
    """Copy one text of those that `pack_texts` made."""
    return append_slice(texts, bounds[which], bounds[which + 1] - bounds[which], out, at)


@compiled
def append_byte(byte: int, out: Octets, at: int) -> int:
    out[at] = byte
    return at + 1


@compiled
def append_integer(value: int, out: Octets, at: int) -> int:
    """Plain decimal digits; a minus sign for negative values."""
    if value < 0:
        out[at] = _MINUS
        at += 1
        value = -value
    digits = 1
    rest = value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    for i in range(digits):
        out[at + digits - 1 - i] = _ZERO + value % 10
        value //= 10
    return at + digits


@compiled
def append_decimal(mantissa: int, places: int, out: Octets, at: int) -> int:
    """`mantissa` * 10**-places (both >= 0) in plain digits: no exponent, no trailing zeros behind the point."""
    while places > 0 and mantissa % 10 == 0:
        mantissa //= 10
        places -= 1
    if places == 0:
        return append_integer(mantissa, out, at)
    digits, rest = places + 1, mantissa  # at least a zero before the point
    for _ in range(places + 1):
        rest //= 10
    while rest > 0:
        digits += 1
        rest //= 10
    end = at + digits + 1
    for i in range(digits):
        place = end - 1 - i - (1 if i >= places else 0)
        out[place] = _ZERO + mantissa % 10
        mantissa //= 10
    out[end - 1 - places] = _POINT
    return end


@compiled
def parse_integer(source: Octets, start: int, end: int) -> int:
    """1 to 18 decimal digits and nothing else; BAD_NUMBER otherwise."""
    if end <= start or end - start > DIGITS_MAX:
        return BAD_NUMBER
    value = 0
    for i in range(start, end):
        byte = byte_at(source, i)
        if byte < _ZERO or byte > _NINE:
            return BAD_NUMBER
        value = value * 10 + (byte - _ZERO)
    return value


@compiled
def parse_decimal(source: Octets, start: int, end: int, places: int) -> int:
    """Plain digits with an optional fraction of at most `places` digits, as an integer of 10**-places.

    `12`, `12.5` and `0.125` are numbers; `.5`, `5.`, signs and exponents are BAD_NUMBER.
    """
    point = start
    while point < end and source[point] != _POINT:
        point += 1
    decimals = max(0, end - point - 1)
    if point < end and (decimals == 0 or decimals > places):
        return BAD_NUMBER
    if point - start + places > DIGITS_MAX:
        return BAD_NUMBER
    value = parse_integer(source, start, point)
    fraction = parse_integer(source, point + 1, end) if decimals > 0 else 0
    if value == BAD_NUMBER or fraction == BAD_NUMBER:
        return BAD_NUMBER
    for _ in range(decimals):
        value *= 10
    value += fraction
    for _ in range(places - decimals):
        value *= 10
    return value


@compiled
def folded(byte: int) -> int:
    """An ASCII letter in lower case, any other byte as it is."""
    if _UPPER_A <= byte <= _UPPER_Z:
        return byte | _CASE_BIT
    return byte


@compiled
def find_text(texts: Octets, bounds: Integers, source: Octets, start: int, end: int) -> int:
    """Which of the packed texts `source[start:end]` is, byte by byte; NOT_FOUND when none."""
    for which in range(bounds.size - 1):
        if bounds[which + 1] - bounds[which] == end - start:
            shift = bounds[which] - start
            i = start
            while i < end and byte_at(texts, shift + i) == byte_at(source, i):
                i += 1
            if i == end:
                return which
    return NOT_FOUND


@compiled
def find_folded(texts: Octets, bounds: Integers, source: Octets, start: int, end: int) -> int:
    """As `find_text`, without regard to case; the packed texts must be in lower case."""
    for which in range(bounds.size - 1):
        if bounds[which + 1] - bounds[which] == end - start:
            shift = bounds[which] - start
            i = start
            while i < end and byte_at(texts, shift + i) == folded(byte_at(source, i)):
                i += 1
            if i == end:
                return which
    return NOT_FOUND


@compiled
def starts_with_folded(texts: Octets, bounds: Integers, which: int, source: Octets, start: int, end: int) -> bool:
    """Whether `source[start:end]` begins with the packed text `which` (in lower case), without regard to case."""
    length = bounds[which + 1] - bounds[which]
    if end - start < length:
        return False
    for i in range(length):  # noqa: SIM110 - a generator expression does not compile
        if folded(byte_at(source, start + i)) != byte_at(texts, bounds[which] + i):
            return False
    return True


@compiled
def unquote(buffer: Octets, start: int, end: int) -> int:
    """Undo percent-encoding in place (RFC 3986, 2.1): the new end, NOT_FOUND for a `%` without two hex digits."""
    at = start
    while at < end and byte_at(buffer, at) != _PERCENT:
        at += 1
    out = at
    while at < end:
        byte = byte_at(buffer, at)
        if byte == _PERCENT:
            if at + 3 > end:
                return NOT_FOUND
            high, low = _hex_value(byte_at(buffer, at + 1)), _hex_value(byte_at(buffer, at + 2))
            if high < 0 or low < 0:
                return NOT_FOUND
            byte = high << 4 | low
            at += 2
        buffer[out] = byte
        out += 1
        at += 1
    return out


@compiled
def _hex_value(byte: int) -> int:
    """0 to 15, -1 for a byte that is no hex digit."""
    if _ZERO <= byte <= _NINE:
        return byte - _ZERO
    letter = folded(byte) - _LOWER_A
    return letter + 10 if 0 <= letter < 6 else -1
