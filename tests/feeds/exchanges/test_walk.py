"""The walk over a frequent frame's JSON: exactly its form, exactly by the grammar."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.exchanges.walk import ANY, LEAVE, ROLES_FROM, make_form, walk
from trinity.native.octets import octets_of

pytestmark = pytest.mark.uncompiled
ONE, TWO, THREE = range(ROLES_FROM, ROLES_FROM + 3)
FORM = make_form(
    {"kind": b'"a"', "list": [{"one": ONE, "deep": {"two": TWO}}], "three": THREE, "may": ANY, "other": LEAVE},
    (ONE, TWO, THREE),
    (ONE, TWO),
)
WHOLE = '{"kind":"a","list":[{"one":1,"deep":{"two":"x"}}],"three":-2.5e+3}'


def walked(text: str | bytes) -> dict[int, str] | None:
    """The roles' values as they stand in the text; None when the walk does not take it."""
    frame = text.encode() if isinstance(text, str) else text
    octets, spans = octets_of(b"[" + frame + b"]"), np.zeros(2 * (THREE + 1), dtype=np.int64)
    if not walk(octets, 1, len(frame) + 1, FORM, spans):
        return None
    found = {role: octets[spans[2 * role] : spans[2 * role + 1]].tobytes().decode() for role in (ONE, TWO, THREE)}
    return {role: value for role, value in found.items() if value}


def test_the_values_of_the_roles_are_found_where_they_stand() -> None:
    """As their own text, strings with their quotes."""
    assert walked(WHOLE) == {ONE: "1", TWO: '"x"', THREE: "-2.5e+3"}


@pytest.mark.parametrize(
    "text",
    [
        '{"list":[{"deep":{"two":"x"},"one":1}],"kind":"a"}',
        '{"kind":"a","may":null,"list":[{"one":1,"deep":{"two":"x"}}]}',
        '{"kind":"a","new":[],"newer":{},"list":[{"one":1,"deep":{"two":"x","kind":[[{"one":0},[]],true]}}]}',
    ],
)
def test_what_the_form_does_not_name_is_passed_over(text: str) -> None:
    """Other keys in any place with any value, what may be there, and another order."""
    assert walked(text) == {ONE: "1", TWO: '"x"'}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"a"', '"b"'),
        ('"a"', '"aa"'),
        ('"a"', '["a"]'),
        ('"one":1', '"one":1,"one":1'),
        ('"kind":"a"', '"kind":"a","kind":"a"'),
        ('"one":1', '"one":{}'),
        ('"one":1,', ""),
        ('{"two":"x"}', '["x"]'),
        ('{"two":"x"}', "{}"),
        ('"three":-2.5e+3', '"three":-2.5e+3,"other":null'),
        ("[{", '[{"one":1,"deep":{"two":"x"}},{'),
        ('[{"one":1,"deep":{"two":"x"}}]', "[]"),
        ("-2.5e+3", "{}"),
        ('"three":-2.5e+3', '"may":[]'),
        ('"three":-2.5e+3', f'"new":{"[" * 8}{"]" * 8}'),
    ],
)
def test_another_form_is_not_taken(old: str, new: str) -> None:
    """A constant, a kind of value or a number of elements that is not the form's; a key twice; too deep a value."""
    assert old in WHOLE
    assert walked(WHOLE.replace(old, new, 1)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        *("01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "--1", "1.2.3", "1-2", "NaN", "Infinity", "1_0"),
        *("tru", "truee", "nul", "Null", "", "'x'", '"x', 'x"', '"\\n"', '"\\u0041"', '"\x01"', '"\n"', '"ä"'),
        *(
            " 1",
            "1 ",
            "[1,]",
            "[,1]",
            "[1",
            "1]",
            "[1}",
            '{"a"}',
            '{"a":}',
            '{"a":1,}',
            "{,}",
            "{1:2}",
            '{"a" :1}',
            "1,",
        ),
    ],
)
def test_what_is_not_plain_json_is_not_taken(wrong: str) -> None:
    """Also where the form does not look."""
    assert walked(WHOLE.replace('"kind"', f'"new":{wrong},"kind"')) is None
    assert walked(WHOLE.replace("-2.5e+3", wrong)) is None


@pytest.mark.parametrize("frame", ["", "{", "[]", "1", '"kind"', WHOLE[:-1], WHOLE + "}", WHOLE + " ", " " + WHOLE])
def test_a_frame_is_one_object_from_its_first_byte_to_its_last(frame: str) -> None:
    """Nothing before, nothing behind, nothing missing; bytes behind the frame are not looked at."""
    assert walked(frame) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(values, st.integers(0, 80), st.binary(max_size=2))
def test_whatever_is_taken_is_json(value: object, at: int, piece: bytes) -> None:
    """A foreign value under a key that the form does not name, and anything in any place: what is taken, the standard
    library reads too."""
    frame = WHOLE.replace('"kind"', f'"new":{json.dumps(value, separators=(",", ":"))},"kind"').encode()
    for text in (frame, frame[:at] + piece + frame[at + len(piece) :]):
        found = walked(text)
        if found is not None:
            tree = json.loads(text)
            assert json.loads(found[ONE]) == tree["list"][0]["one"]
            assert json.loads(found[TWO]) == tree["list"][0]["deep"]["two"]
