"""trinity/schema.py"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from trinity.config import SETTINGS, Config
from trinity.schema import allowed, bounds_of, comments_of, settings_of


class Shown(msgspec.Struct, kw_only=True):
    """A section."""

    plain: str = "a  #b"  # beside
    # Above,
    # on two lines.
    number: Annotated[int, msgspec.Meta(ge=1, le=9)] = 3
    both: bool = True  # and beside
    silent: int = 0


class Tree(msgspec.Struct):
    """A tree."""

    shown: Shown = msgspec.field(default_factory=Shown)


def test_the_fields_of_a_tree_are_in_the_order_of_its_source() -> None:
    """Each with its section, its type and its default."""
    assert [(entry.section, entry.field, entry.default) for entry in settings_of(Tree)] == [
        ("shown", "plain", "a  #b"), ("shown", "number", 3), ("shown", "both", True), ("shown", "silent", 0),
    ]  # fmt: skip


def test_the_words_beside_and_above_a_field_are_its_explanation() -> None:
    """A field without any has an empty one."""
    assert comments_of(Shown) == {
        "plain": "beside", "number": "Above, on two lines.", "both": "and beside", "silent": "",
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "words"), [
    (str, "text"), (bool, "true or false"), (int, "a whole number"), (Path, "a path"), (str | None, "text"),
    (tuple[str, ...], "a list of texts"), (dict[str, str], "a table of texts"), (Literal["a", "b"], "one of a, b"),
    (Annotated[int, msgspec.Meta(ge=1, le=9)], "a whole number from 1 to 9"),
    (Annotated[float, msgspec.Meta(ge=0, le=9)], "a number from 0 to 9"),
    (Annotated[int, msgspec.Meta(description="so many a day")], "so many a day"),
])  # fmt: skip
def test_what_a_field_takes_is_said_in_words(kind: object, words: str) -> None:
    """By its type, its range or its form."""
    assert allowed(kind) == words
    assert bounds_of(str) is None


def test_every_setting_of_a_node_is_explained() -> None:
    """None is without words, and none takes what cannot be said in words."""
    for section, kind in Config.__annotations__.items():
        assert all(comments_of(kind).values()), section
    assert all(allowed(setting.kind) for setting in SETTINGS.values())
