"""What bounds names beyond the catalog: a caller's budget, its share of the park, the park and the queue."""

import pytest

from tests.workers.request.beyond_desk import SECOND, Desk, frame, parsed, price_of, statuses, waits, whole
from trinity.config import AccessSection
from trinity.limits import MISS_QUEUE_ENTRIES, NEW_NAMES_BURST, PARKED_MAX, PARKED_OF_CALLER_MAX

pytestmark = pytest.mark.uncompiled


def test_new_names_have_a_budget_of_their_own() -> None:
    """So many at once and then a few a second, of each key and each address; what is looked for already is free."""
    desk = Desk(cells=64)
    for i in range(NEW_NAMES_BURST):
        waits(desk.get(f"/price?asset=N{i}"))
    status, headers, body = price_of(desk, "/price?asset=MORE")
    assert (status, headers["Retry-After"], body["status"]) == (429, "1", "miss_budget_exceeded")
    listed = price_of(desk, "/prices?assets=MORE,BTC")[2]["prices"]
    assert [price["status"] for price in listed] == ["miss_budget_exceeded", "fresh"]
    assert b"miss_budget_exceeded" in whole(desk.send(b"MORE".ljust(400)))
    assert statuses(whole(desk.send(frame("MORE")))) == [10]
    assert len(desk.asked()) == NEW_NAMES_BURST
    desk.table.reserve("N0", desk.now_ns)
    waits(desk.get("/price?asset=N0"))
    waits(desk.get("/price?asset=MORE", peer="203.0.113.10"))
    waits(desk.get("/price?asset=MORE", peer="2001:db8:1:2::1"))
    assert len(desk.asked()) == 3
    desk.wait(SECOND // 5)
    waits(desk.get("/price?asset=MORE"))
    assert price_of(desk, "/price?asset=LESS")[0] == 429


def test_a_list_beyond_the_budget_is_answered_at_once() -> None:
    """What it may ask for is looked for, and nobody waits for a part of an answer."""
    desk = Desk(cells=64)
    names = [f"N{i}" for i in range(NEW_NAMES_BURST + 3)]
    prices = price_of(desk, f"/prices?assets={','.join(names)}")[2]["prices"]
    expected = ["asset_resolving"] * NEW_NAMES_BURST + ["miss_budget_exceeded"] * 3
    assert [price["status"] for price in prices] == expected
    assert [miss.name for miss in desk.asked()] == names[:NEW_NAMES_BURST]


def test_one_caller_leaves_room_for_others() -> None:
    """A crowd of requests of one key waits up to its share; the next is told to come again, and another key waits."""
    desk = Desk(AccessSection(auth="required"))
    desk.private.add_key(7, b"seven")
    desk.private.add_key(8, b"eight")
    desk.table.reserve("PEPE", desk.now_ns)
    parked = [waits(desk.get("/price?asset=PEPE", key="seven")) for _ in range(PARKED_OF_CALLER_MAX)]
    status, headers, body = price_of(desk, "/price?asset=PEPE", key="seven")
    assert (status, headers["Retry-After"], body["status"]) == (503, "1", "asset_resolving")
    other = waits(desk.get("/price?asset=PEPE", key="eight"))
    desk.resolve("PEPE")
    assert {parsed(whole(desk.again(asked)))[0] for asked in (*parked, other)} == {200}


def test_a_full_park_answers_at_once() -> None:
    """Whoever comes then is told to come again; the name is looked for all the same."""
    desk = Desk(cells=8)
    desk.table.reserve("PEPE", desk.now_ns)
    parked = [waits(desk.get("/price?asset=PEPE", peer=f"10.0.{i // 250}.{i % 250}")) for i in range(PARKED_MAX)]
    desk.asked()
    assert price_of(desk, "/price?asset=PEPE", peer="10.9.9.9")[2]["status"] == "asset_resolving"
    assert [miss.name for miss in desk.asked()] == ["PEPE"]
    desk.resolve("PEPE")
    assert parsed(whole(desk.again(parked[0])))[0] == 200
    desk.free = desk.table.free(0, desk.now_ns)
    waits(desk.get("/price?asset=OTHER", peer="10.9.9.9"))


def test_a_full_queue_answers_at_once() -> None:
    """A resolver that does not read is as good as none."""
    desk = Desk()
    desk.table.reserve("PEPE", desk.now_ns)
    for _ in range(MISS_QUEUE_ENTRIES):
        desk.get("/price?asset=PEPE")
    assert price_of(desk, "/price?asset=PEPE")[2]["status"] == "asset_resolving"
    assert len(desk.asked()) == MISS_QUEUE_ENTRIES
