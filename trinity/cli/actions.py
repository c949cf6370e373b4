"""The operator's commands on who may ask: how one is written down, and how it runs.

Rules: `prepare` checks all values (trinity/access/values.py) before there is a connection, and returns what is to be
done on one; that is one transaction, whose changes are written down as this user's (trinity/access/audit.py).
What a command did is an object, for programs (--json), and lines for people. A new key is in that outcome and nowhere
else.
"""

import argparse
import os
import pwd
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psycopg

from trinity.access import values
from trinity.access.audit import Actor, acting
from trinity.access.keys import Connection
from trinity.cli.confirm import confirm
from trinity.config import AccessSection, Config
from trinity.errors import StoreSilentError, StoreUnavailableError
from trinity.node.data_dir import is_claimed
from trinity.store import migrate
from trinity.store.connect import connect, reason_of
from trinity.store.database import database_url, is_embedded
from trinity.store.watch import watched
from trinity.terminal import print_result

Parsed = argparse.Namespace
_Value = TypeVar("_Value")

# An option's value for "what the key's plan has".
OF_PLAN = "plan"
# A node's first start answers lookups after 4 s and has made its database after 10 s, on two busy processors.
_DATABASE_TRIES, _DATABASE_WAIT_SECONDS = 120, 0.25
# `for`, `from` and `class` are no names in Python.
_DESTINATIONS = {"--for": "duration", "--from": "since", "--class": "admission_class"}


class ActionOutcome(NamedTuple):
    """What a command did: for programs, and for people."""

    content: dict[str, Any]
    lines: list[str]


Work = Callable[[Connection], ActionOutcome]


class Argument(NamedTuple):
    """A place or an option of a command line; an option without a default may be left out, a switch has no value."""

    name: str
    text: str
    default: str | None = None
    required: bool = False
    is_switch: bool = False


class Action(NamedTuple):
    """What a command line can ask for: its word, what it is for, its arguments, and how it is made ready.

    `ends` says, of an act that is for good, what it would end; an empty text where nothing would be lost.
    """

    word: str
    text: str
    arguments: tuple[Argument, ...]
    prepare: Callable[[Parsed, AccessSection], Work]
    ends: Callable[[Connection, Parsed], str] | None = None


LIMITS = (
    Argument("--rate", "requests a second (200, 0.2) or in a time (1/5s, 90/m), 0 for no limit"),
    Argument("--burst", "requests at once"),
    Argument("--quota", "lookups a month (each asset that is asked for is one), 0 for no limit"),
)
LANGUAGE = Argument("--language", "what the customer prefers to read: en, de, pt-BR")
EMAIL = Argument("--email", "where to reach the customer")


def add_actions(parser: argparse.ArgumentParser, actions: Sequence[Action]) -> None:
    """A command with a word of its own for each action: `trinity keys create`."""
    words = parser.add_subparsers(required=True, metavar="ACTION")
    for action in actions:
        of_action = words.add_parser(action.word, help=action.text, description=action.text)
        # The same as before the word; left out here, they keep what was given there.
        of_action.add_argument("--json", action="store_true", dest="as_json", default=argparse.SUPPRESS)
        of_action.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)
        add_action(of_action, action)


def add_action(parser: argparse.ArgumentParser, action: Action) -> None:
    """A command that is one action: `trinity block`."""
    parser.set_defaults(action=action)
    if action.ends is not None:
        parser.add_argument("--yes", action="store_true", help="do not ask whether it is really wanted")
    for name, text, default, required, is_switch in action.arguments:
        if is_switch:
            parser.add_argument(name, help=text, action="store_true")
        elif name.startswith("--"):
            destination = _DESTINATIONS.get(name, name.lstrip("-").replace("-", "_"))
            parser.add_argument(name, help=text, default=default, required=required, dest=destination)
        else:
            parser.add_argument(name, help=text, metavar=name.upper())


def perform(config: Config, parsed: Parsed) -> int:
    """Do what was asked for, and print what came of it."""
    action: Action = parsed.action
    work = action.prepare(parsed, config.access)
    url = database_url(config)
    try:
        _await_database(config, url, is_told=not parsed.as_json)
        with connect(url, "command", autocommit=True) as connection, watched(url, connection):
            if action.ends is not None and (end := action.ends(connection, parsed)):
                confirm(f"{parsed.command} {action.word}", end, parsed.yes)
            with acting(connection, _actor(), _words_of(parsed)):
                outcome = work(connection)
    except StoreSilentError:
        raise  # the node runs, and the address is right
    except (psycopg.Error, StoreUnavailableError) as error:
        reason = reason_of(error) if isinstance(error, psycopg.Error) else error.reason
        advice = "check DATABASE_URL"
        if is_embedded(config):
            is_here = is_claimed(config.node.data_dir)
            advice = "logs/database.jsonl says why" if is_here else "start the node, it has the database"
        raise StoreUnavailableError(f"{advice} ({reason})") from None
    print_result(outcome.content, outcome.lines, parsed.as_json)
    return 0


def _await_database(config: Config, url: str, is_told: bool) -> None:
    """A database with today's tables; one that the node of this directory is still starting is waited for.

    People are told; with --json standard error has the object of an error and nothing else.
    """
    for number in range(_DATABASE_TRIES):
        try:
            migrate.ensure(url)
        except StoreSilentError:
            raise
        except StoreUnavailableError:
            if number == _DATABASE_TRIES - 1 or not (is_embedded(config) and is_claimed(config.node.data_dir)):
                raise
            if number == 0 and is_told:
                print("waiting for the node's database, which is starting", file=sys.stderr)
            select.select([], [], [], _DATABASE_WAIT_SECONDS)
        else:
            return


def _actor() -> Actor:
    """Whoever typed it: the user of this machine, by number where that has no name here."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return Actor(name, "command")


def _words_of(parsed: Parsed) -> str:
    """`keys revoke`, `block`."""
    return " ".join(dict.fromkeys((parsed.command, parsed.action.word)))


def given(check: Callable[[str, str], _Value], field: str, text: str | None) -> _Value | None:
    """The checked value of an option; None when it was left out."""
    return None if text is None else check(field, text)


def given_limits(parsed: Parsed, of_plan: bool = False) -> dict[str, int | None]:
    """The limits that were given, `of_plan` for a plan itself; None, for a key only, where its plan's are wanted."""
    texts = {"rate": parsed.rate, "burst": parsed.burst, "quota": parsed.quota}
    given = {
        word: None if text == OF_PLAN and not of_plan else text for word, text in texts.items() if text is not None
    }
    return values.limits(given, of_plan=of_plan, prefix="--")
