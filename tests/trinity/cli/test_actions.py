"""trinity/cli/actions.py"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trinity.cli.conftest import Run, trinity_json  # noqa: F401 - a fixture
from tests.trinity.store.frozen import running_server
from trinity.cli.actions import given_limits
from trinity.cli.customers import accounts, blocks, keys, plans
from trinity.errors import InputError
from trinity.node.data_dir import claim_data_dir


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


def test_a_database_that_the_node_is_starting_is_waited_for(tmp_path: Path) -> None:
    """A command right behind the first start says what it waits for, and then does what it was asked."""
    environment = os.environ | {"TRINITY_DATA_DIR": str(tmp_path)}
    environment.pop("DATABASE_URL", None)
    with claim_data_dir(tmp_path):
        command = subprocess.Popen(
            [sys.executable, "-m", "trinity", "keys", "list"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert command.stderr is not None
        assert "waiting for the node's database" in command.stderr.readline()
        with running_server(tmp_path):
            printed, told = command.communicate(timeout=60)
    assert (command.returncode, printed, told) == (0, "no keys\n", "")


def test_a_database_that_does_not_come_is_not_waited_for_forever(
    trinity_json: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The node is there, its database is not: the command says where to look, with --json in one object alone."""
    monkeypatch.setattr("trinity.cli.actions._DATABASE_TRIES", 2)
    with claim_data_dir(tmp_path):
        code, _, error = trinity_json("keys", "list")
    assert code == 1
    assert "logs/database.jsonl" in error["error"]["message"]
