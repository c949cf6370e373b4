"""workers/api/pushes/deliveries.py"""

import uuid
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
from psycopg.types.json import Jsonb

from tests.workers.api.pushes.conftest import made, refusal
from trinity.limits import ORDERS_WAITING_MAX
from trinity.store import partitions
from trinity.vocabulary import DELIVERY_OUTCOMES, DELIVERY_REASONS

EPOCH = 1 << 32


def write_deliveries(url: str, number: int, *outcomes: str) -> None:
    """Messages of this subscription, one a second until now, with sequences from EPOCH + 1 on."""
    now = datetime.now(UTC)
    with psycopg.connect(url, autocommit=True) as connection:
        partitions.make_ahead(connection, now)
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (%s, 'push-1')", [uuid.uuid4()])
        for index, outcome in enumerate(outcomes):
            connection.execute(
                "INSERT INTO push_deliveries SELECT %s, %s, %s, %s, 1, id, 1500000, 2500, %s, %s, 1, %s, 2 FROM nodes",
                [
                    now - timedelta(seconds=len(outcomes) - index), index, number, EPOCH + 1 + index,
                    {"delivered": 204, "refused_status": 500}.get(outcome, 0), DELIVERY_OUTCOMES.index(outcome),
                    DELIVERY_REASONS.index("interval"),
                ],
            )  # fmt: skip


async def test_deliveries_are_listed_newest_first_with_what_became_of_them(
    acme: httpx.AsyncClient, database_url: str
) -> None:
    """Status, time and attempts of each, a sentence for what failed; page by page, or those alone that failed."""
    number = (await made(acme))["subscription"]["id"]
    write_deliveries(database_url, number, "delivered", "refused_status", "timeout")
    path = f"/v1/subscriptions/{number}/deliveries"
    found = (await acme.get(path)).json()["deliveries"]
    assert [(row["sequence"] - EPOCH, row["outcome"], row["status"]) for row in found] == [
        (3, "timeout", None), (2, "refused_status", 500), (1, "delivered", 204),
    ]  # fmt: skip
    last = found[0]
    assert (last["webhook_id"], last["reason"], last["node"]) == (f"msg_{number}_{EPOCH + 3}", "interval", "push-1")
    assert (last["latency_ms"], last["late_ms"], last["attempts"]) == (1.5, 2.5, 1)
    assert "in time" in last["why"]
    page = (await acme.get(path, params={"limit": 2})).json()
    assert page["next"] == EPOCH + 2
    rest = (await acme.get(path, params={"limit": 2, "before": page["next"]})).json()
    assert ([row["sequence"] for row in rest["deliveries"]], rest["next"]) == ([EPOCH + 1], None)
    failed = (await acme.get(path, params={"failed": "true"})).json()["deliveries"]
    assert [row["outcome"] for row in failed] == ["timeout", "refused_status"]


async def test_a_test_and_replays_are_put_down_for_whoever_sends(acme: httpx.AsyncClient, database_url: str) -> None:
    """202 with an order, whose end is told by its own path; only of what there is, and of the last day."""
    number = (await made(acme))["subscription"]["id"]
    write_deliveries(database_url, number, "timeout")
    path = f"/subscriptions/{number}"
    test = await acme.post(f"{path}/test", headers={"Idempotency-Key": "t"})
    assert (test.status_code, test.json()["order"]["kind"]) == (202, "test")
    assert (await acme.post(f"{path}/test", headers={"Idempotency-Key": "t"})).content == test.content
    replay = (await acme.post(f"{path}/deliveries/{EPOCH + 1}/replay")).json()["order"]
    assert (replay["kind"], replay["argument"]) == ("replay", {"sequence": EPOCH + 1})
    missed = (await acme.post(f"{path}/replay", json={"since": int(datetime.now(UTC).timestamp()) - 3600})).json()
    assert missed["order"]["kind"] == "replay_since"
    with psycopg.connect(database_url) as connection:
        told = [Jsonb({"status": 204}), replay["id"]]
        connection.execute("UPDATE push_orders SET state = 'done', result = %s WHERE id = %s", told)
    ended = (await acme.get(f"{path}/orders/{replay['id']}")).json()["order"]
    assert (ended["state"], ended["result"]) == ("done", {"status": 204})
    for answer, wanted in (
        (await acme.post(f"{path}/deliveries/{EPOCH + 2}/replay"), (404, "not_there", "delivery")),
        (await acme.post(f"{path}/deliveries/{2**70}/replay"), (404, "not_there", "delivery")),
        (await acme.post(f"{path}/replay", json={"since": "2020-01-01"}), (400, "bad_parameter", "since")),
        (await acme.post(f"{path}/replay", json={}), (400, "bad_parameter", "since")),
        (await acme.get(f"{path}/orders/{uuid.uuid4()}"), (404, "not_there", "order")),
    ):
        assert refusal(answer) == wanted


async def test_a_few_wait_at_a_time(acme: httpx.AsyncClient, rival: httpx.AsyncClient) -> None:
    """Of one account; others' do not count."""
    numbers = [(await made(acme))["subscription"]["id"] for _ in range(ORDERS_WAITING_MAX)]
    answers = [await acme.post(f"/subscriptions/{number}/test") for number in numbers]
    assert {answer.status_code for answer in answers} == {202}
    assert refusal(await acme.post(f"/subscriptions/{numbers[0]}/test"))[:2] == (409, "refused")
    assert (await rival.post(f"/subscriptions/{(await made(rival))['subscription']['id']}/test")).status_code == 202
