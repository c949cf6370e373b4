"""`trinity events`: what happened to accounts and nodes, the newest first."""

import argparse
import json

from trinity.access import accounts, values
from trinity.access.keys import Connection
from trinity.cli.actions import Action, ActionOutcome, Argument, Parsed, Work, add_action, given, perform
from trinity.cli.text import table, when
from trinity.config import AccessSection, Config
from trinity.push import events

_LISTED_MAX = 100_000


def _list_events(parsed: Parsed, _section: AccessSection) -> Work:
    count = values.whole_number("--count", parsed.count, 1, _LISTED_MAX)
    name = given(values.name, "--account", parsed.account)
    types = events.read_types("--type", [parsed.type]) if parsed.type is not None else []

    def work(connection: Connection) -> ActionOutcome:
        account_id = None if name is None else accounts.find(connection, name).id
        found = events.read_feed(connection, account_id, types, count=count)
        rows = [(when(e.occurred_at), e.account or "(nodes)", e.type, e.uid, json.dumps(e.data)) for e in found]
        lines = table(("time", "account", "type", "event", "data"), rows) if found else ["no events"]
        if len(found) == count:
            lines.append(f"the newest {count}; --count shows more")
        return ActionOutcome({"events": found}, lines)

    return work


ACTION = Action(
    "events",
    "list what happened to accounts and nodes",
    (
        Argument("--account", "of this account alone"),
        Argument("--type", "of this type alone; `key.*`: of all that begin so"),
        Argument("--count", "how many at most", "50"),
    ),
    _list_events,
)


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    add_action(parser, ACTION)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """List them."""
    return perform(config, parsed)
