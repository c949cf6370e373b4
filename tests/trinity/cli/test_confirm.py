"""trinity/cli/confirm.py, on a real terminal, and its use by the commands that end something for good"""

import os
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main
from trinity.cli.confirm import confirm
from trinity.errors import InputError, RefusedError

Answer = Callable[[bytes], None]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answer]:
    """Standard input is a terminal; what a person types there is written by the test."""
    person, program = os.openpty()
    with open(program) as typed_here:
        monkeypatch.setattr(sys, "stdin", typed_here)
        yield lambda answer: os.write(person, answer) and None
    os.close(person)


@pytest.mark.parametrize(("answer", "is_wanted"), [
    (b"y\n", True), (b"YES\n", True), (b"\n", False), (b"n\n", False), (b"yeah\n", False), (b"\x04", False),
])  # fmt: skip
def test_only_a_clear_yes_is_a_yes(
    terminal: Answer, capsys: pytest.CaptureFixture[str], answer: bytes, is_wanted: bool
) -> None:
    """The question is on standard error, with what would end; an empty line and Ctrl-D are a no."""
    terminal(answer)
    if is_wanted:
        confirm("keys revoke", "Key 1 is refused.", is_sure=False)
    else:
        with pytest.raises(RefusedError, match="keys revoke: it was not confirmed, so nothing was changed"):
            confirm("keys revoke", "Key 1 is refused.", is_sure=False)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "Key 1 is refused. That is for good.\nAre you sure? [y/N] "


def test_where_nobody_can_be_asked_it_must_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal only --yes does it, and without a question."""
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        with pytest.raises(InputError, match=r"--yes: Key 1 is refused\. .* say --yes"):
            confirm("keys revoke", "Key 1 is refused.", is_sure=False)
        confirm("keys revoke", "Key 1 is refused.", is_sure=True)


def test_a_revocation_is_confirmed(typed: Run, terminal: Answer) -> None:
    """No: exit code 1 and the key still works; yes: it is revoked; the same again asks nothing, for nothing ends."""
    typed("keys", "create", "--account", "acme")
    terminal(b"no\n")
    assert main(["keys", "revoke", "1"]) == 1
    assert main(["keys", "show", "1"]) == 0
    terminal(b"y\n")
    assert main(["keys", "revoke", "1"]) == 0
    assert main(["keys", "revoke", "1"]) == 0


def test_acts_for_good_need_yes_in_a_script(typed: Run) -> None:
    """Exit code 2 and one JSON object that names --yes; with it the usual object."""
    typed("keys", "create", "--account", "acme")
    for words in (["revoke", "1"], ["rotate", "1", "--grace", "0"]):
        code, content, error = typed("keys", *words)
        assert (code, content, error["error"]["kind"]) == (2, None, "InputError"), words
        assert error["error"]["message"].startswith("--yes: Key 1 (trk_"), words
    assert typed("keys", "show", "1")[1]["key"]["state"] == "active"
    code, found, _ = typed("keys", "rotate", "1", "--grace", "0", "--yes")
    assert (code, found["old_key"]["state"]) == (0, "revoked")
    code, found, _ = typed("keys", "revoke", "2", "--yes")
    assert (code, found["key"]["state"], found["changed"]) == (0, "revoked", True)
