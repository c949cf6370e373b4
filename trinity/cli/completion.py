"""`trinity completion SHELL`: a script by which a shell completes our commands and their arguments.

    eval "$(trinity completion bash)"          in ~/.bashrc; a Debian package installs the file instead
    trinity completion zsh >_trinity           in a folder of $fpath

Rules: shtab makes it of the very parsers that read the command line, so it never lags behind them; where an argument is
a file or a folder, its metavar says so.
"""

import argparse
from collections.abc import Iterator

from trinity.config import Config
from trinity.terminal import print_result

SHELLS = ("bash", "zsh", "tcsh", "fish")
_FILES, _FOLDERS = ("FILE",), ("FOLDER", "DIR")


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Whose."""
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(_config: Config, parsed: argparse.Namespace) -> int:
    """Print it."""
    text = script(parsed.shell)
    print_result({"shell": parsed.shell, "script": text}, [text], parsed.as_json)
    return 0


def script(shell: str) -> str:
    """The script; all modules of commands are imported for it."""
    import shtab

    from trinity.__main__ import COMMANDS, parser_of

    parser = parser_of([command.name for command in COMMANDS])
    for action in _actions_of(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell)
    return text


def _actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of the parser and of all below it; argparse has no public way there."""
    for action in parser._actions:  # noqa: SLF001
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for below in action.choices.values():
                yield from _actions_of(below)
