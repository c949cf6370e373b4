"""`trinity logins`, as it is typed, on a real PostgreSQL"""

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main


def test_a_login_is_made_listed_and_revoked(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Its secret is shown once; each act is in the audit, the secret in none of it."""
    code, made, _ = typed("logins", "create", "Anna", "--role", "billing")
    assert (code, made["login"]["name"], made["login"]["role"]) == (0, "Anna", "billing")
    assert made["secret"].startswith("trl_")
    assert typed("logins", "revoke", "Anna", "--yes")[1]["changed"] is True
    assert typed("logins", "revoke", "Anna", "--yes")[1]["changed"] is False
    assert main(["logins", "list"]) == 0
    listed = capsys.readouterr().out
    assert "Anna" in listed
    assert made["secret"] not in listed
    entries = typed("audit", "--kind", "login")[1]["entries"]
    assert [entry["action"] for entry in entries] == ["logins revoke", "logins create"]
    assert made["secret"] not in str(entries)


def test_people_are_told_that_a_secret_is_shown_once(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The secret alone on its line, to be copied."""
    assert main(["logins", "create", "Bert", "--role", "operator"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("trl_")
    assert "this once" in lines[2]


def test_what_a_revocation_ends_is_said_in_a_sentence(typed: Run) -> None:
    """Nobody can be asked here, so the exit code is 2 and nothing is changed."""
    typed("logins", "create", "Anna", "--role", "billing")
    code, _, error = typed("logins", "revoke", "Anna")
    assert code == 2
    said = "--yes: The login Anna (billing) ends, and its open sessions with it. That is for good, "
    assert error["error"]["message"].startswith(said)
    assert typed("logins", "list")[1]["logins"][0]["revoked_at"] is None


@pytest.mark.parametrize(
    ("code", "start", "words"),
    [
        (2, "--role: ", ["logins", "create", "Anna", "--role", "boss"]),
        (2, "NAME: ", ["logins", "create", " ", "--role", "billing"]),
        (1, "there is no login", ["logins", "revoke", "nobody", "--yes"]),
    ],
)
def test_what_is_wrong_is_named(typed: Run, code: int, start: str, words: list[str]) -> None:
    """By the field, and with what is allowed."""
    found, _, error = typed(*words)
    assert found == code
    assert error["error"]["message"].startswith(start)
