"""What a value may be, in words."""

from typing import Any, Literal

import msgspec
import pytest

from workers.api.base.allowed import explain_decoding, in_words


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "enum": ["1m", "1h"]}, "one of 1m, 1h"),
        ({"type": ["null", "string"], "enum": ["json", "csv", None]}, "one of json, csv"),
        ({"type": "integer", "minimum": 1, "maximum": 2**31 - 1}, "a whole number from 1 to 2147483647"),
        ({"type": "integer", "minimum": 1, "maximum": 2**63 - 1}, "a whole number from 1 to 9223372036854775807"),
        ({"oneOf": [{"type": "null"}, {"type": "integer"}], "minimum": 0}, "a whole number from 0"),
        ({"type": "number", "exclusiveMinimum": 0}, "a number above 0"),
        ({"type": "number", "maximum": 0.5}, "a number to 0.5"),
        ({"type": "boolean"}, "true or false"),
        ({}, "text"),
    ],
)
def test_a_schema_is_told_in_words(schema: dict[str, Any], words: str) -> None:
    """Values as a list, numbers by their bounds; what is optional by what it is when it is there."""
    assert in_words(schema) == words


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    """A message."""

    kind: Literal["a", "b"]
    names: list[str] = []


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        (b'{"kind":"c"}', "kind", "one of a, b"),
        (b'{"kind":"a","names":[1]}', "names[0]", "Expected `str`"),
        (b'{"kind":"a","x":1}', "x", "unknown field"),
        (b"{}", "kind", "missing required field"),
        (b"{", None, "truncated"),
    ],
)
def test_a_decoder_s_error_names_its_field(text: bytes, field: str | None, said: str) -> None:
    """And what is allowed there, where that is a list."""
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(text, type=Ask)
    detail, found = explain_decoding(caught.value, {"kind": ("a", "b")})
    assert found == field
    assert said in detail
    assert "$" not in detail
