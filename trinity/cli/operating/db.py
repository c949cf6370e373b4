"""`trinity db url | status | migrate`: where the database is, how its tables stand, bring them to this version's.

Beside a running node all three work. The embedded server runs with the node only: without it `url` still tells the
address, the other two say what to start. (A tool that started the server would be its owner, and end it with itself.)
"""

import argparse
from typing import Any

from trinity.config import Config
from trinity.errors import StoreSilentError, StoreUnavailableError
from trinity.store.database import database_url, is_embedded, shown_url
from trinity.terminal import print_result

EXIT_FOUND_WRONG = 1


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, as one word."""
    parser.add_argument("action", choices=("url", "status", "migrate"), help="what to do; url prints the password too")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; 1 when the tables do not stand as this version needs them."""
    url = database_url(config)
    if parsed.action == "url":
        print_result({"url": url, "embedded": is_embedded(config)}, [url], parsed.as_json)
        return 0
    try:
        content = _migrate(url) if parsed.action == "migrate" else _status(url)
    except StoreSilentError:
        raise  # it runs
    except StoreUnavailableError as error:
        if is_embedded(config):
            advice = "the embedded server runs with the node: start it with `trinity run` or `trinity demo`"
            raise StoreUnavailableError(f"{advice} ({error.reason})") from None
        raise StoreUnavailableError(f"{error.reason}; check DATABASE_URL") from None
    content |= {"url": shown_url(url), "embedded": is_embedded(config)}
    print_result(content, _lines(content), parsed.as_json)
    return 0 if content["current"] else EXIT_FOUND_WRONG


def _migrate(url: str) -> dict[str, Any]:
    from trinity.store import migrate

    before = migrate.status(url)
    after = migrate.ensure(url)
    return _describe(after) | {"newly_applied": [name for name in after.applied if name not in before.applied]}


def _status(url: str) -> dict[str, Any]:
    from trinity.store import migrate

    return _describe(migrate.status(url))


def _describe(found: Any) -> dict[str, Any]:
    return {"current": found.is_current} | {name: list(names) for name, names in found._asdict().items()}


def _lines(content: dict[str, Any]) -> list[str]:
    """The same for people."""
    what = "embedded" if content["embedded"] else "DATABASE_URL"
    lines = [f"{'database':<14} {content['url']} ({what})"]
    names = ("applied", "newly_applied", "pending", "unknown", "edited")
    lines += [f"{name.replace('_', ' '):<14} {', '.join(content[name])}" for name in names if content.get(name)]
    lines.append(f"{'tables':<14} {'as this version needs them' if content['current'] else _advice(content)}")
    return lines


def _advice(content: dict[str, Any]) -> str:
    if content["unknown"]:
        return "made by a newer version: install that one"
    if content["edited"]:
        return "made by other migrations than this version has"
    return "`trinity db migrate` brings them to this version; a node does so at its start"
