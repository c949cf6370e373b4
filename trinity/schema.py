"""What the configuration's structs allow, read from themselves: names, values, bounds, and the words beside a field.

Rules: the structs are the one source. A field's explanation is the comment beside or above it in the source, as
Sphinx reads `#:` comments: what a reader of the code sees is what `trinity config example` prints.
"""

import inspect
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

_FIELD = re.compile(r"    (\w+): .*?(?:  # (.*))?")
_COMMENT = re.compile(r"    # (.*)")


class Setting(NamedTuple):
    """One field of one section."""

    section: str
    field: str
    kind: Any
    default: Any


def settings_of(tree: type[msgspec.Struct]) -> Iterator[Setting]:
    """All settings of a tree of sections, in the order of the source."""
    for section, kind in get_type_hints(tree).items():
        hints = get_type_hints(kind, include_extras=True)
        for field in msgspec.structs.fields(kind):
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            yield Setting(section, field.name, hints[field.name], default)


def bounds_of(kind: Any) -> msgspec.Meta | None:
    """The range, or the form, that stands at a field; None where there is none."""
    return next((meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)), None)


def allowed(kind: Any) -> str:
    """What a field takes, in words."""
    bounds = bounds_of(kind)
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if bounds is not None and bounds.description is not None:
        return bounds.description
    if bounds is not None:
        return f"{_WORDS[kind]} from {bounds.ge} to {bounds.le}"
    if isinstance(kind, types.UnionType):
        kind = get_args(kind)[0]
    return _WORDS[get_origin(kind) or kind]


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    tuple: "a list of texts",
    dict: "a table of texts",
}


def comments_of(section: type) -> dict[str, str]:
    """The words beside or above each field of a section."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(section).splitlines():
        if comment := _COMMENT.fullmatch(line):
            above.append(comment[1])
        elif field := _FIELD.fullmatch(line):
            found[field[1]] = " ".join([*above, *([field[2]] if field[2] else [])])
            above = []
    return found
