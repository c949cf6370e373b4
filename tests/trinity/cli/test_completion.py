"""`trinity completion`: the script, read and asked by a real shell."""

import shutil
import subprocess

import pytest

from trinity.__main__ import COMMANDS
from trinity.cli.completion import SHELLS, script

# What bash calls when a word is to be completed; COMPREPLY holds what it offers.
ASK = """
source /dev/stdin
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
"$(complete -p trinity | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def of_bash() -> str:
    return script("bash")


def offered(text: str, *words: str) -> set[str]:
    run = subprocess.run(
        ["bash", "-c", ASK, "bash", *words], input=text, capture_output=True, text=True, timeout=30, check=True
    )
    return set(run.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_their_actions_and_their_arguments(of_bash: str) -> None:
    """As a shell asks for it when the key is pressed."""
    assert {command.name for command in COMMANDS} <= offered(of_bash, "trinity", "")
    assert offered(of_bash, "trinity", "doc") == {"doctor"}
    assert offered(of_bash, "trinity", "keys", "cr") == {"create"}
    assert "--plan" in offered(of_bash, "trinity", "keys", "create", "--p")
    assert offered(of_bash, "trinity", "completion", "z") == {"zsh"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_an_argument_that_is_a_file_is_completed_with_files(of_bash: str) -> None:
    """Told by its metavar."""
    assert "pyproject.toml" in offered(of_bash, "trinity", "config", "check", "--config", "pypro")


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "bash"])
def test_every_other_shell_gets_a_script_that_names_all_commands(shell: str) -> None:
    """zsh, tcsh and fish are not installed everywhere: their scripts are looked at."""
    text = script(shell)
    assert [command.name for command in COMMANDS if command.name not in text] == []
