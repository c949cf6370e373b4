"""`trinity audit`, as it is typed, on a real PostgreSQL"""

import os
import pwd

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main


def test_what_was_typed_is_listed_with_the_user_of_the_machine(typed: Run) -> None:
    """Each command that changed something, the newest first, with its words; what only looks is not there."""
    me = pwd.getpwuid(os.getuid()).pw_name
    secret = typed("keys", "create", "--account", "acme")[1]["api_key"]
    typed("keys", "list")
    typed("keys", "rotate", "1", "--grace", "1h")
    typed("plans", "set", "free", "--burst", "33")
    typed("block", "203.0.113.7")
    found = typed("audit")[1]["entries"]
    assert {(entry["actor"], entry["via"], entry["address"]) for entry in found} == {(me, "command", None)}
    assert [(entry["action"], entry["kind"], entry["name"]) for entry in found] == [
        ("block", "block", "203.0.113.7/32"),
        ("plans set", "plan", "free"),
        ("keys rotate", "key", "1"),
        ("keys rotate", "key", "2"),
        ("keys create", "key", "1"),
        ("keys create", "account", "acme"),
    ]
    assert secret[12:] not in str(found)
    assert [entry["name"] for entry in typed("audit", "--kind", "key", "--name", "1")[1]["entries"]] == ["1", "1"]
    assert typed("audit", "--by", "nobody else")[1]["entries"] == []


def test_people_get_a_line_an_entry(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With what changed, before and after."""
    assert main(["audit"]) == 0
    assert capsys.readouterr().out == "nothing was changed\n"
    typed("keys", "create", "--account", "acme")
    typed("keys", "suspend", "1")
    assert main(["audit", "--count", "2"]) == 0
    head, suspended, made, more = capsys.readouterr().out.splitlines()
    assert head.split() == ["time", "who", "from", "did", "to", "what"]
    assert suspended.endswith('keys suspend  key 1  state: "active" -> "suspended"')
    assert '+account: "acme"' in made
    assert more == "the newest 2; --count shows more"


def test_money_has_the_digits_that_it_was_written_with(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """As text, as every amount: 19.90 is no 19.9."""
    for price in ("19.90", "25"):
        typed("plans", "price", "pro", "--price", price, "--currency", "EUR", "--from", "2026-01-01")
    assert [(e["before"] or {}).get("price") for e in typed("audit")[1]["entries"]] == ["19.90", None]
    assert [e["after"]["price"] for e in typed("audit")[1]["entries"]] == ["25", "19.90"]
    assert main(["audit"]) == 0
    assert 'price: "19.90" -> "25"' in capsys.readouterr().out


@pytest.mark.parametrize(("option", "value"), [("--count", "0"), ("--by", "\n"), ("--kind", ""), ("--name", "x" * 101)])
def test_what_is_wrong_is_named(typed: Run, option: str, value: str) -> None:
    """Exit code 2, and the option."""
    code, _, error = typed("audit", option, value)
    assert (code, error["error"]["message"].partition(":")[0]) == (2, option)
