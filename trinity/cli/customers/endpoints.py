"""`trinity endpoints`: where accounts have their events posted, and the operator the alarms of the nodes.

Rules: those of the API (workers/api/pushes/endpoints.py): an endpoint's address is checked before it is taken. Without
--account an endpoint is the operator's own. A secret is printed when it is made.
"""

import argparse
import datetime

from trinity.access import accounts, values
from trinity.access.keys import Connection
from trinity.cli.actions import Action, ActionOutcome, Argument, Parsed, Work, add_actions, given, perform
from trinity.cli.customers.targets import check_typed
from trinity.cli.text import table, when
from trinity.config import AccessSection, Config
from trinity.errors import InputError
from trinity.limits import SECRET_GRACE_SECONDS_MAX
from trinity.push import endpoints
from trinity.push.endpoints import Endpoint
from trinity.push.events import read_types

_LISTED_MAX = 1_000


def _create(parsed: Parsed, _section: AccessSection) -> Work:
    account = given(values.name, "--account", parsed.account)
    name = given(values.name, "--name", parsed.name) or ""
    draft = endpoints.read_draft(parsed.url, _types(parsed), name)
    check_typed(parsed.push, "URL", draft.url)

    def work(connection: Connection) -> ActionOutcome:
        account_id = None if account is None else accounts.find(connection, account).id
        made, secret = endpoints.create(connection, account_id, draft)
        line = f"Endpoint {made.id} of {made.account or 'the operator'}: events are signed with this secret."
        return ActionOutcome({"secret": secret, "endpoint": made}, [secret, "", line])

    return work


def _list(parsed: Parsed, _section: AccessSection) -> Work:
    account = given(values.name, "--account", parsed.account)

    def work(connection: Connection) -> ActionOutcome:
        account_id = None if account is None else accounts.find(connection, account).id
        found = endpoints.list_endpoints(connection, account_id)
        rows = [
            (e.id, e.account or "(operator)", e.name, e.url, ", ".join(e.types) or "all", _state(e), e.waiting)
            for e in found
        ]
        head = ("id", "account", "name", "url", "events", "state", "waiting")
        return ActionOutcome({"endpoints": found}, table(head, rows) if found else ["no endpoints"])

    return work


def _show(parsed: Parsed, _section: AccessSection) -> Work:
    number, count = _number(parsed), values.whole_number("--count", parsed.count, 1, _LISTED_MAX)

    def work(connection: Connection) -> ActionOutcome:
        found = endpoints.find(connection, number, None)
        deliveries = endpoints.list_deliveries(connection, number, None, count)
        rows = [
            (when(d.occurred_at), d.type, d.event, d.state, d.attempts, d.last_error or "", when(d.next_at))
            for d in deliveries
        ]
        head = ("time", "type", "event", "state", "tries", "why", "next try")
        lines = [*_lines(found), "", *(table(head, rows) if rows else ["no events yet"])]
        return ActionOutcome({"endpoint": found, "deliveries": deliveries}, lines)

    return work


def _set(parsed: Parsed, _section: AccessSection) -> Work:
    number = _number(parsed)
    url = given(lambda _, text: endpoints.read_url(text), "--url", parsed.url)
    types = _types(parsed) if parsed.types is not None else None
    name = given(values.name, "--name", parsed.name)
    if (url, types, name) == (None, None, None):
        raise InputError("--url", "give --url, --types or --name: nothing is to be changed")
    if url is not None:
        check_typed(parsed.push, "--url", url)

    def work(connection: Connection) -> ActionOutcome:
        found = endpoints.change(connection, number, None, {"url": url, "types": types, "name": name})
        return ActionOutcome({"endpoint": found}, _lines(found))

    return work


def _pause(parsed: Parsed, _section: AccessSection) -> Work:
    return _setting(_number(parsed), "paused")


def _resume(parsed: Parsed, _section: AccessSection) -> Work:
    return _setting(_number(parsed), "active")


def _setting(number: int, state: str) -> Work:
    def work(connection: Connection) -> ActionOutcome:
        found = endpoints.set_state(connection, number, None, state)
        return ActionOutcome({"endpoint": found}, _lines(found))

    return work


def _delete(parsed: Parsed, _section: AccessSection) -> Work:
    number = _number(parsed)

    def work(connection: Connection) -> ActionOutcome:
        found = endpoints.delete(connection, number, None)
        return ActionOutcome({"endpoint": found}, [f"endpoint {number} ({found.url}) is deleted"])

    return work


def _what_a_deletion_ends(connection: Connection, parsed: Parsed) -> str:
    found = endpoints.find(connection, _number(parsed), None)
    waiting = f", and {found.waiting} events that wait for it never arrive" if found.waiting else ""
    return f"Endpoint {found.id} ({found.url}) gets nothing more{waiting}."


def _rotate(parsed: Parsed, _section: AccessSection) -> Work:
    number, grace = _number(parsed), values.duration("--grace", parsed.grace)
    if grace > datetime.timedelta(seconds=SECRET_GRACE_SECONDS_MAX):
        raise InputError("--grace", f"{parsed.grace} is more than 7d: an old secret must end")

    def work(connection: Connection) -> ActionOutcome:
        found, secret = endpoints.rotate(connection, number, None, grace)
        line = f"Endpoint {number}: the old secret signs as well until {when(found.old_secret_until)}."
        return ActionOutcome({"secret": secret, "endpoint": found}, [secret, "", line])

    return work


def _test(parsed: Parsed, _section: AccessSection) -> Work:
    number = _number(parsed)

    def work(connection: Connection) -> ActionOutcome:
        uid = endpoints.send_test(connection, number, None)
        return ActionOutcome({"event": uid}, [f"{uid} is on its way: `trinity endpoints show {number}` tells its fate"])

    return work


def _replay(parsed: Parsed, _section: AccessSection) -> Work:
    number = _number(parsed)
    if (parsed.event is None) == (parsed.since is None):
        raise InputError("--since", "say either --event or --since")
    now = datetime.datetime.now(datetime.UTC)
    since = given(lambda field, text: endpoints.read_since(field, text, now), "--since", parsed.since)

    def work(connection: Connection) -> ActionOutcome:
        count = endpoints.replay(connection, number, None, uid=parsed.event, since=since)
        return ActionOutcome({"queued": count}, [f"{count} events are on their way again, with the ids that they had"])

    return work


def _number(parsed: Parsed) -> int:
    return values.whole_number("ENDPOINT", parsed.endpoint, 1, 2**63 - 1)


def _types(parsed: Parsed) -> list[str]:
    return read_types("--types", [name.strip() for name in (parsed.types or "").split(",") if name.strip()])


def _state(endpoint: Endpoint) -> str:
    if endpoint.state == "active" and endpoint.failing_since is not None:
        return f"failing since {when(endpoint.failing_since)}"
    return endpoint.state


def _lines(endpoint: Endpoint) -> list[str]:
    rows = [
        ("endpoint", f"{endpoint.id} {endpoint.name}".strip()),
        ("account", endpoint.account or "(operator)"),
        ("url", endpoint.url),
        ("events", ", ".join(endpoint.types) or "all"),
        ("state", _state(endpoint)),
        *([("disabled", endpoint.disabled_reason)] if endpoint.disabled_reason else []),
        ("waiting", endpoint.waiting),
        ("last success", when(endpoint.last_success_at)),
        ("last failure", f"{when(endpoint.last_failure_at)} {endpoint.last_error or ''}".strip()),
    ]
    return [f"{name:<13}{value}" for name, value in rows]


_ENDPOINT = Argument("endpoint", "its number")
_TYPES = Argument("--types", "of events, with commas: key.created,subscription.*; left out: all")
_NAME = Argument("--name", "what it is called")

ACTIONS = (
    Action(
        "create", "have events posted to an https:// address",
        (Argument("url", "where to"), Argument("--account", "whose; left out: the operator's own"), _TYPES, _NAME),
        _create,
    ),
    Action("list", "list endpoints", (Argument("--account", "of this account alone"),), _list),
    Action(
        "show", "show one endpoint, its events and why they fail",
        (_ENDPOINT, Argument("--count", "how many events", "20")),
        _show,
    ),
    Action("set", "change an endpoint", (_ENDPOINT, Argument("--url", "where to"), _TYPES, _NAME), _set),
    Action("pause", "let events wait", (_ENDPOINT,), _pause),
    Action("resume", "post events again, also to one that was disabled", (_ENDPOINT,), _resume),
    Action("delete", "end an endpoint for good", (_ENDPOINT,), _delete, _what_a_deletion_ends),
    Action(
        "rotate", "give it another secret",
        (_ENDPOINT, Argument("--grace", "how long the old one signs as well: 24h, 7d, 0", "24h")),
        _rotate,
    ),
    Action("test", "post a test event", (_ENDPOINT,), _test),
    Action(
        "replay", "post again one event, or all that did not arrive since",
        (_ENDPOINT, Argument("--event", "its id: msg_..."), Argument("--since", "24h, or 2026-01-01T00:00:00Z")),
        _replay,
    ),
)  # fmt: skip


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, as one word, and with what."""
    add_actions(parser, ACTIONS)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; errors name what is wrong."""
    parsed.push = config.push
    return perform(config, parsed)
