"""Named statements out of files."""

import pytest

from trinity.errors import BugError
from trinity.store import queries


def test_a_file_is_cut_at_its_names() -> None:
    """Text before the first name belongs to none; the last semicolon is left out; a name stands once."""
    assert queries.split("-- a room\n-- name: one\n-- why\nSELECT 1;\n\n-- name: two\nSELECT 2\n") == {
        "one": "-- why\nSELECT 1", "two": "SELECT 2",
    }  # fmt: skip
    with pytest.raises(BugError, match="twice"):
        queries.split("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n")


def test_a_statement_that_is_not_there_is_a_bug() -> None:
    """Room and name are in the message."""
    assert queries.load("migrate.lock").endswith("SELECT pg_advisory_lock(%s)")
    for name in ("migrate.nothing", "nothing.lock"):
        with pytest.raises(BugError):
            queries.load(name)


def test_a_statement_for_several_tables_is_one_text() -> None:
    """The table's name stands in it, quoted as a name; which it is changes nothing else."""
    texts = [queries.load_for("ledger.add_sums", table) for table in ("usage_hour", "usage_day")]
    assert 'INSERT INTO "usage_hour" AS kept' in texts[0]
    assert texts[0].replace("usage_hour", "usage_day") == texts[1].replace("usage_hour", "usage_day")


@pytest.mark.parametrize("path", sorted(queries.FOLDER.glob("*.sql")), ids=lambda path: path.name)
def test_every_file_of_queries_has_named_statements(path: object) -> None:
    """None is empty."""
    statements = queries.split(path.read_text())  # type: ignore[attr-defined]
    assert statements
    assert all(statements.values())
