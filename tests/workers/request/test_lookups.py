"""Lookups of another process: the same bytes as a worker's."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workers.request.conftest import CATALOG, Private, answer_of
from trinity.access.gate import COST
from trinity.compiled import refer_to
from trinity.memory.answer_table import ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.cell import publish
from trinity.native.octets import octets_of
from workers.request import lookups
from workers.request.http import parse, routes
from workers.request.http.context import response_bytes_max
from workers.request.lookups import LocalLookups

pytestmark = pytest.mark.uncompiled

NOW_NS = 10**18
PARAMETERS = st.sampled_from(
    ["asset=BTC", "asset=eth", "asset=NOPE", "asset=", "assets=BTC,ETH", "assets=BTC,x%22y,ETH", "assets=,", "%zz", "",
     "exchange=kraken", "exchange=okx", "exchange=nyse", "max_age_ms=1", "min_sources=9", "max_conf_bps=0.1", "max=1"]
)  # fmt: skip


@pytest.fixture(scope="module")
def private() -> Private:
    """A worker's context; BTC is good, ETH disputed, the others were never seen."""
    made = Private()
    columns = 1 + len(CATALOG.exchanges)
    for asset, fields in ((0, {}), (1, {"state": AnswerState.SOURCES_DISAGREE})):
        times = {"valid_until_ns": NOW_NS + 1, "received_at_ns": NOW_NS - 10**9}
        record = answer_of(CATALOG.assets[asset].name, **(times | fields))
        publish(made.words, asset * columns * ROW_WORDS, SLOT_WORDS, record.view(np.uint64))
    return made


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/price", "/prices", "/assets", "/v1/price", "/pric"]), given=st.lists(PARAMETERS))
def test_the_answer_is_a_worker_s_byte_for_byte(private: Private, path: str, given: list[str]) -> None:
    """Good, refused and malformed alike; what it costs is what the worker's ledger would have."""
    target = f"{path}?{'&'.join(given)}".encode()
    out = np.zeros(response_bytes_max(private.context), dtype=np.uint8)
    request = octets_of(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert parse.parse_head(request, 0, request.size, private.context.head) == parse.REQUEST
    end = routes.answer_request(refer_to(private.context), request, False, NOW_NS, out, 0)
    head, _, body = out[:end].tobytes().partition(b"\r\n\r\n")
    record = private.record()
    cost_there = int(private.context.gate.result[COST])
    status, _, cost, told = LocalLookups(private.words, CATALOG)(target, NOW_NS)
    assert (status, told) == (status_of(head), body)
    assert (status, cost) == (record["status"], cost_there)


def status_of(head: bytes) -> int:
    """Of a response's head."""
    return int(head.split()[1])


def test_it_is_compiled_with_the_loop() -> None:
    """Before the fork, so that no call waits for it."""
    lookups.warm_up()
    assert lookups.is_compiled()
