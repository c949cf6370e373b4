"""A strict walk over the JSON of a frequent frame, compiled: does it have the form that was expected, and where?

A form is a table of rows: what stands under which key, from the root down. `walk` takes a frame only when all of it is
JSON by the grammar (RFC 8259), in ASCII without escapes and spaces, and each key that the form names stands there once,
with the kind of value that it has in the form; other keys may have any value. A list of the form has one element.

Rules: pure; allocates nothing, keeps nothing. It understands less than the exchange's decoder on purpose: whatever it
does not take is read there. The form must name every key that the decoder reads, so that none of them is passed over.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled
from trinity.native.octets import Integers, Octets, byte_at, pack_texts

# What a row is, beside the roles: those values are for whoever reads the frame, as spans of its bytes.
OBJECT, LIST, CONSTANT = range(3)
LEAVE = 3  # a key with which the frame is another one
ANY = 4  # a plain value that may be there and says nothing
ROLES_FROM = 5

_ROWS_MAX = 40
_TEXTS_MAX = 512
_SHAPES_MAX = 4
FORM_DTYPE = np.dtype(
    [
        ("kind", np.int64, _ROWS_MAX),
        ("first", np.int64, _ROWS_MAX),  # the rows inside of a row are first to last - 1
        ("last", np.int64, _ROWS_MAX),
        ("bounds", np.int64, 2 * _ROWS_MAX + 1),  # texts of the keys, then of the constants
        ("texts", np.uint8, _TEXTS_MAX),
        ("may", np.int64),  # bits of the rows that may be there
        ("shapes", np.int64, _SHAPES_MAX),  # bits of the rows that are there, else; 0 for no shape
    ],
    align=True,
)

# Containers around a value, a byte each in one number: the row + 1 (0: none of the form) and whether it is an object.
_DEPTH_MAX = 7
_CONTAINER_BITS = 8
_ROW_BITS = 0x7F
_NO_ROW = -1
_END = -1
WRONG = -1

_QUOTE, _BACKSLASH, _COMMA, _COLON, _OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = b'"\\,:{}[]'
_MINUS, _ZERO, _NINE = b"-09"
_NAMES, _NAME_BOUNDS = pack_texts([b"true", b"false", b"null"])
_ASCII_END = 0x80
_PLAIN_FROM = 0x20


def _number_states() -> NDArray[np.int64]:
    """Which state of a number (RFC 8259, 6) follows which by the next byte; 0 where none does."""
    digits, states = b"0123456789", np.zeros((10, 256), dtype=np.int64)
    minus, point, exponent, sign, zero, whole, fraction, power = range(_NUMBER_BEGINS + 1, 10)
    for befores, characters, following in (
        ((_NUMBER_BEGINS,), b"-", minus),
        ((_NUMBER_BEGINS, minus), b"0", zero),
        ((_NUMBER_BEGINS, minus), digits[1:], whole),
        ((whole,), digits, whole),
        ((zero, whole), b".", point),
        ((point, fraction), digits, fraction),
        ((zero, whole, fraction), b"eE", exponent),
        ((exponent,), b"+-", sign),
        ((exponent, sign, power), digits, power),
    ):
        states[np.ix_(befores, list(characters))] = following
    return states


_NO_NUMBER, _NUMBER_BEGINS = 0, 1
_NUMBER_MAY_END = 6  # in this state and those behind it: after a digit
_NUMBER = _number_states()


def make_form(form: Mapping[str, Any], *shapes: tuple[int, ...]) -> np.void:
    """The table of a frame that is written as it looks: {"channel": b'"ticker"', "data": [{"bid": BID, ...}], ...}.

    Bytes are a constant, a number is a role, or LEAVE, or ANY. A shape says which of the roles a frame has together;
    without any it has all of them.
    """
    record: np.void = np.zeros(1, dtype=FORM_DTYPE)[0]
    rows: list[tuple[str, Any]] = [("", form)]
    for number, (_, value) in enumerate(rows):  # grows while it is read: what is inside of a row stands together
        inside = list(value.items()) if isinstance(value, Mapping) else [("", value[0])] if _is_list(value) else []
        record["first"][number], record["last"][number] = len(rows), len(rows) + len(inside)
        record["kind"][number] = _kind_of(value)
        rows += inside
    kinds = record["kind"][: len(rows)].tolist()
    keys = [key.encode() for key, _ in rows] + [b""] * (_ROWS_MAX - len(rows))
    texts, bounds = pack_texts(keys + [value if isinstance(value, bytes) else b"" for _, value in rows])
    record["bounds"] = bounds[-1]
    record["texts"][: texts.size], record["bounds"][: bounds.size] = texts, bounds
    record["may"] = sum(1 << number for number, kind in enumerate(kinds) if kind == ANY)
    roles = {kind for kind in kinds if kind >= ROLES_FROM}
    for i, shape in enumerate(shapes or (tuple(roles),)):
        there = {OBJECT, LIST, CONSTANT, *shape}
        record["shapes"][i] = sum(1 << number for number, kind in enumerate(kinds) if kind in there)
    return record


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _kind_of(value: Any) -> int:
    if isinstance(value, Mapping):
        return OBJECT
    if isinstance(value, int):
        return value
    return LIST if _is_list(value) else CONSTANT


@compiled
def walk(octets: Octets, start: int, end: int, form: np.void, spans: Integers) -> bool:
    """Whether octets[start:end] is a frame of the form; `spans` has where each role's value begins and ends."""
    at, row, path, seen = start, 0, 0, 1
    while True:
        byte = _peek(octets, at, end)
        is_object = byte == _OPEN
        if is_object or byte == _OPEN_LIST:
            kind = OBJECT if is_object else LIST
            if (row != _NO_ROW and form["kind"][row] != kind) or path >> _CONTAINER_BITS * (_DEPTH_MAX - 1) != 0:
                return False
            path = path << _CONTAINER_BITS | (row + 1) << 1 | (1 if is_object else 0)
            at += 1
            is_behind = _peek(octets, at, end) == (_CLOSE if is_object else _CLOSE_LIST)  # it is empty
        else:
            behind = _behind_plain(octets, at, end)
            if behind == WRONG or not _take_plain(octets, at, behind, form, row, spans):
                return False
            at, is_behind = behind, True
        while is_behind:  # a value: what ends with it, until another follows
            if path == 0:
                return at == end and _has_shape(form, seen)
            byte = _peek(octets, at, end)
            at += 1
            if byte == _COMMA:
                break
            if byte != (_CLOSE if path & 1 else _CLOSE_LIST):
                return False
            path >>= _CONTAINER_BITS
        around = (path >> 1 & _ROW_BITS) - 1
        row = form["first"][around] if around != _NO_ROW else _NO_ROW
        if path & 1:
            behind = _behind_string(octets, at, end)
            if behind == WRONG or _peek(octets, behind, end) != _COLON:
                return False
            row = _row_of(octets, at + 1, behind - 1, form, around)
            at = behind + 1
        if row != _NO_ROW:
            if seen >> row & 1:
                return False  # a key twice, or a list of the form with two elements
            seen |= 1 << row


@compiled
def _has_shape(form: np.void, seen: int) -> bool:
    for i in range(_SHAPES_MAX):  # noqa: SIM110 - a generator expression does not compile
        if seen & ~form["may"] == form["shapes"][i]:
            return True
    return False


@compiled
def _row_of(octets: Octets, start: int, end: int, form: np.void, around: int) -> int:
    """The row of a key inside of another row."""
    if around != _NO_ROW:
        for row in range(form["first"][around], form["last"][around]):
            if _is_text(octets, start, end, form["texts"], form["bounds"], row):
                return row
    return _NO_ROW


@compiled
def _is_text(octets: Octets, start: int, end: int, texts: Octets, bounds: Integers, which: int) -> bool:
    if bounds[which + 1] - bounds[which] != end - start:
        return False
    for i in range(end - start):  # noqa: SIM110 - as above
        if byte_at(octets, start + i) != byte_at(texts, bounds[which] + i):
            return False
    return True


@compiled
def _take_plain(octets: Octets, start: int, end: int, form: np.void, row: int, spans: Integers) -> bool:
    """Whether a string, a number or a name may stand in this row."""
    if row == _NO_ROW:
        return True
    kind = form["kind"][row]
    if kind == CONSTANT:
        return _is_text(octets, start, end, form["texts"], form["bounds"], _ROWS_MAX + row)
    if kind >= ROLES_FROM:
        spans[2 * kind], spans[2 * kind + 1] = start, end
    return bool(kind >= ANY)


@compiled
def _peek(octets: Octets, at: int, end: int) -> int:
    return byte_at(octets, at) if at < end else _END


@compiled
def _behind_plain(octets: Octets, at: int, end: int) -> int:
    """Behind the string, number or name that begins here."""
    byte = _peek(octets, at, end)
    if byte == _QUOTE:
        return _behind_string(octets, at, end)
    if byte == _MINUS or _ZERO <= byte <= _NINE:
        return _behind_number(octets, at, end)
    for which in range(_NAME_BOUNDS.size - 1):
        behind: int = at + _NAME_BOUNDS[which + 1] - _NAME_BOUNDS[which]
        if behind <= end and _is_text(octets, at, behind, _NAMES, _NAME_BOUNDS, which):
            return behind
    return WRONG


@compiled
def _behind_string(octets: Octets, at: int, end: int) -> int:
    if _peek(octets, at, end) != _QUOTE:
        return WRONG
    for i in range(at + 1, end):
        byte = byte_at(octets, i)
        if byte == _QUOTE:
            return i + 1
        if byte < _PLAIN_FROM or byte >= _ASCII_END or byte == _BACKSLASH:
            return WRONG
    return WRONG


@compiled
def _behind_number(octets: Octets, at: int, end: int) -> int:
    state = _NUMBER_BEGINS
    while at < end:
        following = _NUMBER[state, byte_at(octets, at)]
        if following == _NO_NUMBER:
            break
        state, at = following, at + 1
    return at if state >= _NUMBER_MAY_END else WRONG
