"""How the document's own parts are written down: answers, operations, parameters. Pure."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import msgspec


class OptionalMembers(msgspec.Struct, omit_defaults=True):
    """A shape some of whose members are absent where they say nothing: those with a default."""


class AnyOf:
    """One of several shapes, which their members tell apart."""

    shapes: ClassVar[tuple[type[msgspec.Struct], ...]]


class Answer(NamedTuple):
    """What an operation answers with 200: its shape, and example values of its parameters.

    `needs` is who may ask: "" whoever may ask for prices, "key" the key of an account, "admin" the operator's.
    """

    shape: Any
    ask: Mapping[str, Any] = {}
    media: str = "application/json"
    needs: str = ""


class Parameter(NamedTuple):
    """One query parameter."""

    name: str
    schema: Mapping[str, Any]
    text: str
    required: bool = False


class Operation(NamedTuple):
    """A GET that the router does not describe: where it is answered, and how it refuses."""

    path: str
    tag: str
    text: str
    answer: Answer
    services: tuple[str, ...]  # of SERVICES
    parameters: tuple[Parameter, ...] = ()
    refusal: Any = None  # the shape of what is not 200; a problem where there is none
    is_public: bool = False  # no key is needed


# Listeners of a node by what they are for, as the configuration's ports are called.
SERVICES = {
    "reports": "the reporting service",
    "request": "the request workers",
    "health": "health of the request workers",
    "reports_health": "health of the reporting service",
}
