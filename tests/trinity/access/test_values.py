"""trinity/access/values.py"""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.access import values
from trinity.access.keys import new_key
from trinity.errors import InputError
from trinity.vocabulary import KEY_PREFIX_CHARS

GOOD: list[tuple[Callable[[], Any], Any]] = [
    (lambda: values.key_reference("17"), 17),
    (lambda: values.key_reference("trk_abcdefgh"), "trk_abcdefgh"),
    (lambda: values.whole_number("--rate", "100", 0, 100), 100),
    (lambda: values.duration("--for", "90s"), datetime.timedelta(seconds=90)),
    (lambda: values.duration("--for", "2w"), datetime.timedelta(days=14)),
    (lambda: values.duration("--grace", "0"), datetime.timedelta()),
    (lambda: values.lifetime("--for", "1h"), datetime.timedelta(hours=1)),
    (
        lambda: values.limits({"rate": "1/5s", "quota": None}, of_plan=False),
        {"rate_requests": 1, "rate_seconds": 5, "monthly_quota": None},
    ),
    (lambda: values.limits({"burst": "0"}, of_plan=True), {"burst": 0}),
    (lambda: values.name("--account", " Jürgen & 子 "), "Jürgen & 子"),
    (lambda: values.language("--language", "zh-Hant-TW"), "zh-Hant-TW"),
    (lambda: values.email("--email", "a@example.org"), "a@example.org"),
    (lambda: values.switch("--dry-run", "on"), True),
    (lambda: values.switch("--dry-run", "off"), False),
]
BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: values.key_reference(""), "KEY"),
    (lambda: values.key_reference("0"), "KEY"),
    (lambda: values.key_reference("9" * 30), "KEY"),
    (lambda: values.key_reference("0" * 20 + "150"), "KEY"),
    (lambda: values.key_reference("trk_ä"), "KEY"),
    (lambda: values.key_reference("٣"), "KEY"),
    (lambda: values.key_reference("trk_%"), "KEY"),
    (lambda: values.whole_number("--rate", "-1", 0, 9), "--rate"),
    (lambda: values.whole_number("--rate", "1.5", 0, 9), "--rate"),
    (lambda: values.whole_number("--rate", "²", 0, 9), "--rate"),
    (lambda: values.whole_number("--rate", "10", 0, 9), "--rate"),
    (lambda: values.whole_number("--rate", "0" * 20 + "50", 0, 99), "--rate"),
    (lambda: values.duration("--for", "1"), "--for"),
    (lambda: values.duration("--for", "1y"), "--for"),
    (lambda: values.duration("--for", "-1h"), "--for"),
    (lambda: values.duration("--for", "999999999w"), "--for"),
    (lambda: values.lifetime("--for", "0"), "--for"),
    (lambda: values.limits({"burst": "0"}, of_plan=False, prefix="--"), "--burst"),
    (lambda: values.limits({"quota": "-1"}, of_plan=True), "quota"),
    (lambda: values.limits({"rate": "x"}, of_plan=True), "rate"),
    (lambda: values.name("--account", "  "), "--account"),
    (lambda: values.name("--account", "a\nb"), "--account"),
    (lambda: values.name("--account", "a\0b"), "--account"),
    (lambda: values.name("--account", "\udcff"), "--account"),
    (lambda: values.name("--account", "x" * 101), "--account"),
    (lambda: values.language("--language", "english!"), "--language"),
    (lambda: values.email("--email", "nobody"), "--email"),
    (lambda: values.switch("--dry-run", "maybe"), "--dry-run"),
]


@pytest.mark.parametrize(("parse", "value"), GOOD)
def test_good_values_are_taken(parse: Callable[[], Any], value: Any) -> None:
    """Text becomes the value that it means."""
    assert parse() == value


@pytest.mark.parametrize(("parse", "field"), BAD)
def test_bad_values_are_refused_with_the_name_of_their_field(parse: Callable[[], Any], field: str) -> None:
    """The error's sentence begins with the field, and holds printable ASCII only."""
    with pytest.raises(InputError) as caught:
        parse()
    assert str(caught.value).startswith(f"{field}: ")
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_a_whole_key_is_refused_and_not_repeated() -> None:
    """Who names a key by itself is told not to, without the key in the error."""
    key = "trk_" + "q7" * 21
    with pytest.raises(InputError) as caught:
        values.key_reference(key)
    assert "q7" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_value_or_a_typed_error(text: str) -> None:
    """No input crashes a parser."""
    for parse in (
        values.key_reference,
        lambda text: values.whole_number("--rate", text, 0, 9),
        lambda text: values.duration("--for", text),
        lambda text: values.name("--name", text),
        lambda text: values.language("--language", text),
        lambda text: values.email("--email", text),
        lambda text: values.switch("--dry-run", text),
    ):
        try:
            parse(text)
        except InputError as error:
            assert str(error)  # noqa: PT017 - either way is right


def test_of_a_whole_key_only_its_prefix_is_repeated() -> None:
    """Wherever it stands in a text; a prefix alone stays."""
    key = new_key()
    prefix = key[:KEY_PREFIX_CHARS]
    assert values.without_keys(f"--rate={key}: '{key}' {prefix}") == f"--rate={prefix}...: '{prefix}...' {prefix}"
