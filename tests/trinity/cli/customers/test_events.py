"""`trinity events`, as it is typed, on a real PostgreSQL"""

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main


def test_events_are_listed_for_programs_and_for_people(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first; of one account or of one kind alone."""
    for account in ("acme", "other"):
        typed("keys", "create", "--account", account)
    typed("keys", "revoke", "1", "--yes")
    found = typed("events")[1]["events"]
    assert [(event["type"], event["account"]) for event in found] == [
        ("key.revoked", "acme"), ("key.created", "other"), ("key.created", "acme"),
    ]  # fmt: skip
    assert len(typed("events", "--account", "acme", "--type", "key.created")[1]["events"]) == 1
    assert len(typed("events", "--count", "2")[1]["events"]) == 2
    assert main(["events"]) == 0
    printed = capsys.readouterr().out
    assert "key.revoked" in printed
    assert found[0]["uid"] in printed


@pytest.mark.parametrize(
    ("code", "start", "words"),
    [
        (2, "--type: ", ["--type", "keys"]),
        (2, "--count: ", ["--count", "0"]),
        (1, "there is no account", ["--account", "x"]),
    ],
)
def test_what_is_wrong_is_named(typed: Run, code: int, start: str, words: list[str]) -> None:
    """By its option."""
    found, _, error = typed("events", *words)
    assert found == code
    assert error["error"]["message"].startswith(start)
