"""trinity/push/idempotency.py, on a real PostgreSQL"""

import datetime
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import InputError, RefusedError
from trinity.limits import IDEMPOTENCY_SECONDS
from trinity.push.idempotency import (
    GivenAnswer,
    KeyInUseError,
    KeyReusedError,
    digest_of,
    once,
    read_key,
)

Connection = psycopg.Connection[Any]
DIGEST, OTHER = digest_of("POST /x", b'{"a":1}'), digest_of("POST /x", b'{"a":2}')


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """With a table that counts effects."""
    with psycopg.connect(database_url, autocommit=True) as found:
        found.execute("CREATE TABLE effects (key text)")
        yield found


def ask(connection: Connection, key: str, digest: bytes = DIGEST, account: int | None = 1) -> GivenAnswer:
    """A request whose effect is a row."""

    def work() -> GivenAnswer:
        connection.execute("INSERT INTO effects VALUES (%s)", [key])
        return GivenAnswer(201, f'{{"made":"{key}"}}')

    with connection.transaction():
        return once(connection, account, key, digest, work)


def effects(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT key FROM effects")]


def test_the_effect_is_had_once_and_the_answer_given_again(connection: Connection) -> None:
    """To the same request of the same account; keys of others, and of the operator, are others."""
    assert ask(connection, "k") == GivenAnswer(201, '{"made":"k"}')
    assert ask(connection, "k") == GivenAnswer(201, '{"made":"k"}', is_replay=True)
    assert not ask(connection, "k", account=2).is_replay
    assert not ask(connection, "k", account=None).is_replay
    assert effects(connection) == ["k"] * 3
    with pytest.raises(KeyReusedError):
        ask(connection, "k", OTHER)


def test_what_failed_leaves_nothing_behind(connection: Connection) -> None:
    """Neither its effect nor its claim: the same key may be tried again, also with another body."""

    def work() -> GivenAnswer:
        connection.execute("INSERT INTO effects VALUES ('half')")
        raise RefusedError("x", "y")

    with pytest.raises(RefusedError), connection.transaction():
        once(connection, 1, "k", DIGEST, work)
    assert effects(connection) == []
    assert not ask(connection, "k", OTHER).is_replay


def test_a_session_that_dies_over_it_has_done_nothing(connection: Connection, database_url: str) -> None:
    """Until then the key is in use; afterwards the next one has the effect."""
    with psycopg.connect(database_url) as dying:
        once(dying, 1, "k", DIGEST, lambda: GivenAnswer(201, str(dying.execute("INSERT INTO effects VALUES ('lost')"))))
        with pytest.raises(KeyInUseError):
            ask(connection, "k")
        connection.execute("SELECT pg_terminate_backend(%s, 30000)", [dying.info.backend_pid])
        assert not ask(connection, "k").is_replay
        dying.close()
    assert effects(connection) == ["k"]


def test_answers_are_kept_for_a_day(connection: Connection) -> None:
    """Then the key is a new one."""
    age = datetime.timedelta(seconds=IDEMPOTENCY_SECONDS)
    ask(connection, "k")
    connection.execute("UPDATE push_idempotency SET created_at = now() - %s", [age])
    assert not ask(connection, "k", OTHER).is_replay
    assert ask(connection, "k", OTHER).is_replay


@given(st.text(max_size=300))
def test_a_key_is_printable_ascii_with_or_without_quotation_marks(written: str) -> None:
    """Anything else is an InputError that names the header."""
    try:
        key = read_key(written)
    except InputError as error:
        key = error.field
    assert key in (written, written[1:-1], "Idempotency-Key")
    assert 1 <= len(key) <= 255
    assert key.isascii()
    assert key.isprintable()


def test_a_key_in_quotation_marks_is_the_same_key() -> None:
    """As the draft writes it, and as most clients do."""
    assert read_key('"8e03978e-40d5"') == read_key("8e03978e-40d5") == "8e03978e-40d5"
    for wrong in ("", '""', "a b", 'a"', "x" * 256, "ü"):
        with pytest.raises(InputError):
            read_key(wrong)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_how_a_body_is_spaced_and_ordered_does_not_count(body: dict[str, Any]) -> None:
    """What it says does, and where it goes."""
    digest = digest_of("POST /x", json.dumps(body).encode())
    assert digest_of("POST /x", json.dumps(dict(reversed(body.items())), indent=2).encode()) == digest
    assert digest_of("POST /y", json.dumps(body).encode()) != digest
    assert digest_of("POST /x", json.dumps(body | {"more": 1, "x": 2}).encode()) != digest


@given(st.binary(max_size=50))
def test_a_body_that_is_no_json_has_a_digest_too(body: bytes) -> None:
    """Whoever reads it refuses it."""
    assert len(digest_of("POST /x", body)) == 32
