"""`trinity keys`, as it is typed, on a real PostgreSQL"""

import contextlib

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main
from trinity.access.keys import new_key


def test_a_keys_whole_life(typed: Run) -> None:
    """Created, listed, shown, limited, rotated, suspended, resumed, revoked; shown once each."""
    code, made, _ = typed("keys", "create", "--account", "acme", "--rate", "7", "--name", "shop")
    key, secret = made["key"], made["api_key"]
    assert (code, key["rate_per_second"], key["name"], key["plan"]) == (0, 7, "shop", "free")
    assert secret.startswith(key["prefix"])
    listed = typed("keys", "list")[1]["keys"]
    assert [row["id"] for row in listed] == [key["id"]]
    assert key["used"] == 0, "it is new"
    assert typed("keys", "show", key["prefix"])[1]["key"] == key | {"used": None}, "there is no node here that counts"
    limited = typed("keys", "limit", str(key["id"]), "--rate", "5", "--burst", "9")[1]["key"]
    assert (limited["rate_per_second"], limited["burst"]) == (5, 9)
    limited = typed("keys", "limit", str(key["id"]), "--rate", "plan", "--burst", "plan", "--plan", "pro")[1]["key"]
    assert (limited["rate_per_second"], limited["burst"], limited["own_limits"]) == (1000, 2000, False)
    rotated = typed("keys", "rotate", key["prefix"], "--grace", "1h")[1]
    assert rotated["old_key"]["replaced_by"] == rotated["key"]["id"]
    assert rotated["api_key"] != secret
    number = str(rotated["key"]["id"])
    for word, state, is_change in (
        ("suspend", "suspended", True), ("suspend", "suspended", False), ("resume", "active", True),
        ("revoke", "revoked", True),
    ):  # fmt: skip
        code, found, _ = typed("keys", word, number, *(["--yes"] if word == "revoke" else []))
        assert (code, found["key"]["state"], found["changed"]) == (0, state, is_change)
    everything = str(typed("keys", "list")) + str(typed("keys", "show", number))
    assert secret not in everything
    assert rotated["api_key"] not in everything


def test_people_get_lines(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A new key stands alone on the first line, for `head -1`; the same words before and after the action."""
    assert main(["keys", "create", "--account", "Jürgen", "--expires", "90d", "--language", "de"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("trk_")
    assert any("shown this once" in line for line in lines)
    assert main(["keys", "rotate", "1"]) == 0
    assert "Key 1 works until " in capsys.readouterr().out
    for words in (["list"], ["show", "2"], ["limit", "2", "--quota", "0"], ["suspend", "2"]):
        assert main(["keys", *words]) == 0
        text = capsys.readouterr().out
        assert "trk_" in text
        assert first not in text
    assert main(["keys", "list", "--count", "1"]) == 0
    assert "the newest 1" in capsys.readouterr().out
    assert main(["keys", "list", "--account", "nobody"]) == 0
    assert capsys.readouterr().out == "no keys\n"


WRONG = [
    (2, "--account: ", ["create", "--account", "\n"]),
    (2, "--rate: ", ["create", "--account", "a", "--rate", "-1"]),
    (2, "--burst: ", ["create", "--account", "a", "--burst", "0"]),
    (2, "--quota: ", ["create", "--account", "a", "--quota", "1e9"]),
    (2, "--expires: ", ["create", "--account", "a", "--expires", "0"]),
    (2, "--language: ", ["create", "--account", "a", "--language", "?"]),
    (1, "there is no plan ", ["create", "--account", "a", "--plan", "gold"]),
    (1, "there is no plan ", ["create", "--account", "a", "--plan", "gölä"]),
    (2, "KEY: ", ["show", "trk_ü"]),
    (1, "there is no key ", ["show", "77"]),
    (1, "there is no key ", ["revoke", "trk_unknown"]),
    (2, "--plan: ", ["limit", "1"]),
    (2, "--grace: ", ["rotate", "1", "--grace", "soon"]),
    (2, "--count: ", ["list", "--count", "0"]),
    (2, "--plan: ", ["create", "--account", "a", "--plan", "\udcff"]),
    (2, "--plan: ", ["limit", "1", "--plan", "\udcff"]),
    (2, "--plan: ", ["list", "--plan", "\udcff"]),
    (2, "--account: ", ["list", "--account", "\udcff"]),
]


def test_what_is_wrong_is_named(typed: Run) -> None:
    """Exit code 2 for a wrong value, 1 for what is not there; the sentence begins with the field, in ASCII."""
    for code, start, words in WRONG:
        found, content, error = typed("keys", *words)
        assert (found, content) == (code, None), words
        assert error["error"]["message"].startswith(start), words
        assert error["error"]["message"].isascii(), words


def test_a_whole_key_is_never_repeated(typed: Run) -> None:
    """Who types a key where its number belongs finds it in no output."""
    secret = typed("keys", "create", "--account", "a")[1]["api_key"]
    found = typed("keys", "revoke", secret)
    assert found[0] == 2
    assert secret[12:] not in str(found)


@pytest.mark.parametrize("words", [["show", "1"], ["show", "1", "--key="], ["show", "--name", "x"], ["list", "--plan"]])
def test_argparse_does_not_repeat_a_key_either(
    typed: Run, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As one argument too many, as the value of an option that there is not, as an action, as a plan."""
    key = new_key()
    lines = [["keys", *words[:-1], words[-1] + key], ["keys", *words, key], ["keys", key], [key]]
    for line in lines:
        with contextlib.suppress(SystemExit):
            main(line)
        printed = capsys.readouterr()
        assert key[12:] not in printed.out + printed.err


def test_room_in_shared_memory_is_checked(typed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that no node could know is refused (1)."""
    typed("keys", "create", "--account", "a")
    monkeypatch.setenv("KEYS_MAX", "1")
    code, _, error = typed("keys", "create", "--account", "a")
    assert (code, error["error"]["kind"]) == (1, "RefusedError")
    assert "KEYS_MAX" in error["error"]["message"]
