"""workers/api/administration/accounts.py"""

import httpx
import pytest

from tests.workers.api.administration.conftest import change, listed, refused


async def test_an_account_is_made_changed_and_renamed(operator: httpx.AsyncClient) -> None:
    """Its language and e-mail; what is left out stays; its keys go with its name."""
    await change(operator, "accounts/Jürgen & Co", language="de")
    found = (await change(operator, "accounts/Jürgen & Co", email="a@example.org"))["account"]
    assert (found["name"], found["language"], found["email"]) == ("Jürgen & Co", "de", "a@example.org")
    await change(operator, "keys", account="Jürgen & Co")
    await change(operator, "accounts/Jürgen & Co/rename", name="Jürgen AG")
    assert [account["name"] for account in (await listed(operator, "accounts"))["accounts"]] == ["Jürgen AG"]
    assert (await listed(operator, "keys"))["keys"][0]["account"] == "Jürgen AG"


async def test_an_account_is_deleted_for_good_by_its_name(operator: httpx.AsyncClient) -> None:
    """Not without its name, nor with keys that work, unless they are revoked with it."""
    await change(operator, "keys", account="acme")
    assert (await refused(operator, "accounts/acme/delete", confirm="ACME"))[:2] == (400, "confirm")
    status, _, sentence = await refused(operator, "accounts/acme/delete", confirm="acme")
    assert status == 409
    assert "not revoked (1)" in sentence
    ended = await change(operator, "accounts/acme/delete", confirm="acme", revoke_keys=True)
    assert ended["revoked_keys"] == [1]
    assert (await listed(operator, "accounts"))["accounts"] == []
    assert (await listed(operator, "accounts", deleted="true"))["accounts"][0]["deleted_at"] is not None
    assert (await listed(operator, "keys"))["keys"][0]["state"] == "revoked"
    entries = (await listed(operator, "audit"))["entries"]
    assert {entry["kind"] for entry in entries if entry["action"] == "accounts delete"} == {"account", "key"}


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("accounts/%0A", {"language": "de"}, 400, "account"),
        ("accounts/acme", {"language": "?"}, 400, "language"),
        ("accounts/acme", {"email": "x"}, 400, "email"),
        ("accounts/acme/rename", {"name": "\n"}, 400, "name"),
        ("accounts/acme/rename", {"name": "other"}, 404, "account"),
        ("accounts/acme/delete", {"confirm": "acme"}, 404, "account"),
    ],
)
async def test_what_is_wrong_is_named(
    operator: httpx.AsyncClient, path: str, body: dict[str, object], status: int, field: str
) -> None:
    """By its field, and no account was made."""
    assert (await refused(operator, path, **body))[:2] == (status, field)
    assert (await listed(operator, "accounts"))["accounts"] == []
