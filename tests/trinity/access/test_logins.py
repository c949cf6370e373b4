"""trinity/access/logins.py, on a real PostgreSQL"""

import hashlib

import psycopg
import pytest

from trinity.access import logins
from trinity.errors import AbsentError, RefusedError


def test_a_secret_is_stored_as_a_digest_alone(database_url: str) -> None:
    """It is returned once, and nothing of it stands anywhere in the table."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        login, secret = logins.create(connection, "anna", "billing")
        assert (login.name, login.role, login.revoked_at) == ("anna", "billing", None)
        assert secret.startswith("trl_")
        row = connection.execute("SELECT logins::text, digest FROM logins").fetchone()
        assert row is not None
        assert secret[4:] not in row[0]
        assert row[1] == hashlib.sha256(secret.encode()).digest()


def test_a_name_is_one_person_s_forever(database_url: str) -> None:
    """Also when it is revoked, which it stays."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        logins.create(connection, "anna", "billing")
        revoked, is_change = logins.revoke(connection, "anna")
        assert is_change
        assert revoked.revoked_at is not None
        assert logins.revoke(connection, "anna") == (revoked, False)
        with pytest.raises(RefusedError, match="another name"):
            logins.create(connection, "anna", "operator")
        with pytest.raises(AbsentError, match="bert"):
            logins.revoke(connection, "bert")
        assert logins.list_logins(connection) == [revoked]
