"""Names beyond the catalog: decided, refused, asked for and waited for, over HTTP and UDP, with a resolver by hand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.request.beyond_desk import SECOND, Asked, Desk, frame, parsed, price_of, statuses, waits, whole
from tests.workers.request.conftest import CATALOG
from trinity.config import AccessSection
from trinity.limits import (
    DRAIN_PARKED_MAX_NS,
    MISS_MAX_NS,
    RESOLVER_AWAY_NS,
)
from trinity.memory.asset_table import name_words
from trinity.native.octets import octets_of
from workers.request.beyond import (
    FROM_TABLE,
    MISSED,
    NEXT_NS,
    NOT_OF_CATALOG,
    REFUSED,
    fold_name,
    hurry,
    parked_count,
)

pytestmark = pytest.mark.uncompiled


@given(st.text("AZaz09", min_size=1, max_size=16))
def test_a_name_is_folded_as_the_asset_table_has_it(name: str) -> None:
    """In any case, wherever it stands."""
    words = name_words("Z" * 16)
    assert fold_name(octets_of(f"?{name}&".encode()), 1, 1 + len(name), words)
    assert words.tolist() == name_words(name.upper()).tolist()


@pytest.mark.parametrize("text", [b"", b"A" * 17, b"BT-C", b"B C", b"\xc3\x84", b"A\0", b"@", b"[", b"`", b"{", b"/"])
def test_what_cannot_be_a_name_is_unknown_at_once(text: bytes) -> None:
    """Nobody is asked for it, and nobody's budget is taken."""
    assert not fold_name(octets_of(b"," + text + b","), 1, 1 + len(text), name_words("A"))
    desk = Desk()
    assert parsed(whole(desk.get("/prices?assets=BT-C")))[2]["prices"][0]["status"] == "unknown_asset"
    assert desk.asked() == []


def test_a_request_waits_until_its_asset_is_there() -> None:
    """It is asked for once, answered as any other, and counted and recorded once: from its arrival, by its name."""
    desk = Desk()
    asked = waits(desk.get("/price?asset=pEpe"))
    (miss,) = desk.asked()
    assert (miss.name, miss.asked_at_ns) == ("PEPE", desk.now_ns)
    arrived_ns = desk.now_ns
    desk.wait(SECOND // 20)
    assert desk.again(asked) is None
    desk.resolve("PEPE")
    status, _, body = parsed(whole(desk.again(asked)))
    assert (status, body["asset"]) == (200, "PEPE")
    record = desk.private.record(arrived_ns, desk.now_ns)
    assert (record["asset"], record["assets"], record["status"], record["source"]) == (b"PEPE", 1, 200, 1)
    assert record["latency_ns"] == SECOND // 20
    assert desk.asked() == []
    assert parked_count(desk.beyond) == 0
    status, _, body = price_of(desk, "/price?asset=PEPE")
    assert (status, body["asset"]) == (200, "PEPE")
    assert desk.private.record()["asset"] == b"PEPE"
    assert [int(desk.beyond.state[word]) for word in (MISSED, FROM_TABLE, REFUSED, NOT_OF_CATALOG)] == [1, 1, 0, 2]


def test_an_asset_beyond_the_catalog_has_its_exchanges_and_its_limits() -> None:
    """`exchange=` and the quality of a request mean what they mean for others."""
    desk = Desk()
    desk.resolve("PEPE")
    assert price_of(desk, "/price?asset=PEPE&exchange=kraken")[0] == 200
    assert price_of(desk, "/price?asset=PEPE&exchange=okx")[2]["status"] == "unknown_market"
    status, _, body = price_of(desk, "/price?asset=pepe&min_sources=6")
    assert (status, body["status"], body["asset"]) == (503, "too_few_sources", "pepe")
    assert "last_price" in body
    desk.write(len(CATALOG.assets), "PEPE", valid_until_ns=desk.now_ns)
    assert price_of(desk, "/price?asset=PEPE")[2]["status"] == "stale_price"


def test_percent_encoding_is_undone_once() -> None:
    """A request is parked as it was read: what its bytes were changed to is not read again."""
    desk = Desk()
    asked = waits(desk.get("/%70rices?assets=%50E%50E%2Cbtc&min%5Fsources=2&exchange=%6Braken"))
    assert [miss.name for miss in desk.asked()] == ["PEPE"]
    desk.resolve("PEPE")
    desk.write(0, "BTC", 0)
    prices = parsed(whole(desk.again(asked)))[2]["prices"]
    assert [(price["asset"], price["status"]) for price in prices] == [("PEPE", "too_few_sources"), ("BTC", "fresh")]


@pytest.mark.parametrize(
    ("code", "status"), [("unknown_asset", 404), ("too_few_sources", 503), ("sources_disagree", 503)]
)
def test_a_refused_name_is_refused_with_its_reason(code: str, status: int) -> None:
    """Whoever waits, and whoever asks later, over both protocols; nobody is asked again while that holds."""
    desk = Desk()
    asked, over_udp = waits(desk.get("/price?asset=NOPE")), waits(desk.send(b"NOPE" + b" " * 500))
    assert len(desk.asked()) == 2
    desk.refuse("NOPE", code)
    assert parsed(whole(desk.again(asked)))[::2][0] == status
    for answer in (whole(desk.again(over_udp)), whole(desk.send(b'{"asset":"nope"}'))):
        assert f'"status":"{code}"'.encode() in answer
    found, _, body = price_of(desk, "/price?asset=NOPE")
    assert (found, body["status"]) == (status, code)
    assert desk.asked() == []
    desk.wait(61 * SECOND)
    waits(desk.get("/price?asset=NOPE"))
    assert len(desk.asked()) == 1


def test_nobody_waits_longer_than_the_deadline() -> None:
    """Then the answer says so, and when to come again; a name that was asked for is not asked for again."""
    desk = Desk()
    asked, listed = waits(desk.get("/price?asset=PEPE")), waits(desk.get("/prices?assets=BTC,PEPE"))
    assert int(desk.beyond.state[NEXT_NS]) == desk.now_ns + MISS_MAX_NS
    desk.wait(MISS_MAX_NS - 1)
    assert (desk.again(asked), desk.again(listed)) == (None, None)
    desk.wait(1)
    status, headers, body = parsed(whole(desk.again(asked)))
    assert (status, headers["Retry-After"], body["status"]) == (503, "1", "asset_resolving")
    status, _, body = parsed(whole(desk.again(listed)))
    assert [price["status"] for price in body["prices"]] == ["fresh", "asset_resolving"]
    assert len(desk.asked()) == 2
    assert parked_count(desk.beyond) == 0


def test_a_worker_that_leaves_lets_nobody_wait_for_long() -> None:
    """What is parked is answered before it is gone."""
    desk = Desk()
    asked = waits(desk.get("/price?asset=PEPE"))
    hurry(desk.beyond, desk.now_ns)
    assert int(desk.beyond.state[NEXT_NS]) == desk.now_ns + DRAIN_PARKED_MAX_NS
    desk.wait(DRAIN_PARKED_MAX_NS - 1)
    assert desk.again(asked) is None
    desk.wait(1)
    assert parsed(whole(desk.again(asked)))[2]["status"] == "asset_resolving"


def test_without_a_resolver_nobody_waits() -> None:
    """No row is ever written: the answer says at once that there is none yet; the catalog is answered as ever."""
    desk = Desk(with_resolver=False)
    desk.now_ns += RESOLVER_AWAY_NS
    status, headers, body = price_of(desk, "/price?asset=PEPE")
    assert (status, headers["Retry-After"], body["status"]) == (503, "1", "asset_resolving")
    assert b"asset_resolving" in whole(desk.send(b"PEPE" + b" " * 400))
    assert statuses(whole(desk.send(frame("BTC", "PEPE")))) == [0, 9]
    assert desk.asked() == []
    assert price_of(desk, "/price?asset=BTC")[0] == 200


def test_switched_off_the_catalog_is_all_there_is() -> None:
    """Not a byte differs from a node that has no other rows, whatever stands in them."""
    desk = Desk()
    desk.resolve("PEPE")
    desk.beyond.state[0] = 0
    status, _, body = price_of(desk, "/price?asset=PEPE")
    assert (status, body["error"]["code"], body["asset"]) == (404, "unknown_asset", "PEPE")
    assert [p["status"] for p in price_of(desk, "/prices?assets=PEPE,BTC")[2]["prices"]] == ["unknown_asset", "fresh"]
    assert statuses(whole(desk.send(frame("PEPE", "BTC")))) == [8, 0]
    assert desk.asked() == []


def test_a_list_waits_for_all_of_its_names() -> None:
    """Each is asked for once; the answer has all of them, in the order asked, and costs what it gives."""
    desk = Desk()
    asked = waits(desk.get("/prices?assets=ONE,BTC,TWO,NOPE"))
    assert [miss.name for miss in desk.asked()] == ["ONE", "TWO", "NOPE"]
    for name in ("ONE", "TWO"):
        desk.resolve(name)
        assert desk.again(asked) is None
    desk.refuse("NOPE")
    body = parsed(whole(desk.again(asked)))[2]
    found = [(price["asset"], price["status"]) for price in body["prices"]]
    assert found == [("ONE", "fresh"), ("BTC", "fresh"), ("TWO", "fresh"), ("NOPE", "unknown_asset")]
    assert desk.private.record()["assets"] == 3
    assert desk.asked() == []


@pytest.mark.parametrize(
    ("datagram", "found"),
    [
        (b"PEPE".ljust(600), b'{"asset":"PEPE"'),
        (b"pepe@kraken".ljust(600), b'{"asset":"PEPE"'),
        (b'{"asset":"PEPE","id":5}'.ljust(600), b'{"id":5,"asset":"PEPE"'),
        (b'{"assets":["PEPE"]}'.ljust(600), b'{"prices":[{"asset":"PEPE"'),
        (b"BTC,PEPE".ljust(1000), b'{"prices":[{"asset":"BTC"'),
    ],
)
def test_a_datagram_waits_as_a_request_does(datagram: bytes, found: bytes) -> None:
    """Text and JSON, one and several; its reply is of what it asked when it came."""
    desk = Desk()
    asked = waits(desk.send(datagram))
    assert [miss.name for miss in desk.asked()] == ["PEPE"]
    assert desk.again(asked) is None
    desk.resolve("PEPE")
    assert whole(desk.again(asked)).startswith(found)
    assert whole(desk.send(datagram)).startswith(found)
    assert desk.asked() == []


def test_a_frame_waits_for_all_of_its_names() -> None:
    """Its records have statuses of their own; a lone name stands in the usage record."""
    desk = Desk()
    asked = waits(desk.send(frame("BTC", "PEPE", "NOPE", "B-D")))
    assert [miss.name for miss in desk.asked()] == ["PEPE", "NOPE"]
    desk.resolve("PEPE")
    assert desk.again(asked) is None
    desk.refuse("NOPE", "too_few_sources")
    assert statuses(whole(desk.again(asked))) == [0, 0, 2, 8]
    assert statuses(whole(desk.send(frame("PEPE")))) == [0]
    assert desk.private.record()["asset"] == b"PEPE"
    late = waits(desk.send(frame("LATE")))
    desk.wait(MISS_MAX_NS)
    assert statuses(whole(desk.again(late))) == [9]


def test_the_rate_is_taken_once_and_told_as_it_was() -> None:
    """However often a request is looked at; its key is the one that it came with."""
    desk = Desk(AccessSection(auth="required"))
    desk.private.add_key(7, b"seven", rate=10, burst=10)
    asked = waits(desk.get("/price?asset=PEPE", key="seven"))
    others = [waits(desk.get("/price?asset=PEPE", key="seven")) for _ in range(3)]
    assert [miss.key_id for miss in desk.asked()] == [7] * 4
    for _ in range(20):
        assert desk.again(asked) is None
    desk.resolve("PEPE")
    assert "r=9" in parsed(whole(desk.again(asked)))[1]["RateLimit"]
    assert desk.private.record()["key_id"] == 7
    assert [parsed(whole(desk.again(other)))[1]["RateLimit"].partition("r=")[2] for other in others] == ["8", "7", "6"]
    assert "r=5" in price_of(desk, "/price?asset=PEPE", key="seven")[1]["RateLimit"]


def test_a_month_pays_for_the_answer_and_not_for_the_wait() -> None:
    """What is parked has taken nothing; the answer that the month has no room for is refused."""
    desk = Desk(AccessSection(auth="required"))
    desk.private.add_key(7, b"seven", monthly_quota=1)
    one, two = waits(desk.get("/price?asset=PEPE", key="seven")), waits(desk.get("/price?asset=PEPE", key="seven"))
    desk.resolve("PEPE")
    assert parsed(whole(desk.again(one)))[0] == 200
    status, _, body = parsed(whole(desk.again(two)))
    assert (status, body["error"]["code"]) == (429, "quota_exceeded")


def test_a_row_that_went_to_another_asset_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the table and the copy of the answer: nobody gets a price under another name."""
    from trinity.compiled import jit_enabled
    from workers.request import beyond

    if jit_enabled():
        pytest.skip("compiled code cannot be interrupted here")
    desk = Desk()
    cell, read = desk.resolve("PEPE"), beyond.read_answer

    def read_late(words: Any, row: int, record: Any) -> bool:
        desk.table.free(cell, desk.now_ns - 20 * SECOND)
        desk.resolve("OTHER")
        return bool(read(words, row, record))

    monkeypatch.setattr(beyond, "read_answer", read_late)
    status, _, body = price_of(desk, "/price?asset=PEPE")
    assert (status, body["status"], body["asset"]) == (503, "asset_resolving", "PEPE")


NAMES = ("ONE", "TWO", "SIX", "BTC", "ETH", "B-D")
ACTS = ("resolve", "refuse", "free", "wait")


@settings(max_examples=60)
@given(
    requests=st.lists(
        st.tuples(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), st.sampled_from(["http", "text", "frame"])),
        min_size=1,
        max_size=8,
    ),
    acts=st.lists(st.tuples(st.sampled_from(NAMES[:3]), st.sampled_from(ACTS)), max_size=12),
)
def test_everybody_is_answered_once_and_in_time(
    requests: list[tuple[list[str], str]], acts: list[tuple[str, str]]
) -> None:
    """Whatever the resolver does: every request has one answer, by its deadline, and each price its own name."""
    desk = Desk()
    parked: list[tuple[Asked, list[str], str]] = []
    for names, way in requests:
        answer = _ask(desk, names, way)
        if isinstance(answer, Asked):
            parked.append((answer, names, way))
        else:
            _check(answer, names, way)
    deadline_ns = desk.now_ns + MISS_MAX_NS
    for name, act in [*acts, *[("", "wait")] * 20]:
        known = desk.table.find(name) if name else None
        if act == "resolve":
            desk.resolve(name)
        elif act == "refuse":
            desk.refuse(name, "too_few_sources")
        elif act == "free" and known:
            desk.table.free(known.cell, desk.now_ns)
        else:
            desk.wait(MISS_MAX_NS // 20)
        for asked, names, way in list(parked):
            if (told := desk.again(asked)) is not None:
                _check(told, names, way)
                parked.remove((asked, names, way))
    assert desk.now_ns >= deadline_ns
    assert parked == []
    assert parked_count(desk.beyond) == 0


def _ask(desk: Desk, names: list[str], way: str) -> bytes | Asked:
    if way == "http":
        return desk.get(f"/prices?assets={','.join(names)}")
    return desk.send(frame(*names) if way == "frame" else ",".join(names).encode().ljust(2000))


def _check(answer: bytes, names: list[str], way: str) -> None:
    if way == "frame":
        assert len(statuses(answer)) == len(names)
        return
    body = parsed(answer)[2] if way == "http" else parsed(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n" + answer)[2]
    prices = body.get("prices", [body])
    assert [price["asset"] for price in prices] == names
    for price in prices:
        assert price["status"] in ("fresh", "stale_price", "unknown_asset", "asset_resolving", "too_few_sources")
