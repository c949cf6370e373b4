"""`trinity plans`, as they are typed, on a real PostgreSQL"""

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main


def test_plans_are_set_and_listed(typed: Run) -> None:
    """In part, the dry run of each included, and new ones with all their limits."""
    code, found, _ = typed("plans", "set", "free", "--dry-run", "on")
    assert (code, found["plan"]["dry_run"], found["created"]) == (0, True, False)
    assert typed("plans", "set", "gold", "--rate", "0", "--burst", "0", "--quota", "0")[1]["created"] is True
    listed = typed("plans", "list")[1]["plans"]
    assert [(plan["name"], plan["dry_run"]) for plan in listed][::4] == [("free", True), ("gold", False)]


def test_people_get_lines(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """One a plan."""
    assert main(["plans", "set", "free", "--dry-run", "on"]) == 0
    assert "only counted" in capsys.readouterr().out
    assert main(["plans", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["free", "10", "20", "1000000", "on", "0", "0"]


def test_a_rate_below_one_a_second_is_set_and_shown(typed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """As a decimal or as requests in a time; both are the same."""
    for text in ("0.2", "1/5s"):
        plan = typed("plans", "set", "slow", "--rate", text, "--burst", "1", "--quota", "0")[1]["plan"]
        assert (plan["rate_requests"], plan["rate_seconds"], plan["rate_per_second"]) == (1, 5, 0.2)
        key = typed("keys", "create", "--account", "acme", "--plan", "pro", "--rate", text)[1]["key"]
        assert (key["rate_requests"], key["rate_seconds"], key["burst"]) == (1, 5, 2000)
    assert typed("plans", "set", "slow", "--rate", "3")[1]["plan"]["rate_per_second"] == 3
    assert typed("plans", "set", "slow", "--rate", "90/m")[1]["plan"]["rate_seconds"] == 60
    assert main(["plans", "list"]) == 0
    assert "90/60s" in capsys.readouterr().out
    assert main(["keys", "list"]) == 0
    assert "1/5s" in capsys.readouterr().out


def test_a_price_is_set(typed: Run) -> None:
    """With the day since when it holds; a plan, an amount, a currency and a day that are none are refused by name."""
    words = ["plans", "price", "standard", "--price", "49.90", "--currency", "eur", "--from", "2026-12-01"]
    assert typed(*words)[1]["price"] == {
        "plan": "standard", "since": "2026-12-01", "price": "49.90", "currency": "EUR",
    }  # fmt: skip
    for option, value in (("--price", "4,9"), ("--price", "1.00001"), ("--currency", "euro"), ("--from", "2026-02-30")):
        wrong = [value if word == words[words.index(option) + 1] else word for word in words]
        code, _, error = typed(*wrong)
        assert (code, error["error"]["message"].startswith(f"{option}: ")) == (2, True), wrong
    code, _, error = typed(*[word if word != "standard" else "gold" for word in words])
    assert (code, "there is no plan" in error["error"]["message"]) == (1, True)


WRONG = [
    ("--rate: ", ["plans", "set", "free", "--rate", "plan"]),
    ("--rate: ", ["plans", "set", "free", "--rate", "9999999999"]),
    ("--rate: ", ["plans", "set", "free", "--rate", "1/0s"]),
    ("--rate: ", ["plans", "set", "free", "--rate", "-0.5"]),
    ("--rate: ", ["plans", "set", "free", "--rate", "0.00001"]),
    ("--dry-run: ", ["plans", "set", "free", "--dry-run", "yes"]),
    ("--rate: ", ["plans", "set", "gold", "--dry-run", "on"]),
    ("--burst: ", ["plans", "set", "free", "--burst", "0"]),
    ("PLAN: ", ["plans", "set", " "]),
]


def test_what_is_wrong_is_named(typed: Run) -> None:
    """Exit code 2, and the sentence begins with the field."""
    for start, words in WRONG:
        code, _, error = typed(*words)
        assert code == 2, words
        assert error["error"]["message"].startswith(start), words
