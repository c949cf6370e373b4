"""The operator's commands on who may ask: how one is written down, and how it runs.

Rules: `prepare` checks all values (`values.py`) before there is a connection, and returns what is to be done on one.
What a command did is an object, for programs (--json), and lines for people. A new key is in that outcome and nowhere
else.
"""

import argparse
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psycopg

from trinity.access.keys import Connection
from trinity.cli import values
from trinity.config import AccessSection, Config
from trinity.errors import InputError, StoreSilentError, StoreUnavailableError
from trinity.rates import requests_of, seconds_of
from trinity.store import migrate
from trinity.store.connect import connect, reason_of
from trinity.store.database import database_url, is_embedded
from trinity.store.watch import watched
from trinity.terminal import print_result

Parsed = argparse.Namespace
_Value = TypeVar("_Value")

# An option's value for "what the key's plan has".
OF_PLAN = "plan"
# `for` and `from` are no names in Python.
_DESTINATIONS = {"--for": "duration", "--from": "since"}


class ActionOutcome(NamedTuple):
    """What a command did: for programs, and for people."""

    content: dict[str, Any]
    lines: list[str]


Work = Callable[[Connection], ActionOutcome]


class Argument(NamedTuple):
    """A place or an option of a command line; an option without a default may be left out."""

    name: str
    text: str
    default: str | None = None
    required: bool = False


class Action(NamedTuple):
    """What a command line can ask for: its word, what it is for, its arguments, and how it is made ready."""

    word: str
    text: str
    arguments: tuple[Argument, ...]
    prepare: Callable[[Parsed, AccessSection], Work]


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
    for name, text, default, required in action.arguments:
        if name.startswith("--"):
            destination = _DESTINATIONS.get(name, name.lstrip("-").replace("-", "_"))
            parser.add_argument(name, help=text, default=default, required=required, dest=destination)
        else:
            parser.add_argument(name, help=text, metavar=name.upper())


def perform(config: Config, parsed: Parsed) -> int:
    """Do what was asked for, and print what came of it."""
    work = parsed.action.prepare(parsed, config.access)
    url = database_url(config)
    try:
        migrate.ensure(url)
        with connect(url, "command", autocommit=True) as connection, watched(url, connection):
            outcome = work(connection)
    except StoreSilentError:
        raise  # the node runs, and the address is right
    except (psycopg.Error, StoreUnavailableError) as error:
        reason = reason_of(error) if isinstance(error, psycopg.Error) else error.reason
        advice = "start the node, it has the database" if is_embedded(config) else "check DATABASE_URL"
        raise StoreUnavailableError(f"{advice} ({reason})") from None
    print_result(outcome.content, outcome.lines, parsed.as_json)
    return 0


def given(check: Callable[[str, str], _Value], field: str, text: str | None) -> _Value | None:
    """The checked value of an option; None when it was left out."""
    return None if text is None else check(field, text)


def given_limits(parsed: Parsed, of_plan: bool = True) -> dict[str, int | None]:
    """The limits that were given; None, for a key only, where its plan's are wanted."""
    options = (
        # A burst of 0 is for plans without a rate.
        ("burst", "--burst", parsed.burst, 1 if of_plan else 0, values.BURST_MAX),
        ("monthly_quota", "--quota", parsed.quota, 0, values.QUOTA_MAX),
    )
    rate = _given_rate(parsed.rate, of_plan)
    return rate | {
        field: None if of_plan and text == OF_PLAN else values.whole_number(option, text, low, high)
        for field, option, text, low, high in options
        if text is not None
    }


def _given_rate(text: str | None, of_plan: bool) -> dict[str, int | None]:
    if text is None:
        return {}
    if of_plan and text == OF_PLAN:
        return {"rate_requests": None, "rate_seconds": None}
    rate = values.rate("--rate", text)
    return {"rate_requests": requests_of(rate), "rate_seconds": seconds_of(rate)}


def given_lifetime(field: str, text: str | None) -> datetime.timedelta | None:
    """A time that is longer than nothing; None when it was left out."""
    lifetime = given(values.duration, field, text)
    if lifetime == datetime.timedelta():
        raise InputError(field, "0 would be the end before the beginning")
    return lifetime
