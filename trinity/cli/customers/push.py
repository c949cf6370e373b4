"""`trinity push create | list | show | set | pause | resume | delete | rotate | test | deliveries | replay`.

Rules: those of the API (workers/api/pushes/), by the same functions: a target is checked before it is taken. A test is
checked by the node that sends it, for the node's own allow-list may not be known here. An option has the name of its
field. A secret is made here and printed this once; none is typed, for others can read command lines.
"""

import argparse
import contextlib
import datetime
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from trinity.access import values
from trinity.access.keys import Connection
from trinity.cli.actions import Action, ActionOutcome, Argument, Parsed, Work, add_actions, given, perform
from trinity.cli.customers.targets import check_typed
from trinity.cli.moments import parse_moment
from trinity.cli.text import table, when
from trinity.clock import NS_PER_SECOND
from trinity.config import AccessSection, Config
from trinity.errors import InputError
from trinity.limits import SECRET_GRACE_SECONDS_MAX
from trinity.markets import load_catalog
from trinity.push import store
from trinity.push.deliveries import list_deliveries, order
from trinity.push.orders import Order, since
from trinity.push.secret import make_secret
from trinity.push.subscription import NUMBERS, SubscriptionReport, read_change, read_draft

_LISTED_MAX = 1_000_000
_NUMBER_MAX = 2**63 - 1
_TEXTS = ("target", "name")


def _create(parsed: Parsed, _section: AccessSection) -> Work:
    account = values.name("--account", parsed.account)
    with _as_typed():
        draft = read_draft(_fields(parsed), _asset_finder(parsed.of_config))
    check_typed(parsed.of_config.push, "--target", draft.target)
    secret = make_secret(secrets.token_bytes)

    def work(connection: Connection) -> ActionOutcome:
        made = store.create(connection, draft, account, None, secret)
        return _with_secret(secret, store.show(connection, made.id, None), "This is the secret. It is shown this once.")

    return work


def _list(parsed: Parsed, _section: AccessSection) -> Work:
    account = given(values.name, "--account", parsed.account)
    after = values.whole_number("--after", parsed.after, 0, _NUMBER_MAX)
    count = values.whole_number("--count", parsed.count, 1, _LISTED_MAX)

    def work(connection: Connection) -> ActionOutcome:
        found = store.list_for(connection, None, after, count, account)
        rows = [
            (s.id, s.account, s.name, s.target, len(s.assets), _triggers(s), s.state, _health(s)) for s in found
        ]  # fmt: skip
        head = ("id", "account", "name", "target", "assets", "when", "state", "receiver")
        lines = table(head, rows) if found else ["no subscriptions"]
        if len(found) == count:
            lines.append(f"the first {count}; --after {found[-1].id} shows more")
        return ActionOutcome({"subscriptions": found}, lines)

    return work


def _show(parsed: Parsed, _section: AccessSection) -> Work:
    number = _number(parsed)

    def work(connection: Connection) -> ActionOutcome:
        return _shown(store.show(connection, number, None))

    return work


def _set(parsed: Parsed, _section: AccessSection) -> Work:
    number = _number(parsed)
    with _as_typed():
        change = read_change(_fields(parsed), _asset_finder(parsed.of_config))
    if change.target is not None:
        check_typed(parsed.of_config.push, "--target", change.target)

    def work(connection: Connection) -> ActionOutcome:
        with _as_typed():
            store.change(connection, number, None, change)
        return _shown(store.show(connection, number, None))

    return work


def _switch(do: Callable[[Connection, int, None], tuple[Any, bool]]) -> Callable[[Parsed, AccessSection], Work]:
    def prepare(parsed: Parsed, _section: AccessSection) -> Work:
        number = _number(parsed)

        def work(connection: Connection) -> ActionOutcome:
            _, is_change = do(connection, number, None)
            found = store.show(connection, number, None)
            line = f"subscription {number} is {found.state}" + ("" if is_change else ", as it was before")
            return ActionOutcome({"subscription": found, "changed": is_change}, [line])

        return work

    return prepare


def _delete(parsed: Parsed, _section: AccessSection) -> Work:
    number = _number(parsed)

    def work(connection: Connection) -> ActionOutcome:
        store.delete(connection, number, None)
        return ActionOutcome({"deleted": number}, [f"subscription {number} is deleted"])

    return work


def _what_a_deletion_ends(connection: Connection, parsed: Parsed) -> str:
    found = store.show(connection, _number(parsed), None)
    return f"Nothing more is delivered to {found.target} for subscription {found.id} of {found.account}."


def _rotate(parsed: Parsed, _section: AccessSection) -> Work:
    number, grace = _number(parsed), values.duration("--grace", parsed.grace)
    if grace.total_seconds() > SECRET_GRACE_SECONDS_MAX:
        raise InputError("--grace", f"{parsed.grace} is more than 7d: an old secret must end")
    secret = make_secret(secrets.token_bytes)

    def work(connection: Connection) -> ActionOutcome:
        store.rotate(connection, number, None, grace, secret)
        found = store.show(connection, number, None)
        until = when(found.old_secret_until)
        old = f" The old one signs as well until {until}." if until else ""
        return _with_secret(secret, found, f"This is the new secret. It is shown this once.{old}")

    return work


def _test(parsed: Parsed, _section: AccessSection) -> Work:
    number = _number(parsed)

    def work(connection: Connection) -> ActionOutcome:
        return _ordered(order(connection, number, None, "test", {}))

    return work


def _deliveries(parsed: Parsed, _section: AccessSection) -> Work:
    number, count = _number(parsed), values.whole_number("--count", parsed.count, 1, _LISTED_MAX)

    def work(connection: Connection) -> ActionOutcome:
        found = list_deliveries(connection, number, None, failed=parsed.failed, count=count)
        rows = [
            (d.sequence, when(d.time), d.reason, d.outcome, d.status or "-", d.attempts, f"{d.latency_ms:.1f}",
             f"{d.late_ms:.1f}", d.why)
            for d in found
        ]  # fmt: skip
        head = ("sequence", "time", "reason", "outcome", "status", "tries", "ms", "late ms", "why")
        lines = table(head, rows) if found else ["no deliveries"]
        if len(found) == count:
            lines.append(f"the newest {count}; --count shows more")
        return ActionOutcome({"deliveries": found}, lines)

    return work


def _replay(parsed: Parsed, _section: AccessSection) -> Work:
    number = _number(parsed)
    if (parsed.sequence is None) == (parsed.missed_since is None):
        raise InputError("--sequence", "give --sequence for one delivery, or --missed-since for all that was missed")
    if parsed.sequence is not None:
        sequence = values.whole_number("--sequence", parsed.sequence, 1, _NUMBER_MAX)

        def work(connection: Connection) -> ActionOutcome:
            return _ordered(order(connection, number, None, "replay", {"sequence": sequence}))

        return work
    moment_ns = parse_moment("--missed-since", parsed.missed_since)
    moment = datetime.datetime.fromtimestamp(moment_ns / NS_PER_SECOND, datetime.UTC)
    argument = since("--missed-since", moment, datetime.datetime.now(datetime.UTC))

    def work_since(connection: Connection) -> ActionOutcome:
        return _ordered(order(connection, number, None, "replay_since", argument))

    return work_since


def _number(parsed: Parsed) -> int:
    return values.whole_number("SUBSCRIPTION", parsed.subscription, 1, _NUMBER_MAX)


def _fields(parsed: Parsed) -> dict[str, Any]:
    """What was typed of a subscription's fields, by their names."""
    fields: dict[str, Any] = {field: getattr(parsed, field) for field in _TEXTS}
    fields["assets"] = None if parsed.assets is None else [name for name in parsed.assets.split(",") if name.strip()]
    for field in NUMBERS:
        written = getattr(parsed, field)
        fields[field] = None if written is None else values.whole_number(_option(field), written, 0, 2**31 - 1)
    return fields


def _asset_finder(config: Config) -> Callable[[str], str | None]:
    catalog = load_catalog(config.node.markets_file)

    def find(name: str) -> str | None:
        index = catalog.find_asset(name.strip())
        return None if index is None else catalog.assets[index].name

    return find


@contextlib.contextmanager
def _as_typed() -> Iterator[None]:
    """Errors name the option, as it is typed."""
    try:
        yield
    except InputError as error:
        raise InputError(_option(error.field), error.reason) from None


def _option(field: str) -> str:
    return f"--{field.removeprefix('--').replace('_', '-')}"


def _with_secret(secret: str, found: SubscriptionReport, line: str) -> ActionOutcome:
    return ActionOutcome({"secret": secret, "subscription": found}, [secret, "", line, "", *_lines(found)])


def _shown(found: SubscriptionReport) -> ActionOutcome:
    return ActionOutcome({"subscription": found}, _lines(found))


def _ordered(found: Order) -> ActionOutcome:
    line = f"{found.kind} of subscription {found.subscription_id} waits for the node that sends it: order {found.id}"
    return ActionOutcome({"order": found}, [line, f"`trinity push deliveries {found.subscription_id}` shows its end"])


def _lines(found: SubscriptionReport) -> list[str]:
    """Everything about one subscription but its secret."""
    quality = [f"at most {found.max_age_ms} ms old"] if found.max_age_ms else []
    quality += [f"of {found.min_sources} exchanges"] if found.min_sources else []
    rows = (
        ("subscription", f"{found.id} of {found.account}" + (f", {found.name}" if found.name else "")),
        ("target", found.target),
        ("assets", ", ".join(found.assets)),
        ("when", _triggers(found)),
        ("prices", ", ".join(quality) or "as lookups give them"),
        ("state", found.state + (f": {found.disabled_reason}" if found.disabled_reason else "")),
        ("receiver", _health(found)),
        ("last success", when(found.last_success_at) or "never"),
        ("created", when(found.created_at)),
    )
    return [f"{name:<14}{text}" for name, text in rows]


def _triggers(found: SubscriptionReport) -> str:
    """`10 s, 50 bps, after 300 s`."""
    parts = [f"{found.interval_s} s"] if found.interval_s else []
    parts += [f"{found.deviation_bps} bps"] if found.deviation_bps else []
    parts += [f"after {found.heartbeat_s} s"] if found.heartbeat_s else []
    return ", ".join(parts)


def _health(found: SubscriptionReport) -> str:
    if found.failing_since is not None:
        return f"fails since {when(found.failing_since)} ({found.failures}: {found.last_error})"
    return "well" if found.last_success_at is not None else "not tried yet"


_SUBSCRIPTION = Argument("subscription", "its number")
_NUMBERS = tuple(
    Argument(_option(field), text)
    for field, text in (
        ("interval_s", "every so many seconds (3 to 60)"),
        ("deviation_bps", "when a price has moved by so many basis points (1 to 10000)"),
        ("heartbeat_s", "after so many seconds without any other reason (3 to 86400)"),
        ("max_age_ms", "prices no older than so many milliseconds"),
        ("min_sources", "prices of at least so many exchanges (1 to 6)"),
    )
)

ACTIONS = (
    Action(
        "create",
        "have prices delivered, and show the secret this once (of numbers 0 is off)",
        (
            Argument("--account", "whose it is", required=True),
            Argument("--target", "https://host/path or udp://host:port", required=True),
            Argument("--assets", "which, with commas between: BTC,ETH", required=True),
            *_NUMBERS,
            Argument("--name", "what the customer calls it"),
        ),
        _create,
    ),
    Action(
        "list",
        "list subscriptions by number",
        (
            Argument("--account", "of this account alone"),
            Argument("--after", "those with a larger number", "0"),
            Argument("--count", "how many at most", "50"),
        ),
        _list,
    ),
    Action("show", "show one subscription and how its receiver fares", (_SUBSCRIPTION,), _show),
    Action(
        "set",
        "change some of its fields (of numbers 0 is off)",
        (
            _SUBSCRIPTION,
            Argument("--target", "where to"),
            Argument("--assets", "which: BTC,ETH"),
            *_NUMBERS,
            Argument("--name", "what the customer calls it"),
        ),
        _set,
    ),
    Action("pause", "deliver nothing until it is resumed", (_SUBSCRIPTION,), _switch(store.pause)),
    Action("resume", "deliver again what was paused or disabled", (_SUBSCRIPTION,), _switch(store.resume)),
    Action("delete", "end it for good", (_SUBSCRIPTION,), _delete, _what_a_deletion_ends),
    Action(
        "rotate",
        "give it another secret, shown this once; the old one signs as well for a while",
        (_SUBSCRIPTION, Argument("--grace", "for how much longer: 24h, 7d, 0", "24h")),
        _rotate,
    ),
    Action("test", "have one message sent now", (_SUBSCRIPTION,), _test),
    Action(
        "deliveries",
        "list what became of its messages, the newest first",
        (
            _SUBSCRIPTION,
            Argument("--failed", "those alone that did not arrive", is_switch=True),
            Argument("--count", "how many at most", "50"),
        ),
        _deliveries,
    ),
    Action(
        "replay",
        "have one message sent once more, or all that was missed",
        (
            _SUBSCRIPTION,
            Argument("--sequence", "of the one"),
            Argument("--missed-since", "from when on: 2026-01-31T12:00:00Z, at most a day ago"),
        ),
        _replay,
    ),
)


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, as one word, and with what."""
    add_actions(parser, ACTIONS)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; errors name what is wrong."""
    parsed.of_config = config
    return perform(config, parsed)
