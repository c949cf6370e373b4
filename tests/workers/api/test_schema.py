"""Everything that the OpenAPI document allows, and some that it does not, asked by schemathesis: never a 5xx."""

import multiprocessing
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.support.database import DatabaseServer
from tests.support.node_fixture import busy_node
from tests.workers.api.conftest import ADMIN_KEY, reporter_of, settings_of
from workers.api.base.context import ReportSettings
from workers.api.server import run

EXAMPLES = 20
# Answers without an end have tests of their own.
ENDLESS = "stream"
# Prices of the test's node grow old meanwhile, and are refused then.
REFUSED_PRICES = ("stale_price", "too_few_sources", "price_too_old")


def _run_one(wanted: ReportSettings) -> None:
    with busy_node() as memory:
        run(*reporter_of(memory), wanted, lambda asset, _at_ns: {"asset": asset})
    os._exit(0)  # as the launcher does: granian's threads do not survive the interpreter's own end


@pytest.fixture
def served_url(usage_url: str, database_server: DatabaseServer, tmp_path: Path) -> Iterator[str]:
    """A reporter process over a database with usage, of its own: the operator's questions change it."""
    with psycopg.connect(database_server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE asked TEMPLATE usage STRATEGY FILE_COPY")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    wanted = settings_of(tmp_path, database_url=database_server.url("asked"), tcp_port=port, udp_port=port)
    process = multiprocessing.get_context("spawn").Process(target=_run_one, args=(wanted,))
    process.start()
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(transport=httpx.HTTPTransport(retries=12)) as client:
        assert client.get(f"{url}/openapi.json", timeout=60).status_code == 200
    yield url
    process.terminate()
    process.join(60)
    assert process.exitcode == 0


def test_no_question_is_answered_with_a_5xx(served_url: str) -> None:
    """Bounded examples of every operation; what is refused is problem+json with a code."""
    schema = schemathesis.openapi.from_url(f"{served_url}/openapi.json")
    asked = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if ENDLESS in operation.path or "servers" in schema.raw_schema["paths"][operation.path]:
            continue  # what has servers of its own is of another port

        @settings(
            max_examples=EXAMPLES, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            answer = case.call(headers={"X-API-Key": ADMIN_KEY}, timeout=30)
            asked.append(answer.status_code)
            is_refused_price = answer.status_code == 503 and answer.json()["code"] in REFUSED_PRICES
            assert answer.status_code < 500 or is_refused_price, f"{case.method} {case.path}: {answer.content!r}"
            if answer.status_code >= 400:
                assert answer.json()["code"]

        ask()
    assert len(asked) > 6 * EXAMPLES / 2
