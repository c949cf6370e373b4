"""The OpenAPI document of the whole node, made of the router's own and of the tables beside it. Pure.

    complete(document, own_paths, ports)    the router's document as it is served

Rules: a path of this service's own stands there as `/v1/...`; its bare name is the same call. Every 200 has the shape
that answers.py gives it, with an example that a node once gave; every error is the problem that it is. Where other
ports answer a path, `servers` lists them.
"""

import functools
import json
from collections.abc import Collection, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from trinity.access.costs import cost_of
from trinity.native.nearest import VERSION
from workers.api.base.problems import MEDIA_TYPE, ProblemBody
from workers.api.openapi.answers import ANSWERS, EXPORTS, OPERATIONS, WITH_EXPORTS
from workers.api.openapi.foreign import ForeignRefusal
from workers.api.openapi.words import SERVICES, AnyOf, Operation

Json = dict[str, Any]
_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_GOOD = "200"
_FOREIGN = ("/api/v3", "/udf")


class Ports(NamedTuple):
    """The node's listeners; the names are those of words.SERVICES."""

    reports: int
    request: int
    health: int
    reports_health: int


def complete(document: Json, own_paths: Collection[str], ports: Ports) -> Json:
    """The router's document with what it cannot say; `own_paths` are those with a version, up to a `{`."""
    paths: Json = {}
    for path, item in document["paths"].items():
        name = f"{VERSION}{path}" if path.partition("/{")[0] in own_paths else path
        paths[name] = {method: _completed(path, method, operation) for method, operation in item.items()}
    for operation in OPERATIONS:
        paths[operation.path] = {"servers": _servers_of(operation, ports), "get": _described(operation)}
    components = document["components"]
    schemas = components.get("schemas", {}) | _shapes()[1]
    return document | {
        "paths": dict(sorted(paths.items())),
        "servers": [{"url": "/", "description": SERVICES["reports"]}],
        "components": components | {"schemas": dict(sorted(schemas.items()))},
    }


@functools.cache
def examples() -> Mapping[str, Any]:
    """What a node once answered, by path."""
    found: Mapping[str, Any] = json.loads((files("workers.api.openapi") / "examples.json").read_text())
    return found


def _completed(path: str, method: str, operation: Json) -> Json:
    """An operation of the router, with the shape of its answer and of its refusals, and with example values."""
    responses = {status: found for status, found in operation["responses"].items() if status < "4"}
    answer = ANSWERS.get(path) if method == "get" else None
    if answer is not None:
        operation = operation | {"parameters": _with_examples(operation.get("parameters", []), answer.ask)}
        content = {answer.media: _content(path, answer.shape)}
        if path.startswith(WITH_EXPORTS):
            content |= {media: {"schema": {"type": "string"}} for media in EXPORTS}
        responses[_GOOD] = {"description": _summary_of(operation), "content": content}
    elif method == "get" and path in examples():  # the router knows its shape
        (media, shown), *_ = responses[_GOOD]["content"].items()
        responses[_GOOD] = responses[_GOOD] | {"content": {media: shown | {"example": examples()[path]}}}
    shape, media = (ForeignRefusal, _JSON) if path.startswith(_FOREIGN) else (ProblemBody, MEDIA_TYPE)
    return operation | {
        "summary": _summary_of(operation),
        "description": _with_cost(path, operation.get("description", "")),
        "responses": responses | _refusals(shape, media),
    }


def _with_cost(path: str, text: str) -> str:
    return f"{text}\n\nOf the month: {cost_of(path).value}."


def _described(operation: Operation) -> Json:
    """An operation that the router does not know."""
    parameters = [
        {"name": found.name, "in": "query", "required": found.required, "description": found.text,
         "schema": dict(found.schema)}
        for found in operation.parameters
    ]  # fmt: skip
    bare = operation.path.removeprefix(VERSION)
    described = {
        "tags": [operation.tag],
        "operationId": f"{operation.services[0]}{bare.title().replace('/', '')}",
        "description": operation.text if operation.is_public else _with_cost(operation.path, operation.text),
        "parameters": _with_examples(parameters, operation.answer.ask),
        "responses": {
            _GOOD: {
                "description": operation.text.partition(".")[0],
                "content": {operation.answer.media: _content(operation.path, operation.answer.shape)},
            },
            **_refusals(operation.refusal, _JSON),
        },
    }
    described["summary"] = _summary_of(described)
    return described | ({"security": []} if operation.is_public else {})


def _summary_of(operation: Json) -> str:
    """The first sentence of what it does."""
    return str(operation.get("description", "")).partition(".")[0].partition(":")[0]


def _content(path: str, shape: Any) -> Json:
    example = examples().get(path)
    return {"schema": _schema_of(shape)} | ({} if example is None else {"example": example})


def _refusals(shape: Any, media: str) -> Json:
    found = {"description": "Refused or failed; `code` says why.", "content": {media: {"schema": _schema_of(shape)}}}
    return {"4XX": found, "5XX": found}


def _with_examples(parameters: list[Json], ask: Mapping[str, Any]) -> list[Json]:
    return [found | ({"example": ask[found["name"]]} if found["name"] in ask else {}) for found in parameters]


def _servers_of(operation: Operation, ports: Ports) -> list[Json]:
    """This service without a host; the others by theirs, which whoever asks knows."""
    host = {"host": {"default": "localhost"}}
    return [
        {"url": "/", "description": SERVICES[name]}
        if name == "reports"
        else {"url": f"http://{{host}}:{getattr(ports, name)}", "description": SERVICES[name], "variables": host}
        for name in operation.services
    ]


# --- shapes as JSON schemas -----------------------------------------------------------------------------------


def _schema_of(shape: Any) -> Json:
    return _shapes()[0][repr(shape)]


@functools.cache
def _shapes() -> tuple[dict[str, Json], Json]:
    """The schema of each shape by its name, and the components that they refer to."""
    answers = [answer.shape for answer in ANSWERS.values()]
    for operation in OPERATIONS:
        answers += [operation.answer.shape, operation.refusal]
    answers += [ProblemBody, ForeignRefusal]
    parts = [part for shape in AnyOf.__subclasses__() for part in shape.shapes]
    schemas, components = msgspec.json.schema_components([*answers, *parts], schema_hook=_any_of, ref_template=_REF)
    return dict(zip(map(repr, answers), schemas, strict=False)), components


def _any_of(shape: type) -> Json:
    assert issubclass(shape, AnyOf), f"{shape} has no schema"
    return {
        "description": shape.__doc__,
        "anyOf": [{"$ref": _REF.format(name=part.__name__)} for part in shape.shapes],
    }
