"""A context of many arrays handed to compiled code as one pointer, instead of as hundreds of values.

numba passes a named tuple by its parts: the request loop's has 578, which each call takes apart and each function puts
together again. That was 47,000 of 147,000 instructions before LLVM optimised them. Here the arrays' addresses and
sizes are written down once, in words of memory, and a function loads those that it uses.

    refer_to(context)     what a root is called with (trinity/compiled/__init__.py); nested named tuples included
    context.name          in compiled code: an array, a record or a number; of a nested named tuple a reference again

Rules: the words are never changed, so LLVM may keep what it loaded (`invariant.load`); what arrays hold may change as
ever. They are written outside of the program that reads them: a store that LLVM saw would contradict that. Contexts
hold one-dimensional and two-dimensional contiguous arrays, records, numbers of 64 bits, bools, and named tuples of
these. Must not know any compiled function.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.types.containers import BaseNamedTuple
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    register_model,
    typeof_impl,
    unbox,
)

_WORD = ir.IntType(64)


class Referred:
    """What Python hands over: the words, and the context itself, which keeps all memory alive.

    Whoever calls often keeps it: of the request loop, writing the words takes 0.4 ms and finding the type 2.5.
    """

    def __init__(self, context: tuple[Any, ...]) -> None:
        self.context = context
        self.kind: Reference | None = None  # known from the first call on
        self._words = np.array(_words_of(context), dtype=np.uint64)
        self.address = int(self._words.ctypes.data)


class Reference(types.Type):
    """The type of a reference to a named tuple of type `target`."""

    def __init__(self, target: BaseNamedTuple) -> None:
        self.target = target
        super().__init__(name=f"reference({target})")


@register_model(Reference)
class _ReferenceModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Reference) -> None:
        super().__init__(manager, kind, _layout_of(manager, kind.target).as_pointer())


def _layout_of(manager: Any, kind: Any) -> Any:
    """How a value stands in the words: as numba lays it out in memory, but a record by its address."""
    if isinstance(kind, BaseNamedTuple):
        return ir.LiteralStructType([_layout_of(manager, field) for field in kind.types])
    return manager.lookup(kind).get_value_type() if _is_record(kind) else manager.lookup(kind).get_data_type()


def _is_record(kind: Any) -> bool:
    return isinstance(kind, types.Record)


@typeof_impl.register(Referred)  # type: ignore[untyped-decorator]
def _type_of(value: Referred, context: Any) -> Reference:
    if value.kind is None:
        value.kind = Reference(typeof_impl(value.context, context))
    return value.kind


@unbox(Reference)  # type: ignore[untyped-decorator]
def _unbox(kind: Reference, value: Any, native: Any) -> NativeValue:
    attribute = native.pyapi.object_getattr_string(value, "address")
    address = native.pyapi.long_as_ulonglong(attribute)
    native.pyapi.decref(attribute)
    pointer = native.builder.inttoptr(address, native.context.get_value_type(kind))
    return NativeValue(pointer, is_error=cgutils.is_not_null(native.builder, native.pyapi.err_occurred()))


@infer_getattr
class _Attributes(AttributeTemplate):  # type: ignore[misc]
    key = Reference

    def generic_resolve(self, reference: Reference, name: str) -> Any:
        if name not in reference.target.fields:
            return None
        field = reference.target.types[reference.target.fields.index(name)]
        return Reference(field) if isinstance(field, BaseNamedTuple) else field


@lower_getattr_generic(Reference)  # type: ignore[untyped-decorator]
def _get_attribute(context: Any, builder: Any, kind: Reference, pointer: Any, name: str) -> Any:
    number = kind.target.fields.index(name)
    field, place = kind.target.types[number], cgutils.gep_inbounds(builder, pointer, 0, number)
    if isinstance(field, BaseNamedTuple):
        return place
    if isinstance(field, types.Array):
        return _load_array(context, builder, field, place)
    loaded = _load(builder, place)
    return loaded if _is_record(field) else context.data_model_manager[field].from_data(builder, loaded)


def _load_array(context: Any, builder: Any, field: types.Array, place: Any) -> Any:
    """numba's structure of an array, of which the address and the shape alone are loaded."""
    model = context.data_model_manager[field]
    kind = model.get_value_type()
    item_bytes = context.get_abi_sizeof(context.get_data_type(field.dtype))
    shape = [_load(builder, _part(builder, place, model, "shape", axis)) for axis in range(field.ndim)]
    strides = [_WORD(item_bytes)] if field.ndim == 1 else [builder.mul(shape[1], _WORD(item_bytes)), _WORD(item_bytes)]
    count = shape[0] if field.ndim == 1 else builder.mul(shape[0], shape[1])
    parts: dict[str, Any] = {
        "nitems": count,
        "itemsize": _WORD(item_bytes),
        "data": _load(builder, _part(builder, place, model, "data")),
    }
    array = ir.Constant(kind, None)  # without an owner and a parent: who made the reference keeps the memory
    for name, part in parts.items():
        array = builder.insert_value(array, part, model.get_field_position(name))
    for name, numbers in (("shape", shape), ("strides", strides)):
        for axis, number in enumerate(numbers):
            array = builder.insert_value(array, number, (model.get_field_position(name), axis))
    return array


def _part(builder: Any, place: Any, model: Any, name: str, *axis: int) -> Any:
    return cgutils.gep_inbounds(builder, place, 0, model.get_field_position(name), *axis)


def _load(builder: Any, place: Any) -> Any:
    loaded = builder.load(place)
    loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
    return loaded


def _words_of(value: Any) -> list[int]:
    """A value in the layout of `_layout_of`, all of whose parts are whole words; TypeError for any other."""
    match value:
        case tuple() if hasattr(value, "_fields"):
            return [word for part in value for word in _words_of(part)]
        case np.ndarray() if value.flags.c_contiguous and value.ndim in (1, 2):
            nobody = 0
            return [nobody, nobody, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides]
        case np.void():
            return [int(value.__array_interface__["data"][0])]
        case bool() | int():
            return [int(value) & 0xFFFF_FFFF_FFFF_FFFF]
    raise TypeError(f"a context holds arrays, records and numbers, not {type(value).__name__}")
