"""Shapes of answers: lookups."""

import inspect

import msgspec

from workers.api.openapi import lookups
from workers.api.openapi.words import AnyOf


def test_every_shape_says_what_it_is() -> None:
    """The document has the sentence, and the shape at least one member or one of several shapes."""
    for name, shape in inspect.getmembers(lookups, inspect.isclass):
        if shape.__module__ == lookups.__name__:
            assert inspect.getdoc(shape), name
            assert shape.shapes if issubclass(shape, AnyOf) else msgspec.structs.fields(shape), name
