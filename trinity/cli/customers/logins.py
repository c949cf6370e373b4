"""`trinity logins create | list | revoke`: people who sign in on the dashboard without holding ADMIN_KEY.

The secret is printed when a login is made, and never again.
"""

import argparse

from trinity.access import logins, values
from trinity.access.keys import Connection
from trinity.cli.actions import Action, ActionOutcome, Argument, Parsed, Work, add_actions, perform
from trinity.cli.text import table, when
from trinity.config import AccessSection, Config
from trinity.errors import AbsentError, InputError
from trinity.vocabulary import LOGIN_ROLES


def _create_login(parsed: Parsed, _section: AccessSection) -> Work:
    name = values.name("NAME", parsed.name)
    if parsed.role not in LOGIN_ROLES:
        raise InputError("--role", f"{parsed.role!a} is not one of {', '.join(LOGIN_ROLES)}")

    def work(connection: Connection) -> ActionOutcome:
        login, secret = logins.create(connection, name, parsed.role)
        line = (
            f"This is {login.name}'s secret ({login.role}). It is shown this once: the database has its SHA-256 only."
        )
        return ActionOutcome({"secret": secret, "login": login}, [secret, "", line])

    return work


def _list_logins(_parsed: Parsed, _section: AccessSection) -> Work:
    def work(connection: Connection) -> ActionOutcome:
        found = logins.list_logins(connection)
        rows = [(login.id, login.name, login.role, when(login.created_at), when(login.revoked_at)) for login in found]
        lines = table(("id", "login", "role", "since", "revoked"), rows) if found else ["no logins"]
        return ActionOutcome({"logins": found}, lines)

    return work


def _revoke_login(parsed: Parsed, _section: AccessSection) -> Work:
    name = values.name("NAME", parsed.name)

    def work(connection: Connection) -> ActionOutcome:
        login, is_change = logins.revoke(connection, name)
        line = f"login {login.name} is revoked" + ("" if is_change else ", as it was before")
        return ActionOutcome({"login": login, "changed": is_change}, [line])

    return work


def _what_a_revocation_ends(connection: Connection, parsed: Parsed) -> str:
    try:
        login = logins.find(connection, values.name("NAME", parsed.name))
    except AbsentError:
        return ""
    return "" if login.revoked_at else f"The login {login.name} ({login.role}) ends, and its open sessions with it."


_NAME = Argument("name", "whose login it is")

ACTIONS = (
    Action(
        "create",
        "make a login, and show its secret this once",
        (_NAME, Argument("--role", f"what they may do: {', '.join(LOGIN_ROLES)}", required=True)),
        _create_login,
    ),
    Action("list", "list the logins", (), _list_logins),
    Action("revoke", "end a login and its sessions forever", (_NAME,), _revoke_login, _what_a_revocation_ends),
)


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, as one word, and with what."""
    add_actions(parser, ACTIONS)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; errors name what is wrong."""
    return perform(config, parsed)
