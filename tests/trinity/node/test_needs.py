"""The one table of what a changed setting needs, and what a new configuration needs by it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.config import SETTINGS, Config
from trinity.markets import load_catalog
from trinity.node.needs import FILES, NEEDS, ORDER, difference, is_same_layout, need_of
from trinity.node.roles import ROLES

KINDS = {role.kind for role in ROLES}


@pytest.mark.parametrize("place", SETTINGS)
def test_every_setting_has_a_need(place: tuple[str, str]) -> None:
    """A new one is thought about once: at once, by which processes, or at the next start."""
    need = need_of(*place)
    assert need.restart != bool(need.kinds or need.applied)


def test_the_table_names_what_there_is() -> None:
    """Kinds are roles, and places are settings or sections."""
    assert {kind for need in NEEDS.values() for kind in need.kinds} <= KINDS
    assert {kind for need in NEEDS.values() for kind in need.kinds} <= set(ORDER) <= KINDS
    sections = {section for section, _ in SETTINGS}
    assert all(place in SETTINGS if len(place) == 2 else place[0] in sections for place in NEEDS)
    assert set(FILES) <= set(SETTINGS)


def _changed(config: Config, section: str, **fields: object) -> Config:
    part = msgspec.structs.replace(getattr(config, section), **fields)
    return msgspec.structs.replace(config, **{section: part})


def test_what_needs_a_restart_keeps_its_old_value_and_is_said() -> None:
    """A port waits; a rate of the same file comes in."""
    new = _changed(_changed(Config(), "ports", tcp_port_lpo=9999), "access", free_rate=77)
    found = difference(Config(), new)
    assert found.config == _changed(Config(), "access", free_rate=77)
    assert (found.waiting, found.replacing) == (("ports.tcp_port_lpo",), ("access.free_rate",))
    assert found.kinds == ("access", "cluster", "worker", "reporter")


def test_a_store_may_move_but_neither_come_nor_go() -> None:
    """A new password is a replacement; the embedded database instead of it is another node."""
    here, there = (_changed(Config(), "stores", database_url=f"postgresql://a:{word}@host/db") for word in ("b", "c"))
    moved = difference(here, there)
    assert moved.config == there
    assert "flusher" in moved.kinds
    gone = difference(here, Config())
    assert gone.config == here
    assert gone.waiting == ("stores.database_url",)


def test_a_file_with_other_bytes_is_a_change() -> None:
    """A renewed certificate has the path of the old one."""
    config = _changed(Config(), "push", ca_file="/etc/ca.pem")
    assert difference(config, config).kinds == ()
    found = difference(config, config, frozenset({("push", "ca_file")}))
    assert (found.replacing, found.kinds) == (("push.ca_file",), ("pusher", "reporter"))


def test_markets_need_the_same_tables() -> None:
    """Another symbol or rule does not; another asset, or another order, does."""
    catalog = load_catalog()
    turned = msgspec.structs.replace(catalog, assets=catalog.assets[::-1])
    assert is_same_layout(catalog, msgspec.structs.replace(catalog, markets=catalog.markets[1:]))
    assert not is_same_layout(catalog, turned)
    assert not is_same_layout(catalog, msgspec.structs.replace(catalog, exchanges=catalog.exchanges[:-1]))
    found = difference(Config(), Config(), same_markets=False)
    assert {"feed", "consensus", "worker"} <= set(found.kinds)


@given(st.lists(st.sampled_from([place for place, setting in SETTINGS.items() if setting.kind is bool]), max_size=6))
def test_nothing_is_half_changed(places: list[tuple[str, str]]) -> None:
    """Each changed setting is of one sort, and what runs has the new value of exactly those that do not wait."""
    new = Config()
    for section, field in places:
        new = _changed(new, section, **{field: not getattr(getattr(Config(), section), field)})
    found = difference(Config(), new)
    names = {f"{section}.{field}" for section, field in places}
    assert sorted((*found.applied, *found.replacing, *found.waiting)) == sorted(names)
    for section, field in places:
        is_new = getattr(getattr(found.config, section), field) == getattr(getattr(new, section), field)
        assert is_new == (f"{section}.{field}" not in found.waiting)
