"""`trinity audit`: who changed keys, plans, accounts and blocks, when, from where, and what."""

import argparse
import json

from trinity.access import audit, values
from trinity.access.audit import AuditEntry
from trinity.access.keys import Connection
from trinity.cli.actions import Action, ActionOutcome, Argument, Parsed, Work, add_action, given, perform
from trinity.cli.text import table, when
from trinity.config import AccessSection, Config

_LISTED_MAX = 1_000_000


def _list_entries(parsed: Parsed, _section: AccessSection) -> Work:
    count = values.whole_number("--count", parsed.count, 1, _LISTED_MAX)
    wanted = audit.Wanted(
        actor=given(values.name, "--by", parsed.by),
        kind=given(values.name, "--kind", parsed.kind),
        name=given(values.name, "--name", parsed.name),
    )

    def work(connection: Connection) -> ActionOutcome:
        found = audit.list_entries(connection, wanted, count)
        rows = [
            (when(e.time), e.actor, e.address or e.via, e.action, f"{e.kind} {e.name}", change_text(e)) for e in found
        ]
        lines = table(("time", "who", "from", "did", "to", "what"), rows) if found else ["nothing was changed"]
        if len(found) == count:
            lines.append(f"the newest {count}; --count shows more")
        return ActionOutcome({"entries": found}, lines)

    return work


def change_text(entry: AuditEntry) -> str:
    """`state: "active" -> "revoked"`; of what is new or gone, all that it had."""
    before, after = entry.before or {}, entry.after or {}
    fields = sorted({*before, *after})
    if entry.before is None or entry.after is None:
        sign = "+" if entry.before is None else "-"
        return ", ".join(f"{sign}{field}: {_text((before or after)[field])}" for field in fields)
    return ", ".join(f"{field}: {_text(before.get(field))} -> {_text(after.get(field))}" for field in fields)


def _text(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


ACTION = Action(
    "audit",
    "list who changed what, the newest first",
    (
        Argument("--count", "how many at most", "50"),
        Argument("--by", "of this one alone: a login, `admin`, a user of a machine"),
        Argument("--kind", "of this kind alone: account, plan, price, key, block, subscription"),
        Argument("--name", "of this one alone: an account's or plan's name, a key's number, a network"),
    ),
    _list_entries,
)


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Which entries."""
    add_action(parser, ACTION)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """List them."""
    return perform(config, parsed)
