"""What a value may be, in words: of a parameter by its OpenAPI schema, of a message by what its decoder says. Pure.

    in_words({"enum": ["1m", "1h"]})                     "one of 1m, 1h"
    in_words({"type": "integer", "minimum": 1})          "a whole number from 1"
    explain_decoding(error, {"type": ("subscribe",)})    (what is wrong and what is allowed, the field that is to blame)

Rules: a list of values is told whole. What is optional is told by what it is when it is there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
_PLACE = re.compile(r" - at `\$\.?([^`]*)`")
_NAMED = re.compile(r"(?:unknown|required) field `([^`]*)`")


def in_words(schema: Mapping[str, Any]) -> str:
    """The values that a schema allows."""
    for part in schema.get("oneOf", ()):
        if part.get("type") != "null":
            return in_words({**part, **{name: value for name, value in schema.items() if name != "oneOf"}})
    if "enum" in schema:
        return f"one of {', '.join(str(value) for value in schema['enum'] if value is not None)}"
    types = schema.get("type", "string")
    kind = next((name for name in ([types] if isinstance(types, str) else types) if name != "null"), "string")
    bounds = [
        f"{word} {_digits(schema[name])}"
        for word, name in (("from", "minimum"), ("above", "exclusiveMinimum"), ("to", "maximum"))
        if schema.get(name) is not None
    ]
    return " ".join((_KINDS.get(kind, kind), *bounds))


def _digits(number: float) -> str:
    """Whole numbers with all their digits."""
    return str(int(number)) if number == int(number) else f"{number:.12g}"


def explain_decoding(error: Exception, allowed: Mapping[str, Sequence[str]]) -> tuple[str, str | None]:
    """msgspec's sentence without its path, and the path's field; with the values where `allowed` has them."""
    text = str(error)
    found = _NAMED.search(text) or _PLACE.search(text)
    field: str | None = found[1] if found and found[1] else None
    detail = _PLACE.sub("", text)
    if field is not None and field in allowed:
        detail = f"{detail}: it is one of {', '.join(allowed[field])}"
    return detail, field
