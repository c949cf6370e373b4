"""trinity/cli/settings_page.py: the page of settings says what the node goes by."""

import re
from pathlib import Path

import pytest

from trinity.cli.settings_page import settings_page
from trinity.config import SETTINGS
from trinity.environment import SECRETS, VARIABLES
from trinity.node.needs import need_of


def rows_of_page() -> dict[tuple[str, str], list[str]]:
    """The cells of each setting's row, by section and field."""
    found: dict[tuple[str, str], list[str]] = {}
    section = ""
    for line in settings_page().splitlines():
        if heading := re.fullmatch(r"## (\w+)", line):
            section = heading[1]
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            found[section, cells[0].strip("`")] = cells
    return found


def test_every_setting_has_one_row_with_its_variable_and_its_words() -> None:
    """Nothing is left out and nothing stands there that is no setting; a secret is told as one."""
    rows = rows_of_page()
    assert list(rows) == list(SETTINGS)
    for place, cells in rows.items():
        assert len(cells) == 6
        assert cells[1].startswith(f"`{VARIABLES[place]}`")
        assert ("..._FILE" in cells[1]) == (VARIABLES[place] in SECRETS)
        assert all(cells), place


@pytest.mark.parametrize("place", [("node", "server_type"), ("request", "pin"), ("recording", "on")])
def test_what_a_change_needs_is_what_a_reload_does(place: tuple[str, str]) -> None:
    """A restart, processes that are replaced, or nothing at all."""
    need, words = need_of(*place), rows_of_page()[place][5]
    assert ("restart" in words) == need.restart
    assert ("at once" in words) == need.applied
    assert all(kind in words for kind in need.kinds)


def test_the_page_says_nothing_of_the_machine_that_made_it() -> None:
    """Neither whose home it was, nor where the catalog lies."""
    assert str(Path.home()) not in settings_page()
    assert "markets.toml`" not in rows_of_page()["node", "markets_file"][3]
