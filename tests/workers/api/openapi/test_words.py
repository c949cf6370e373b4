"""The document's own parts."""

import msgspec

from workers.api.openapi.words import OptionalMembers


class Shape(OptionalMembers):
    """One with a member that may be absent."""

    name: str
    field: str | None = None


def test_a_member_with_a_default_may_be_absent() -> None:
    """The others are required."""
    assert msgspec.json.schema(Shape)["$defs"]["Shape"]["required"] == ["name"]
    assert msgspec.json.encode(Shape("x")) == b'{"name":"x"}'
