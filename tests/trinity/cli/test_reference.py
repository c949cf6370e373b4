"""trinity/cli/reference.py: the pages that are made from the code are as the code is."""

import re
from pathlib import Path

import pytest

from trinity.cli import reference
from trinity.cli.reference import DOCS, REFERENCE_PAGES, main, metrics_page
from trinity.observe.metrics import REGISTERS


@pytest.mark.parametrize("name", sorted(REFERENCE_PAGES))
def test_each_page_is_as_the_code_is(name: str) -> None:
    """Whoever changes a metric runs `make docs`."""
    assert (DOCS / name).read_text() == REFERENCE_PAGES[name](), "make docs"


def test_every_declared_metric_stands_on_the_page_once_with_its_help() -> None:
    """And every kind of process has a heading."""
    page = metrics_page()
    rows = re.findall(r"^\| `(trinity_\w+)`(?: •)? \| (\w+) \| .* \| (.+) \|$", page, re.MULTILINE)
    names = [name for name, _, _ in rows]
    assert len(names) == len(set(names))
    for register in REGISTERS.values():
        for metric in register.metrics:
            assert f"trinity_{metric.name}" in names, metric.name
    assert all(text.endswith(".") for _, _, text in rows), "a sentence each"
    assert set(reference._TITLES) == set(REGISTERS)


def test_a_page_that_is_not_as_the_code_is_is_told_and_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--check writes nothing."""
    monkeypatch.setattr(reference, "DOCS", tmp_path)
    assert main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(REFERENCE_PAGES)
