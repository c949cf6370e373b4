"""`trinity accounts`, as they are typed, on a real PostgreSQL"""

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main


def test_accounts_are_set_listed_and_shown(typed: Run) -> None:
    """With the language that the customer prefers, and with their keys."""
    assert typed("accounts", "set", "acme", "--language", "de", "--email", "a@example.org")[0] == 0
    (account,) = typed("accounts", "list")[1]["accounts"]
    assert (account["name"], account["language"], account["email"]) == ("acme", "de", "a@example.org")
    key = typed("keys", "create", "--account", "acme")[1]["key"]
    code, shown, _ = typed("accounts", "show", "acme")
    # A new key has used nothing; later that is the node's to say, and there is none here.
    assert (code, shown["account"], shown["keys"]) == (0, account | {"keys": 1}, [key | {"used": None}])


def test_an_account_is_renamed(typed: Run) -> None:
    """Its keys go with it; a name that is taken or missing is told."""
    typed("keys", "create", "--account", "acme")
    code, found, _ = typed("accounts", "rename", "acme", "Acme Ltd")
    assert (code, found["old_name"], found["account"]["name"]) == (0, "acme", "Acme Ltd")
    assert typed("keys", "list", "--account", "Acme Ltd")[1]["keys"][0]["id"] == 1
    assert typed("accounts", "rename", "acme", "b")[0] == 1


def test_an_account_is_deleted_for_good(typed: Run) -> None:
    """Refused while it has keys, unless they are to be revoked; only --yes does it where nobody can be asked."""
    typed("keys", "create", "--account", "acme")
    code, _, error = typed("accounts", "delete", "acme", "--yes")
    assert (code, error["error"]["kind"]) == (1, "RefusedError")
    assert "--revoke-keys" in error["error"]["message"]
    code, content, error = typed("accounts", "delete", "acme", "--revoke-keys")
    assert (code, content) == (2, None)
    assert error["error"]["message"].startswith("--yes: Account 1 acme is deleted")
    assert "1 of its keys" in error["error"]["message"]
    assert typed("accounts", "list")[1]["accounts"], "nothing was changed"
    code, found, _ = typed("accounts", "delete", "acme", "--revoke-keys", "--yes")
    assert (code, found["revoked_keys"]) == (0, [1])
    assert typed("keys", "show", "1")[1]["key"]["state"] == "revoked"
    assert typed("accounts", "list")[1]["accounts"] == []
    assert typed("accounts", "list", "--all")[1]["accounts"] == [found["account"]]
    assert typed("accounts", "delete", "acme", "--yes")[0] == 1, "it was deleted before"


def test_people_get_lines(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """One an account in the list, all about one where it is shown."""
    assert main(["accounts", "list"]) == 0
    assert capsys.readouterr().out == "no accounts\n"
    assert main(["accounts", "set", "acme"]) == 0
    assert main(["accounts", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:3] == ["1", "acme", "en"]
    assert main(["accounts", "show", "acme"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no keys"
    assert main(["accounts", "rename", "acme", "Acme Ltd"]) == 0
    assert capsys.readouterr().out.startswith("account 1 is Acme Ltd now")
    assert main(["accounts", "delete", "Acme Ltd", "--yes"]) == 0
    assert "its ledger and its bills stay" in capsys.readouterr().out


WRONG = [
    (2, "ACCOUNT: ", ["set", "a\nb"]),
    (2, "--email: ", ["set", "a", "--email", "nobody"]),
    (2, "NEW_NAME: ", ["rename", "a", " "]),
    (2, "NEW_NAME: ", ["rename", "a", "a"]),
    (1, "there is no account 'a'", ["show", "a"]),
    (1, "there is no account 'a'", ["rename", "a", "b"]),
    (1, "there is no account 'a'", ["delete", "a", "--yes"]),
]


def test_what_is_wrong_is_named(typed: Run) -> None:
    """Exit code 2 for a wrong word, 1 for an account that is not there; the sentence begins with what it is about."""
    for found, start, words in WRONG:
        code, _, error = typed("accounts", *words)
        assert code == found, words
        assert error["error"]["message"].startswith(start), words
