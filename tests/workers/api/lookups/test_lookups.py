"""/price, /prices and /assets on the reporting port."""

import hashlib
from pathlib import Path

import httpx
import pytest

from tests.support.node_fixture import CATALOG
from tests.workers.api.conftest import ADMIN_KEY, table_of
from tests.workers.api.live import live
from trinity.clock import SystemClock
from trinity.memory.answer_table import AnswerState
from trinity.memory.key_table import KeyTable
from trinity.vocabulary import KeyState
from workers.request.lookups import LocalLookups


async def test_a_lookup_is_the_workers_own(tmp_path: Path) -> None:
    """The status and the bytes of a request worker, bare and as /v1, HEAD without the body."""
    async with live(tmp_path) as service, httpx.AsyncClient(base_url=service.url) as client:
        service.publish("ETH", state=AnswerState.SOURCES_DISAGREE, received_at_ns=SystemClock().monotonic_ns() + 10**12)
        worker = LocalLookups(service.memory.answers.words, CATALOG)
        for target in (
            "/price?asset=btc", "/price?asset=ETH", "/price?asset=NOPE", "/price", "/price?asset=BTC&max_age=1",
            "/price?asset=BTC&exchange=nyse", "/prices?assets=BTC,NOPE,ETH", "/prices?assets=BTC,,", "/prices",
            "/assets",
        ):  # fmt: skip
            status, _, _, body = worker(target.encode(), SystemClock().monotonic_ns())
            for answer in (await client.get(target), await client.get(f"/v1{target}")):
                assert (answer.status_code, answer.content) == (status, body)
                assert answer.headers["Content-Type"] == "application/json"
                assert answer.headers["Cache-Control"] == "no-store"
            head = await client.head(target)
            assert (head.status_code, head.content) == (status, b"")


async def test_who_may_ask_is_decided_as_for_every_call_here(tmp_path: Path) -> None:
    """A key where keys are required, wherever it may stand; a refusal has the workers' form."""
    async with live(tmp_path, auth="required") as service, httpx.AsyncClient(base_url=service.url) as client:
        for path in ("/price?asset=BTC", "/prices", "/assets"):
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_key")
            assert refused.headers["WWW-Authenticate"].startswith("Bearer")
            assert (await client.get(path, headers={"X-API-Key": ADMIN_KEY})).status_code == 200
        assert (await client.get(f"/price?asset=BTC&api_key={ADMIN_KEY}")).status_code == 200
        assert (await client.get(f"/price?api%5Fkey={ADMIN_KEY}&asset=BTC")).status_code == 200
        twice = await client.get(f"/price?asset=BTC&api_key={ADMIN_KEY}", headers={"X-API-Key": ADMIN_KEY})
        assert (twice.status_code, twice.json()["error"]["field"]) == (400, "api_key")


async def test_a_lookup_costs_here_what_it_costs_there(tmp_path: Path) -> None:
    """One of the rate, and of the month one for each asset; what does not fit is refused whole."""
    keys = table_of("one")
    _limit(keys, "one", monthly_quota=6)
    async with live(tmp_path, keys=keys, auth="required") as service, httpx.AsyncClient(base_url=service.url) as client:
        client.headers["X-API-Key"] = "one"
        assert (await client.get("/prices?assets=BTC,ETH,SOL,XRP")).status_code == 200
        spent = await client.get("/prices?assets=BTC,ETH,SOL")
        assert (spent.status_code, spent.json()["error"]["code"]) == (429, "quota_exceeded")
        assert "RateLimit" in spent.headers
        rows = [(row.path, row.status) for row in service.parts.calls._rows]
        assert rows[-2:] == [("/prices", 200), ("/prices", 429)]


def _limit(keys: KeyTable, key: str, **terms: int) -> None:
    free = {"rate": 0, "burst": 0, "monthly_quota": 0, "dry_run": False}
    keys.write(1, hashlib.sha256(key.encode()).digest(), KeyState.ACTIVE, **(free | terms))


@pytest.mark.parametrize(
    ("path", "nearest", "port"),
    [
        ("/pric", "/price", "tcp"),
        ("/v1/histroy", "/history", "tcp"),
        ("/health", "/health", "request"),
        ("/metrics/x", "/metrics", "health"),
        ("/quote", None, None),
    ],
)
async def test_an_unknown_path_is_told_where_to_go(tmp_path: Path, path: str, nearest: str | None, port: str) -> None:
    """The nearest path, on which port of the node, and what the other ports are for."""
    async with live(tmp_path, request_port=18080, health_port=19091) as service:
        async with httpx.AsyncClient(base_url=service.url) as client:
            problem = (await client.get(path)).json()
        ports = {"tcp": service.port, "request": 18080, "health": 19091, None: None}
        assert (problem["status"], problem["code"]) == (404, "unknown_path")
        assert (problem.get("nearest"), problem.get("port")) == (nearest, ports[port])
        assert "/health is on port 18080" in problem["detail"]
        assert "/metrics is on port 19091" in problem["detail"]


async def test_foreign_shapes_keep_their_own_version(tmp_path: Path) -> None:
    """`/v1` stands before this service's paths alone, and a WebSocket has it too."""
    async with live(tmp_path) as service, httpx.AsyncClient(base_url=service.url) as client:
        assert (await client.get("/v1/account")).json() == {"kind": "anonymous"}
        assert (await client.get("/v1/docs")).status_code == 200
        assert (await client.get("/v1/api/v3/ping")).status_code == 404
        assert (await client.get("/v1/v2/price_feeds")).status_code == 404
        assert (await client.get("/v1/")).status_code == 404
        assert (await client.get("/api/v3/ping")).status_code == 200
