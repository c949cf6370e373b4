"""workers/api/pushes/subscriptions.py"""

import asyncio
import uuid

import httpx
import psycopg
import pytest

from tests.workers.api.pushes.conftest import PUBLIC, WANTED, made, refusal
from trinity.push.secret import read_secret


async def test_a_subscription_s_whole_life(acme: httpx.AsyncClient) -> None:
    """Made, listed, shown, changed, paused, resumed, given another secret, deleted."""
    first = await made(acme, name="web shop", deviation_bps=50)
    subscription = first["subscription"]
    path = f"/v1/subscriptions/{subscription['id']}"
    assert (subscription["account"], subscription["state"], subscription["name"]) == ("acme", "active", "web shop")
    assert (subscription["assets"], subscription["interval_s"], subscription["heartbeat_s"]) == (["BTC", "ETH"], 10, 0)
    assert len(read_secret(first["secret"])) == 32
    assert (await acme.get("/subscriptions")).json() == {"subscriptions": [subscription], "next": None}
    assert (await acme.get(path)).json()["subscription"] == subscription
    change = {"interval_s": 0, "heartbeat_s": 300, "assets": ["eth"], "target": "udp://127.0.0.1:9000"}
    changed = (await acme.patch(path, json=change)).json()["subscription"]
    assert (changed["interval_s"], changed["heartbeat_s"], changed["deviation_bps"]) == (0, 300, 50)
    assert (changed["assets"], changed["target"]) == (["ETH"], "udp://127.0.0.1:9000")
    for word, state, is_change in (("pause", "paused", True), ("pause", "paused", False), ("resume", "active", True)):
        answer = (await acme.post(f"{path}/{word}")).json()
        assert (answer["subscription"]["state"], answer["changed"]) == (state, is_change)
    rotated = (await acme.post(f"{path}/rotate", json={"grace": "1h"})).json()
    assert rotated["secret"] != first["secret"]
    assert rotated["subscription"]["old_secret_until"] is not None
    shown = (await acme.get(f"{path}/secret")).json()
    assert shown == {"secret": rotated["secret"], "old_secret": first["secret"]}
    assert (await acme.post(f"{path}/rotate", json={"grace": "0"})).json()["subscription"]["old_secret_until"] is None
    assert (await acme.delete(path)).json() == {"deleted": subscription["id"]}
    for answer in (await acme.get(path), await acme.delete(path), await acme.get(f"{path}/secret")):
        assert refusal(answer) == (404, "not_there", "subscription")


async def test_a_secret_is_shown_where_it_was_asked_for_and_written_nowhere(
    acme: httpx.AsyncClient, operator: httpx.AsyncClient, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in lists, not in the audit log, which tells that there is another one, not in the log."""
    first = await made(acme)
    path = f"/subscriptions/{first['subscription']['id']}"
    second = (await acme.post(f"{path}/rotate", json={})).json()
    third = (await acme.post(f"{path}/rotate", json={"grace": "0"})).json()
    with psycopg.connect(database_url) as connection:
        entries = connection.execute("SELECT actor, action, kind, before, after FROM audit_log ORDER BY id").fetchall()
    assert [(row[0], row[1], row[2]) for row in entries] == [
        ("key 1", "push create", "subscription"), ("key 1", "push rotate", "subscription"),
        ("key 1", "push rotate", "subscription"),
    ]  # fmt: skip
    assert all("secret_since" in row[4] for row in entries)
    lists = (await acme.get("/subscriptions")).text + (await operator.get("/subscriptions")).text
    for answer in (first, second, third):
        assert answer["secret"] not in f"{entries}{lists}{caplog.text}"
    assert refusal(await operator.get(f"{path}/secret")) == (403, "owner_only", None)


async def test_a_key_sees_its_own_account_s_and_the_operator_all(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient, operator: httpx.AsyncClient, app: object
) -> None:
    """Another's is one that there is not; who has no key is asked for one."""
    number = (await made(acme))["subscription"]["id"]
    other = (await made(operator, account="rival", name="by the operator"))["subscription"]
    assert (other["account"], other["key_id"]) == ("rival", None)
    path = f"/subscriptions/{number}"
    for answer in (
        await rival.get(path), await rival.patch(path, json={"name": "mine"}), await rival.delete(path),
        await rival.post(f"{path}/pause"), await rival.post(f"{path}/rotate"), await rival.get(f"{path}/secret"),
        await rival.get(f"{path}/deliveries"), await rival.post(f"{path}/test"),
        await rival.post(f"{path}/replay", json={"since": "1"}),
    ):  # fmt: skip
        assert refusal(answer) in ((404, "not_there", "subscription"), (400, "bad_parameter", "since"))
    assert [row["id"] for row in (await rival.get("/subscriptions")).json()["subscriptions"]] == [other["id"]]
    assert [row["id"] for row in (await operator.get("/subscriptions")).json()["subscriptions"]] == [
        number,
        other["id"],
    ]
    of_acme = (await operator.get("/subscriptions", params={"account": "acme"})).json()["subscriptions"]
    assert [row["id"] for row in of_acme] == [number]
    page = (await operator.get("/subscriptions", params={"limit": 1})).json()
    assert page["next"] == number
    assert (await operator.patch(path, json={"name": "seen to"})).json()["subscription"]["name"] == "seen to"
    del acme.headers["X-API-Key"]
    assert refusal(await acme.get(path))[:2] == (401, "missing_key")


WRONG: list[tuple[dict[str, object], str]] = [
    ({"target": None}, "target"),
    ({"target": "http://93.184.216.34/"}, "target"),
    ({"target": "https://10.0.0.1/"}, "target"),
    ({"target": "https://0x7f.1/"}, "target"),
    ({"assets": []}, "assets"),
    ({"assets": ["BTC", "btc"]}, "assets"),
    ({"assets": ["NOSUCH"]}, "assets"),
    ({"assets": "BTC"}, "assets"),
    ({"interval_s": 2}, "interval_s"),
    ({"interval_s": 61}, "interval_s"),
    ({"interval_s": "10"}, "interval_s"),
    ({"interval_s": True}, "interval_s"),
    ({"interval_s": 0}, "interval_s"),
    ({"deviation_bps": 10_001}, "deviation_bps"),
    ({"heartbeat_s": 86_401}, "heartbeat_s"),
    ({"max_age_ms": -1}, "max_age_ms"),
    ({"min_sources": 7}, "min_sources"),
    ({"name": "x" * 101}, "name"),
    ({"secret": "whsec_short"}, "secret"),
    ({"account": "rival"}, "account"),
    ({"colour": "red"}, "colour"),
]


async def test_an_error_names_the_field(acme: httpx.AsyncClient) -> None:
    """400, and nothing was made."""
    for change, field in WRONG:
        body = {name: value for name, value in (WANTED | change).items() if value is not None}
        assert refusal(await acme.post("/subscriptions", json=body)) == (400, "bad_parameter", field), change
    assert (await acme.get("/subscriptions")).json()["subscriptions"] == []


async def test_a_name_that_no_account_can_have_is_named(operator: httpx.AsyncClient) -> None:
    """A NUL, which PostgreSQL takes in no text."""
    assert refusal(await operator.get("/subscriptions?account=%00")) == (400, "bad_parameter", "account")


async def test_a_change_is_checked_as_a_whole(acme: httpx.AsyncClient) -> None:
    """The last trigger is not switched off; an empty change and one to a private target are refused."""
    path = f"/subscriptions/{(await made(acme))['subscription']['id']}"
    assert refusal(await acme.patch(path, json={"interval_s": 0})) == (400, "bad_parameter", "interval_s")
    assert refusal(await acme.patch(path, json={})) == (400, "bad_parameter", "name")
    assert refusal(await acme.patch(path, json={"target": "https://[::1]/"})) == (400, "bad_parameter", "target")
    assert refusal(await acme.post(f"{path}/rotate", json={"grace": "8d"})) == (400, "bad_parameter", "grace")
    assert (await acme.get(path)).json()["subscription"]["target"] == PUBLIC
    for number in (0, 2**63, 2**100):
        assert refusal(await acme.get(f"/subscriptions/{number}"))[0] == 404


async def test_a_request_that_is_sent_again_has_its_effect_once(
    acme: httpx.AsyncClient, rival: httpx.AsyncClient
) -> None:
    """The first answer again, to the byte; another body is a 422; keys are an account's own; refusals are not kept."""
    header = {"Idempotency-Key": str(uuid.uuid4())}
    wrong = await acme.post("/subscriptions", json=WANTED | {"interval_s": 1}, headers=header)
    assert refusal(wrong) == (400, "bad_parameter", "interval_s")
    first = await acme.post("/subscriptions", json=WANTED, headers=header)
    again = await acme.post("/subscriptions", json=dict(reversed(WANTED.items())), headers=header)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert ("Idempotent-Replayed" in first.headers, again.headers["Idempotent-Replayed"]) == (False, "true")
    other = await acme.post("/subscriptions", json=WANTED | {"interval_s": 11}, headers=header)
    assert refusal(other) == (422, "idempotency_key_reused", "Idempotency-Key")
    path = f"/subscriptions/{first.json()['subscription']['id']}"
    assert refusal(await acme.post(f"{path}/pause", headers=header))[:2] == (422, "idempotency_key_reused")
    assert (await rival.post("/subscriptions", json=WANTED, headers=header)).status_code == 201
    assert refusal(await acme.post(f"{path}/pause", headers={"Idempotency-Key": ""})) == (
        400, "bad_parameter", "idempotency_key",
    )  # fmt: skip
    assert len((await acme.get("/subscriptions")).json()["subscriptions"]) == 1


async def test_many_at_once_with_one_key_make_one(acme: httpx.AsyncClient) -> None:
    """Whoever comes while the first is answered is told so (409), or what the first one was told."""
    header = {"Idempotency-Key": '"a b"'}
    answers = await asyncio.gather(*(acme.post("/subscriptions", json=WANTED, headers=header) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"idempotency_key_in_use"}
    assert len((await acme.get("/subscriptions")).json()["subscriptions"]) == 1


async def test_a_page_of_another_site_changes_nothing(acme: httpx.AsyncClient, customer_keys: dict[str, str]) -> None:
    """With a cookie a change needs the session's token and comes from a page of this service."""
    del acme.headers["X-API-Key"]
    assert (await acme.post("/session", json={"key": customer_keys["acme"]})).status_code == 200
    assert (await acme.post("/subscriptions", json=WANTED)).status_code == 403
    acme.headers["X-CSRF-Token"] = acme.cookies["trinity_csrf"]
    foreign = await acme.post("/subscriptions", json=WANTED, headers={"Origin": "https://evil.example"})
    assert refusal(foreign)[:2] == (403, "foreign_origin")
    assert (await acme.post("/subscriptions", json=WANTED)).status_code == 201
