"""The JSON that a change is written in: decoded strictly, documented as it is decoded. Pure, but for reading the body.

Rules: a body is one object of known fields; what is unknown, missing or of another type is a 400 with the field's name,
and text is no number. A limit is written as on the command line (`rate`: "200", "0.2", "1/5s") or as a number; null is
what the key's plan has, and what is left out stays.
"""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody
from msgspec import UNSET, UnsetType

from trinity.access import values
from trinity.errors import InputError
from workers.api.base.problems import ProblemError

Rate = str | int | float | UnsetType | None
_Body = TypeVar("_Body", bound=msgspec.Struct)
# msgspec ends its sentence with the place, or names a field that there is not.
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<field>[^`\[]*).*`)?$", re.DOTALL)
_NAMED = re.compile(r"field `([^`]*)`")


class LimitsBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Limits of a key or a plan."""

    rate: Rate = UNSET
    burst: int | UnsetType | None = UNSET
    quota: int | UnsetType | None = UNSET

    def columns(self, *, of_plan: bool) -> dict[str, int | None]:
        """What they mean in the tables; InputError."""
        written = {"rate": self.rate, "burst": self.burst, "quota": self.quota}
        given = {field: None if value is None else str(value) for field, value in written.items() if value is not UNSET}
        if of_plan and None in given.values():
            missing = next(field for field, value in given.items() if value is None)
            raise InputError(missing, "a plan's limit is a number, 0 for none")
        return values.limits(given, of_plan=of_plan)


def takes(body: type[msgspec.Struct], **example: object) -> type[Operation]:
    """The documentation of a handler that reads this body, with an example: for its `operation_class`."""
    ((_, components), name) = msgspec.json.schema_components([body]), body.__name__

    @dataclass
    class Documented(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(
                {"application/json": OpenAPIMediaType(schema=components[name], example=example)}
            )

    return Documented


async def read_body(request: Request[Any, Any, Any], body: type[_Body]) -> _Body:
    """The body as this type; ProblemError names the field."""
    octets = await request.body()
    try:
        return msgspec.json.decode(octets or b"{}", type=body)
    except msgspec.ValidationError as error:
        found = _PLACE.match(str(error))
        assert found is not None, "every text fits"
        named = _NAMED.search(found["what"])
        field = found["field"] or (named[1] if named else None)
        raise ProblemError(400, "bad_parameter", found["what"], field) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ProblemError(400, "bad_request", "the body is not JSON") from None
