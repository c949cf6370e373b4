"""trinity/push/subscription.py"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trinity.push.test_store import NOW
from trinity.errors import InputError
from trinity.markets import load_catalog
from trinity.push.subscription import (
    NUMBERS,
    TRIGGERS,
    Subscription,
    SubscriptionDraft,
    read_change,
    read_draft,
)

T = TypeVar("T")
CATALOG = load_catalog()
NAMES = [asset.name for asset in CATALOG.assets]
GOOD = {"target": "https://hooks.example.com/", "assets": ["BTC"], "interval_s": 10}

names = st.sampled_from(NAMES) | st.sampled_from(NAMES).map(str.lower) | st.text(max_size=20)
numbers = st.integers(-5, 100_000) | st.integers()
fields = st.fixed_dictionaries(
    {},
    optional={
        "target": st.sampled_from(["https://a.example/x", "udp://a.example:1", "http://a.example/"]) | st.text(),
        "assets": st.lists(names, max_size=160),
        "name": st.text(max_size=120),
        **dict.fromkeys(NUMBERS, numbers),
    },
)


def find_asset(name: str) -> str | None:
    index = CATALOG.find_asset(name)
    return None if index is None else NAMES[index]


def taken(read: Callable[..., T], given: dict[str, Any]) -> T | str:
    """What was read, or the field that is to blame."""
    try:
        return read(given, find_asset)
    except InputError as error:
        return error.field


@given(fields)
def test_what_is_taken_is_what_may_be_kept(given: dict[str, Any]) -> None:
    """Whatever is written: a refusal that names a field, or a draft within all bounds, which is taken once more."""
    draft = taken(read_draft, given)
    if isinstance(draft, str):
        assert draft in SubscriptionDraft.__struct_fields__
        return
    assert 1 <= len(draft.assets) == len(set(draft.assets)) <= 150
    assert set(draft.assets) <= set(NAMES)
    assert draft.name.isprintable()
    assert any(getattr(draft, field) for field in TRIGGERS)
    for field, (least, most, _) in NUMBERS.items():
        number = getattr(draft, field)
        assert number == 0 or least <= number <= most
    assert read_draft(msgspec.structs.asdict(draft), find_asset) == draft


@given(fields)
def test_a_change_has_what_was_given_and_no_more(given: dict[str, Any]) -> None:
    """Each field is checked as of a draft; what is left out stays None."""
    change = taken(read_change, given)
    if isinstance(change, str):
        assert change in SubscriptionDraft.__struct_fields__
        return
    found = {field for field, value in msgspec.structs.asdict(change).items() if value is not None}
    assert found == {field for field, value in given.items() if value is not None}


@pytest.mark.parametrize(("field", "bounds"), NUMBERS.items())
def test_numbers_have_two_ends_and_an_off(field: str, bounds: tuple[int, int, str]) -> None:
    """0 is off; the first and the last are taken, their neighbours are not."""
    least, most, _ = bounds
    for number in (0, least, most):
        assert getattr(read_draft({"heartbeat_s": 60, **GOOD, field: number or None}, find_asset), field) == number
    for number in {least - 1, most + 1, -1} - {0}:
        with pytest.raises(InputError) as caught:
            read_draft(GOOD | {field: number}, find_asset)
        assert caught.value.field == field


def test_assets_keep_their_order_and_their_own_names() -> None:
    """By any of their names; one that stands there under two names is refused with both."""
    alias = next((alias, asset.name) for asset in CATALOG.assets for alias in asset.aliases)
    draft = read_draft(GOOD | {"assets": ["eth", alias[0], "BTC"]}, find_asset)
    assert draft.assets == ("ETH", alias[1], "BTC")
    with pytest.raises(InputError, match=alias[0]):
        read_draft(GOOD | {"assets": alias}, find_asset)


def test_a_subscription_shows_no_secret() -> None:
    """Not in its repr, which logs and failures of tests print."""
    fields = dict.fromkeys(Subscription.__struct_fields__) | {
        "id": 7, "state": "active", "secret": "whsec_one", "old_secret": "whsec_two", "created_at": NOW,
    }  # fmt: skip
    found = Subscription(**fields)  # type: ignore[arg-type]
    assert "whsec" not in f"{found!r} {found} {[found]}"
