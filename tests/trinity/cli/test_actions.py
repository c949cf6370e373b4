"""trinity/cli/actions.py"""

import argparse
from typing import Any

import pytest

from tests.trinity.cli.conftest import Run, trinity_json  # noqa: F401 - a fixture
from trinity.cli import accounts, blocks, keys, plans
from trinity.cli.actions import given_limits
from trinity.errors import InputError


def parse(module: Any, command: str, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", dest="as_json")
    module.add_arguments(command, parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("words", [("--json", "list"), ("list", "--json")])
def test_json_may_stand_before_and_after_the_word(words: tuple[str, ...]) -> None:
    """And is off when it stands nowhere."""
    assert parse(keys, "keys", *words).as_json is True
    assert parse(keys, "keys", "list").as_json is False


def test_every_action_can_be_typed() -> None:
    """Whatever is in the tables has a help and takes its arguments."""
    for module, command, actions in (
        (keys, "keys", keys.ACTIONS),
        (plans, "plans", plans.ACTIONS),
        (accounts, "accounts", accounts.ACTIONS),
        *((blocks, action.word, [action]) for action in blocks.ACTIONS),
    ):
        for action in actions:
            words = [] if module is blocks else [action.word]
            for name, text, _, required, _ in action.arguments:
                words += [name, "1"] if required else [] if name.startswith("--") else ["1"]
                assert text
            assert parse(module, command, *words).action == action
            assert action.text


def test_limits_are_numbers_or_the_plans() -> None:
    """Left out: not there; `plan`: None, for keys alone."""
    parsed = argparse.Namespace(rate="5", burst=None, quota="plan")
    assert given_limits(parsed) == {"rate_requests": 5, "rate_seconds": 1, "monthly_quota": None}
    with pytest.raises(InputError, match="--quota"):
        given_limits(parsed, of_plan=True)


def test_without_a_node_the_commands_say_what_to_start(trinity_json: Run) -> None:  # noqa: F811
    """The embedded database runs with the node: exit code 1, and no traceback."""
    code, _, error = trinity_json("keys", "list")
    assert (code, error["error"]["kind"]) == (1, "StoreUnavailableError")
    assert "start the node" in error["error"]["message"]
