"""What the docs name exists: links and their headings, paths of the repository, make targets, commands."""

import re
from pathlib import Path

import pytest

from trinity.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / "findings" / "README.md")
    if path.name != "CHANGELOG.md"
)
ROOMS = ("trinity", "feeds", "workers", "benchmarks", "tests", "docs", "deploy", "findings", ".ci")
# A file is named by its path, or, where the text has said in which room it is, by its name.
_PATH = re.compile(r"[\w.*<>/-]+")
_ENDINGS = (".py", ".md", ".toml", ".sql", ".sh", ".js", ".go", ".lock", ".yaml")
# What a user calls a file of their own.
OF_THE_USER = {"trinity.toml", "your.toml"}


def text_of(page: Path) -> str:
    return (ROOT / page).read_text()


def named_in(text: str) -> list[str]:
    """What stands in backticks, on one line."""
    return re.findall(r"`([^`\n]+)`", text)


def headings_of(page: Path) -> set[str]:
    """The anchors that a page offers: its headings as GitHub writes them."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def is_there(name: str) -> bool:
    """A path from the root, with `*` for any characters and `<word>` for any name; a bare name, anywhere."""
    pattern = re.sub(r"<\w+>", "*", name.rstrip("/"))
    if "/" in pattern or (ROOT / pattern).exists():
        return any(ROOT.glob(pattern))
    return any(any((ROOT / room).rglob(pattern)) for room in ROOMS)


def is_path(name: str) -> bool:
    if not _PATH.fullmatch(name) or name in OF_THE_USER:
        return False
    return name.startswith(tuple(f"{room}/" for room in ROOMS)) or ("/" not in name and name.endswith(_ENDINGS))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """The file is there, and it has the heading."""
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        aim = (ROOT / page).parent / name if name else ROOT / page
        if not aim.exists() or (heading and heading not in headings_of(aim.resolve().relative_to(ROOT))):
            dead.append(target)
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_path_in_backticks_exists(page: Path) -> None:
    """A file that was moved or renamed is told of where it is now."""
    assert [name for name in named_in(text_of(page)) if is_path(name) and not is_there(name)] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_make_target_and_command_exists(page: Path) -> None:
    """`make x` is a rule of the Makefile, `trinity x` a command."""
    targets = set(re.findall(r"^([a-z-]+):", text_of(Path("Makefile")), re.MULTILINE))
    commands = {command.name for command in COMMANDS}
    text = text_of(page)
    code = "\n".join([*named_in(text), *re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)])
    asked = set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE))
    run = set(re.findall(r"^(?:\$ )?(?:\.venv/bin/)?trinity ([a-z]+)", code, re.MULTILINE))

    assert asked - targets == set()
    assert run - commands == set()


def test_what_is_not_there_is_found() -> None:
    """The checks themselves can fail."""
    assert is_path("trinity/nowhere.py")
    assert not is_there("trinity/nowhere.py")
    assert not is_there("feeds/*/nowhere_<exchange>.py")
    assert not is_path("/price")
    assert is_there("tests/feeds/exchanges/test_<exchange>.py")
    assert "add-an-exchange-in-ten-steps" in headings_of(Path("CONTRIBUTING.md"))
