"""`trinity keys create | list | show | rotate | limit | suspend | resume | revoke`: API keys.

A key is named by its number or by the first characters of it, never by itself: others can read command lines. It is
printed when it is made, and never again.
"""

import argparse
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from trinity.access import keys, values
from trinity.access.keys import Connection
from trinity.cli.actions import (
    EMAIL,
    LANGUAGE,
    LIMITS,
    OF_PLAN,
    Action,
    ActionOutcome,
    Argument,
    Parsed,
    Work,
    add_actions,
    given,
    given_limits,
    perform,
)
from trinity.cli.text import key_lines, key_table, when
from trinity.config import AccessSection, Config
from trinity.errors import InputError
from trinity.vocabulary import KeyState

_LISTED_MAX = 1_000_000


def _create_key(parsed: Parsed, section: AccessSection) -> Work:
    wanted = keys.NewKey(
        account=values.name("--account", parsed.account),
        plan=values.name("--plan", parsed.plan),
        name=values.name("--name", parsed.name) if parsed.name else "",
        limits=keys.OwnLimits(**given_limits(parsed)),
        lifetime=given(values.lifetime, "--expires", parsed.expires),
        language=given(values.language, "--language", parsed.language),
        email=given(values.email, "--email", parsed.email),
    )

    def work(connection: Connection) -> ActionOutcome:
        key, secret = keys.create(connection, wanted, section.keys_max)
        lines = [secret, "", "This is the key. It is shown this once: the database has its SHA-256 only.", ""]
        return ActionOutcome({"api_key": secret, "key": key}, lines + key_lines(key))

    return work


def _list_keys(parsed: Parsed, _section: AccessSection) -> Work:
    count = values.whole_number("--count", parsed.count, 1, _LISTED_MAX)
    account = given(values.name, "--account", parsed.account)
    plan = given(values.name, "--plan", parsed.plan)

    def work(connection: Connection) -> ActionOutcome:
        found = with_use(keys.list_keys(connection, account, plan, count), parsed.data_dir)
        lines = key_table(found) if found else ["no keys"]
        if len(found) == count:
            lines.append(f"the newest {count}; --count shows more")
        return ActionOutcome({"keys": found}, lines)

    return work


def _show_key(parsed: Parsed, _section: AccessSection) -> Work:
    reference = values.key_reference(parsed.key)

    def work(connection: Connection) -> ActionOutcome:
        (key,) = with_use([keys.find(connection, reference)], parsed.data_dir)
        return ActionOutcome({"key": key}, key_lines(key))

    return work


def with_use(found: Sequence[keys.Key], data_dir: Path) -> list[keys.Key]:
    """The keys with what they have used of this month, by the limits of the node in this data directory."""
    # Only these two need it, and it brings numba: half a second.
    import numpy as np

    from trinity.memory.access import LIMITS_FILE
    from trinity.memory.limit_table import LimitTable

    table = LimitTable.look(data_dir / LIMITS_FILE)
    if table is None:
        return list(found)
    now = datetime.datetime.now(datetime.UTC)
    used = table.used(np.array([key.id for key in found], dtype=np.int64), now.year * 12 + now.month - 1)
    return [
        msgspec.structs.replace(key, used=int(count)) if key.monthly_quota else key
        for key, count in zip(found, used, strict=True)
    ]


def _rotate_key(parsed: Parsed, section: AccessSection) -> Work:
    reference, grace = values.key_reference(parsed.key), values.duration("--grace", parsed.grace)

    def work(connection: Connection) -> ActionOutcome:
        new, old, secret = keys.rotate(connection, reference, grace, section.keys_max)
        lines = [
            secret,
            "",
            f"This is the new key. It is shown this once. Key {old.id} works until {when(old.expires_at)}.",
        ]
        return ActionOutcome({"api_key": secret, "key": new, "old_key": old}, [*lines, "", *key_lines(new)])

    return work


def _limit_key(parsed: Parsed, _section: AccessSection) -> Work:
    reference, changes = values.key_reference(parsed.key), given_limits(parsed)
    plan = given(values.name, "--plan", parsed.plan)
    if not changes and plan is None:
        raise InputError("--plan", "give --plan, --rate, --burst or --quota: nothing is to be changed")

    def work(connection: Connection) -> ActionOutcome:
        key = keys.limit(connection, reference, plan, changes)
        return ActionOutcome({"key": key}, key_lines(key))

    return work


def _set_state(state: KeyState) -> Callable[[Parsed, AccessSection], Work]:
    def prepare(parsed: Parsed, _section: AccessSection) -> Work:
        reference = values.key_reference(parsed.key)

        def work(connection: Connection) -> ActionOutcome:
            key, is_change = keys.set_state(connection, reference, state)
            line = f"key {key.id} ({key.prefix}...) is {key.state}" + ("" if is_change else ", as it was before")
            return ActionOutcome({"key": key, "changed": is_change}, [line])

        return work

    return prepare


def _what_a_revocation_ends(connection: Connection, parsed: Parsed) -> str:
    key = keys.find(connection, values.key_reference(parsed.key))
    return "" if key.state == KeyState.REVOKED.word else f"{_called(key)} is refused from now on."


def _what_a_rotation_ends(connection: Connection, parsed: Parsed) -> str:
    """Only without a grace: then the old key is revoked."""
    if values.duration("--grace", parsed.grace):
        return ""
    key = keys.find(connection, values.key_reference(parsed.key))
    return f"{_called(key)} is refused from now on: whoever has it must get the new one first, or has none."


def _called(key: keys.Key) -> str:
    name = f", {key.name}" if key.name else ""
    return f"Key {key.id} ({key.prefix}...) of {key.account}{name}"


_KEY = Argument("key", "its number, or the first characters of it")

ACTIONS = (
    Action(
        "create",
        "make an API key, and show it this once",
        (
            Argument("--account", "whose key it is; made when there is none of this name", required=True),
            Argument("--plan", "what it is held to", "free"),
            Argument("--name", "what the customer uses it for"),
            *LIMITS,
            Argument("--expires", "its lifetime: 90d, 2w, 12h; left out: no end"),
            LANGUAGE,
            EMAIL,
        ),
        _create_key,
    ),
    Action(
        "list",
        "list keys by number and prefix, the newest first",
        (
            Argument("--account", "of this account alone"),
            Argument("--plan", "on this plan alone"),
            Argument("--count", "how many at most", "50"),
        ),
        _list_keys,
    ),
    Action("show", "show one key", (_KEY,), _show_key),
    Action(
        "rotate",
        "put a new key in the place of one, which works for a while longer",
        (_KEY, Argument("--grace", "how much longer the old one works: 24h, 7d, 0", "24h")),
        _rotate_key,
        _what_a_rotation_ends,
    ),
    Action(
        "limit",
        f"give a key another plan, or limits of its own (`{OF_PLAN}`: those of its plan again)",
        (_KEY, Argument("--plan", "its new plan"), *LIMITS),
        _limit_key,
    ),
    Action("suspend", "refuse a key until it is resumed", (_KEY,), _set_state(KeyState.SUSPENDED)),
    Action("resume", "let a suspended key ask again", (_KEY,), _set_state(KeyState.ACTIVE)),
    Action("revoke", "refuse a key forever", (_KEY,), _set_state(KeyState.REVOKED), _what_a_revocation_ends),
)


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, as one word, and with what."""
    add_actions(parser, ACTIONS)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; errors name what is wrong."""
    parsed.data_dir = config.node.data_dir
    return perform(config, parsed)
