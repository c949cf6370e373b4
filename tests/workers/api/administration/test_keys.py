"""workers/api/administration/keys.py"""

import httpx
import psycopg
import pytest

from tests.workers.api.administration.conftest import change, listed, refused
from tests.workers.api.conftest import KEYS as KEYS_MAX


async def test_a_key_s_whole_life(operator: httpx.AsyncClient, database_url: str) -> None:
    """Made, listed, limited, rotated, suspended, resumed, revoked, as by `trinity keys`; a key is shown once each."""
    made = await change(operator, "keys", account="acme", plan="standard", name="web shop", rate=7, expires="90d")
    key, secret = made["key"], made["api_key"]
    assert secret.startswith(key["prefix"])
    assert (key["account"], key["plan"], key["name"], key["rate_requests"]) == ("acme", "standard", "web shop", 7)
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT digest = sha256(%s::bytea) FROM api_keys", [secret.encode()]).fetchone()
        assert found == (True,)
    assert [row["id"] for row in (await listed(operator, "keys"))["keys"]] == [key["id"]]
    limited = (await change(operator, f"keys/{key['prefix']}/limit", burst=9, rate="1/5s"))["key"]
    assert (limited["rate_seconds"], limited["burst"], limited["own_limits"]) == (5, 9, True)
    limited = (await change(operator, "keys/1/limit", burst=None, rate=None, plan="pro"))["key"]
    assert (limited["plan"], limited["burst"], limited["own_limits"]) == ("pro", 2000, False)
    rotated = await change(operator, "keys/1/rotate", grace="1h")
    assert rotated["old_key"]["replaced_by"] == rotated["key"]["id"] == 2
    assert rotated["api_key"] != secret
    for word, state, is_change in (("suspend", "suspended", True), ("suspend", "suspended", False),
                                   ("resume", "active", True)):  # fmt: skip
        found = await change(operator, f"keys/2/{word}")
        assert (found["key"]["state"], found["changed"]) == (state, is_change)
    revoked = await change(operator, "keys/2/revoke", confirm=rotated["key"]["prefix"])
    assert revoked["key"]["state"] == "revoked"
    everything = str(await listed(operator, "keys")) + str(await listed(operator, "audit"))
    assert secret[12:] not in everything
    assert rotated["api_key"][12:] not in everything


async def test_keys_are_found_by_account_and_plan(operator: httpx.AsyncClient) -> None:
    """The newest first, at most as many as asked for."""
    for account, plan in (("a", "free"), ("b", "pro"), ("a", "pro")):
        await change(operator, "keys", account=account, plan=plan)
    assert [key["id"] for key in (await listed(operator, "keys", account="a"))["keys"]] == [3, 1]
    assert [key["id"] for key in (await listed(operator, "keys", plan="pro", count=1))["keys"]] == [3]


async def test_what_is_for_good_is_confirmed_by_name(operator: httpx.AsyncClient) -> None:
    """A revocation, and a rotation without grace, which revokes; anything else in `confirm` changes nothing."""
    prefix = (await change(operator, "keys", account="acme"))["key"]["prefix"]
    for path, body in (("keys/1/revoke", {}), ("keys/1/rotate", {"grace": "0"})):
        for wrong in ("", "acme", "1", prefix[:-1]):
            status, field, sentence = await refused(operator, path, **body, confirm=wrong)
            assert (status, field) == (400, "confirm")
            assert prefix in sentence
    assert (await listed(operator, "keys"))["keys"][0]["state"] == "active"
    rotated = await change(operator, "keys/1/rotate", grace="0", confirm=prefix)
    assert rotated["old_key"]["state"] == "revoked"
    assert (await refused(operator, "keys/1/revoke"))[:2] == (400, "confirm")
    assert (await refused(operator, "keys/1/resume"))[0] == 409, "there is no way back"


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("keys", {"account": "\n"}, 400, "account"),
        ("keys", {"account": "a", "rate": "-1"}, 400, "rate"),
        ("keys", {"account": "a", "burst": 0}, 400, "burst"),
        ("keys", {"account": "a", "quota": -1}, 400, "quota"),
        ("keys", {"account": "a", "expires": "0"}, 400, "expires"),
        ("keys", {"account": "a", "language": "?"}, 400, "language"),
        ("keys", {"account": "a", "email": "x"}, 400, "email"),
        ("keys", {"account": "a", "plan": "gold"}, 404, "plan"),
        ("keys/77/suspend", {}, 404, "key"),
        ("keys/77/revoke", {"confirm": "x"}, 404, "key"),
        ("keys/trk_ü/suspend", {}, 400, "key"),
        ("keys/1/suspend", {"more": 1}, 400, "more"),
        ("keys/1/limit", {}, 400, "plan"),
        ("keys/1/limit", {"burst": 0}, 400, "burst"),
        ("keys/1/rotate", {"grace": "soon"}, 400, "grace"),
    ],
)
async def test_what_is_wrong_is_named_as_on_the_command_line(
    operator: httpx.AsyncClient, path: str, body: dict[str, object], status: int, field: str
) -> None:
    """400 for a wrong value, 404 for what is not there; the field as JSON has it, and nothing was made."""
    assert (await refused(operator, path, **body))[:2] == (status, field)
    assert (await listed(operator, "accounts"))["accounts"] == []


async def test_a_key_that_no_node_has_room_for_is_not_made(operator: httpx.AsyncClient) -> None:
    """409 with what to set, as on the command line."""
    for _ in range(KEYS_MAX):
        await change(operator, "keys", account="a")
    status, _, sentence = await refused(operator, "keys", account="a")
    assert status == 409
    assert "KEYS_MAX" in sentence
