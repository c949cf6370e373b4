"""`trinity block | unblock | blocks`, as they are typed, on a real PostgreSQL"""

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main


def test_networks_are_blocked_listed_and_unblocked(typed: Run) -> None:
    """Narrow IPv6 is widened; wider blocks that remain are named."""
    code, found, _ = typed("block", "2001:db8::1", "--reason", "flood", "--for", "1h")
    assert (code, found["block"]["network"], found["block"]["reason"]) == (0, "2001:db8::/64", "flood")
    assert [block["network"] for block in typed("blocks")[1]["blocks"]] == ["2001:db8::/64"]
    assert typed("unblock", "2001:db8::")[1]["unblocked"] is True
    typed("block", "203.0.113.0/24")
    typed("block", "203.0.113.9")
    assert typed("unblock", "203.0.113.9")[1]["still_blocked_by"] == ["203.0.113.0/24"]


def test_unblocking_what_is_not_blocked_is_told(typed: Run) -> None:
    """Exit code 1 and nothing on standard output: where to look, or which wider block holds the address."""
    code, content, error = typed("unblock", "203.0.113.9")
    assert (code, content, error["error"]["kind"]) == (1, None, "AbsentError")
    assert error["error"]["message"] == "there is no block of 203.0.113.9/32: `trinity blocks` lists them all"
    typed("block", "203.0.113.0/24")
    code, _, error = typed("unblock", "203.0.113.9")
    assert code == 1
    assert error["error"]["message"].endswith("203.0.113.0/24 holds it: unblock that")


def test_people_get_lines(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """What is blocked, until when, and that a /64 is."""
    assert main(["blocks"]) == 0
    assert capsys.readouterr().out == "nothing is blocked\n"
    assert main(["block", "2001:db8::1", "--for", "1h"]) == 0
    assert "/64" in capsys.readouterr().out.splitlines()[1]
    assert main(["block", "203.0.113.0/24"]) == 0
    assert capsys.readouterr().out == "203.0.113.0/24 is blocked until it is unblocked\n"
    assert main(["blocks"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["block", "203.0.113.5"]) == 0
    assert main(["unblock", "203.0.113.5"]) == 0
    assert "but 203.0.113.0/24, which holds it, is still blocked" in capsys.readouterr().out


WRONG = [
    (2, "address: ", ["block", "nobody"]),
    (2, "address: ", ["block", "2001:db8::1%eth0"]),
    (2, "--for: ", ["block", "203.0.113.1", "--for", "0"]),
    (2, "--reason: ", ["block", "203.0.113.1", "--reason", "\x1b[2J"]),
    (2, "address: ", ["unblock", "203.0.113.1/8"]),
    (1, "block of 127.0.0.1/32: ", ["block", "127.0.0.1"]),
    (1, "block of ::/0: ", ["block", "::/0"]),
    (1, "block of 198.51.100.0/24: 198.51.100.7/32 is a trusted proxy", ["block", "198.51.100.0/24"]),
]


def test_what_is_wrong_or_protected_is_named(typed: Run) -> None:
    """2 for what is no network, 1 for what must never be blocked; nothing is blocked then."""
    for code, start, words in WRONG:
        found, _, error = typed(*words)
        assert found == code, words
        assert error["error"]["message"].startswith(start), words
    assert typed("blocks")[1]["blocks"] == []
