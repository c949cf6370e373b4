"""The SQL of all rooms, by name: one file a room in `queries/`, each statement under a line `-- name: <name>`.

Rules: `load("usage.insert_minutes")` gives the statement `insert_minutes` of `queries/usage.sql`. Values are always
parameters (`%s`, `%(name)s`), never written into the text; the table of a statement that serves several is `{table}`
(`load_for`). What a statement is for stands as a comment below its name.
"""

import functools
import re
from pathlib import Path

from psycopg import sql

from trinity.errors import BugError

FOLDER = Path(__file__).parent / "queries"
_NAME_LINE = re.compile(r"^-- name: *([a-z0-9_]+) *$", re.MULTILINE)


def load(name: str) -> str:
    """The statement `<room>.<name>`, without its last semicolon; BugError when there is none."""
    room, _, statement = name.partition(".")
    found = _room(room).get(statement)
    if found is None:
        raise BugError(f"there is no statement {statement!r} in {room}.sql")
    return found


@functools.cache
def load_for(name: str, table: str) -> str:
    """The same for a statement about `{table}`, with this table's name."""
    return sql.SQL(load(name)).format(table=sql.Identifier(table)).as_string()


@functools.cache
def _room(room: str) -> dict[str, str]:
    path = FOLDER / f"{room}.sql"
    if not path.is_file():
        raise BugError(f"there are no queries {path.name}")
    return split(path.read_text())


def split(text: str) -> dict[str, str]:
    """The statements of a file by name; what stands before the first name belongs to no statement."""
    parts = _NAME_LINE.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise BugError(f"a statement's name stands twice in {names}")
    return {name: body.strip().removesuffix(";") for name, body in zip(names, bodies, strict=True)}
