"""trinity/access/audit.py, on a real PostgreSQL"""

import datetime
from collections.abc import Iterator

import psycopg
import pytest

from trinity.access import accounts, audit, blocks, keys, plans
from trinity.access.audit import Actor, Wanted, acting
from trinity.access.keys import Connection, NewKey, OwnLimits
from trinity.access.networks import parse_network
from trinity.errors import RefusedError
from trinity.vocabulary import KeyState

ALICE = Actor("alice", "page", "203.0.113.9")
HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connected:
        yield connected


def entries(connection: Connection, **wanted: str | int) -> list[audit.AuditEntry]:
    return audit.list_entries(connection, Wanted(**wanted), 100)  # type: ignore[arg-type]


def test_an_entry_says_who_when_from_where_and_what(connection: Connection) -> None:
    """A key's life: what it was made with, each field that changed, before and after; by names, not by numbers."""
    with acting(connection, ALICE, "keys create"):
        key, secret = keys.create(connection, NewKey("acme", "free", limits=OwnLimits(burst=7)), 100)
    with acting(connection, ALICE, "keys limit"):
        keys.limit(connection, key.id, "pro", {"burst": None, "monthly_quota": 5})
    with acting(connection, Actor("bob", "command"), "keys suspend"):
        keys.set_state(connection, key.id, KeyState.SUSPENDED)
    suspended, limited, made, account = entries(connection)
    assert (account.kind, account.name, account.before) == ("account", "acme", None)
    assert (made.actor, made.via, made.address, made.action) == ("alice", "page", "203.0.113.9", "keys create")
    assert abs(made.time - datetime.datetime.now(datetime.UTC)) < HOUR
    assert (made.kind, made.name, made.before) == ("key", str(key.id), None)
    assert made.after is not None
    assert made.after.items() >= {"account": "acme", "plan": "free", "burst": 7, "state": "active"}.items()
    assert (limited.before, limited.after) == ({"plan": "free", "burst": 7}, {"plan": "pro", "monthly_quota": 5})
    assert (suspended.actor, suspended.via, suspended.address) == ("bob", "command", None)
    assert (suspended.before, suspended.after) == ({"state": "active"}, {"state": "suspended"})
    written = connection.execute("SELECT string_agg(audit_log::text, '') FROM audit_log").fetchone()
    digest = connection.execute("SELECT encode(digest, 'hex') FROM api_keys").fetchone()
    assert written is not None
    assert digest is not None
    assert secret[12:] not in written[0]
    assert digest[0] not in written[0]


def test_plans_and_blocks_are_written_as_well(connection: Connection) -> None:
    """Made, changed and removed."""
    network = parse_network("203.0.113.0/24")
    with acting(connection, ALICE, "plans set"):
        plans.set_plan(connection, "free", plans.PlanChange(burst=40))
    with acting(connection, ALICE, "block"):
        blocks.block(connection, network, "scraping", None, [], 10)
    with acting(connection, ALICE, "unblock"):
        blocks.unblock(connection, network)
    gone, blocked, changed = entries(connection)
    assert (changed.kind, changed.name, changed.before, changed.after) == (
        "plan", "free", {"burst": 20}, {"burst": 40},
    )  # fmt: skip
    assert (blocked.name, blocked.before, gone.after) == ("203.0.113.0/24", None, None)
    assert blocked.after is not None
    assert blocked.after["reason"] == "scraping"
    assert gone.before is not None


def test_what_changes_nothing_or_fails_has_no_entry(connection: Connection) -> None:
    """The same state again; a refused act, whose transaction is undone as a whole."""
    key, _ = keys.create(connection, NewKey("acme", "free"), 100)
    with acting(connection, ALICE, "keys suspend"):
        keys.set_state(connection, key.id, KeyState.ACTIVE)
        keys.limit(connection, key.id, "free", {})
    with pytest.raises(RefusedError), acting(connection, ALICE, "keys create"):
        keys.create(connection, NewKey("other", "free"), 0)
    assert entries(connection) == []
    assert len(accounts.list_accounts(connection)) == 1


def test_plain_sql_is_nobody_s_act(connection: Connection) -> None:
    """Neither before anybody acted on the connection nor after."""
    connection.execute("UPDATE plans SET burst = burst + 1")
    with acting(connection, ALICE, "plans set"):
        plans.set_plan(connection, "free", plans.PlanChange(burst=40))
    connection.execute("UPDATE plans SET burst = burst + 1")
    assert len(entries(connection)) == 1


def test_entries_are_found_by_actor_kind_and_name_and_in_pages(connection: Connection) -> None:
    """The newest first; a page goes on before the last entry of the one before."""
    for actor, name in (("a", "x"), ("b", "y"), ("a", "z")):
        with acting(connection, Actor(actor, "api"), "accounts set"):
            accounts.set_account(connection, name, None, "de")
    assert [entry.name for entry in entries(connection)] == ["z", "y", "x"]
    assert [entry.name for entry in entries(connection, actor="a")] == ["z", "x"]
    assert [entry.name for entry in entries(connection, kind="account", name="y")] == ["y"]
    assert entries(connection, kind="plan") == []
    (newest,) = audit.list_entries(connection, Wanted(), 1)
    assert [entry.name for entry in entries(connection, before_id=newest.id)] == ["y", "x"]
