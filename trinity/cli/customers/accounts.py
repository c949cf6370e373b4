"""`trinity accounts list | show | set | rename | delete`: who the customers are."""

import argparse

from trinity.access import accounts, keys, values
from trinity.access.keys import Connection
from trinity.cli.actions import (
    EMAIL,
    LANGUAGE,
    Action,
    ActionOutcome,
    Argument,
    Parsed,
    Work,
    add_actions,
    given,
    perform,
)
from trinity.cli.customers.keys import with_use
from trinity.cli.text import account_lines, key_table, table, when
from trinity.config import AccessSection, Config
from trinity.errors import InputError

_SHOWN_KEYS_MAX = 1000


def _list_accounts(parsed: Parsed, _section: AccessSection) -> Work:
    def work(connection: Connection) -> ActionOutcome:
        found = accounts.list_accounts(connection, parsed.all)
        rows = [
            (a.id, a.name, a.language, a.email or "", a.keys, when(a.created_at), when(a.deleted_at)) for a in found
        ]
        head = ("id", "account", "language", "e-mail", "keys", "since", "deleted")
        return ActionOutcome({"accounts": found}, table(head, rows) if found else ["no accounts"])

    return work


def _show_account(parsed: Parsed, _section: AccessSection) -> Work:
    name = values.name("ACCOUNT", parsed.name)

    def work(connection: Connection) -> ActionOutcome:
        account = accounts.find(connection, name)
        found = with_use(keys.list_keys(connection, name, None, _SHOWN_KEYS_MAX), parsed.data_dir)
        lines = [*account_lines(account), "", *(key_table(found) if found else ["no keys"])]
        return ActionOutcome({"account": account, "keys": found}, lines)

    return work


def _set_account(parsed: Parsed, _section: AccessSection) -> Work:
    name = values.name("ACCOUNT", parsed.name)
    email = given(values.email, "--email", parsed.email)
    language = given(values.language, "--language", parsed.language)

    def work(connection: Connection) -> ActionOutcome:
        account = accounts.set_account(connection, name, email, language)
        return ActionOutcome({"account": account}, account_lines(account))

    return work


def _rename_account(parsed: Parsed, _section: AccessSection) -> Work:
    name, new_name = values.name("ACCOUNT", parsed.name), values.name("NEW_NAME", parsed.new_name)
    if name == new_name:
        raise InputError("NEW_NAME", "it is the name that the account has")

    def work(connection: Connection) -> ActionOutcome:
        account = accounts.rename(connection, name, new_name)
        line = f"account {account.id} is {account.name} now, with its {account.keys} keys, its ledger and its bills"
        return ActionOutcome({"account": account, "old_name": name}, [line])

    return work


def _delete_account(parsed: Parsed, _section: AccessSection) -> Work:
    name = values.name("ACCOUNT", parsed.name)

    def work(connection: Connection) -> ActionOutcome:
        account, revoked = accounts.delete(connection, name, parsed.revoke_keys)
        lines = [f"account {account.id} {account.name} is deleted; its ledger and its bills stay"]
        lines += [f"revoked: key {number}" for number in revoked]
        return ActionOutcome({"account": account, "revoked_keys": revoked}, lines)

    return work


def _what_a_deletion_ends(connection: Connection, parsed: Parsed) -> str:
    account = accounts.find(connection, parsed.name.strip())
    live = len(accounts.live_keys(connection, account.id))
    if account.deleted_at is not None or (live and not parsed.revoke_keys):
        return ""  # it will be refused
    ends = f", and {live} of its keys are refused from then on" if live else ""
    return (
        f"Account {account.id} {account.name} is deleted, with its e-mail address{ends}; its ledger and its bills stay."
    )


_NAME = Argument("name", "the account")

ACTIONS = (
    Action("list", "list the accounts", (Argument("--all", "deleted ones too", is_switch=True),), _list_accounts),
    Action("show", "show one account and its keys", (_NAME,), _show_account),
    Action("set", "change an account, or make one", (_NAME, LANGUAGE, EMAIL), _set_account),
    Action(
        "rename",
        "give an account another name; its keys, its ledger and its bills go with it",
        (_NAME, Argument("new_name", "what it is to be called")),
        _rename_account,
    ),
    Action(
        "delete",
        "end an account for good; its ledger and its bills stay",
        (_NAME, Argument("--revoke-keys", "first revoke all keys that it has", is_switch=True)),
        _delete_account,
        _what_a_deletion_ends,
    ),
)


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, as one word, and with what."""
    add_actions(parser, ACTIONS)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; errors name what is wrong."""
    parsed.data_dir = config.node.data_dir
    return perform(config, parsed)
