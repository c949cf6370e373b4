"""Hermes' answers, and Hermes' own client."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from pyth_hermes import AsyncHermesClient

from tests.support.node_fixture import CATALOG
from tests.workers.api.conftest import ADMIN_KEY
from tests.workers.api.live import Live, live
from tests.workers.api.minutes import store_minutes
from trinity.compiled import written_folder
from trinity.memory.answer_table import AnswerState
from workers.api.dropins.coins import feed_id_of, own_feed_id_of

CLIENT = Path(__file__).parent / "hermes_client"
BTC, ETH = feed_id_of("BTC"), feed_id_of("ETH")
LATEST = "/v2/updates/price/latest"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


@pytest.fixture
async def client(service: Live) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url) as made:
        yield made


def of(price: dict[str, Any]) -> Decimal:
    return Decimal(price["price"]).scaleb(price["expo"])


async def test_prices_are_integers_with_exponents(client: httpx.AsyncClient) -> None:
    """By both ids of a feed, with and without 0x, in any case; nothing is signed, and it says so."""
    for ids in ([BTC, "0x" + ETH.upper()], [own_feed_id_of("BTC"), f"0x{own_feed_id_of('ETH')}", BTC]):
        answer = (await client.get(LATEST, params={"ids[]": ids, "parsed": "true"})).json()
        btc, eth = answer["parsed"]
        assert (btc["id"], eth["id"]) == (BTC, ETH)
        assert btc["price"]["price"] == "7100250000000"
        assert of(btc["price"]) == of(btc["ema_price"]) == Decimal("71002.5")
        assert btc["price"]["conf"] == "1750000000"
        assert answer["binary"] == {"encoding": "hex", "data": []}
        assert answer["note"].startswith("unsigned")


async def test_a_price_that_is_not_fresh_is_left_out(service: Live, client: httpx.AsyncClient) -> None:
    """And refused with its code when nothing else was asked for."""
    service.publish("BTC", state=AnswerState.STALE)
    answer = await client.get(LATEST, params={"ids[]": [BTC, ETH]})
    assert [feed["id"] for feed in answer.json()["parsed"]] == [ETH]
    assert answer.json()["left_out"] == [{"id": BTC, "code": "stale_price"}]
    refused = await client.get(LATEST, params={"ids[]": BTC})
    assert (refused.status_code, refused.json()["code"]) == (503, "stale_price")


async def test_the_exponent_of_a_feed_never_changes(service: Live, client: httpx.AsyncClient) -> None:
    """Whatever digits a price has: what is finer is rounded half to even, and a confidence up."""
    for text, expected in (
        ("0.0000123", "123000"),
        ("0.0000123457", "123457"),
        ("0.000012345678901", "123457"),
        ("0.00001234565", "123456"),
        ("0.00001234575", "123458"),
    ):
        service.publish("PEPE", text, confidence=1)
        (feed,) = (await client.get(LATEST, params={"ids[]": feed_id_of("PEPE")})).json()["parsed"]
        assert (feed["price"]["price"], feed["price"]["expo"], feed["ema_price"]["expo"]) == (expected, -10, -10)
        assert int(feed["price"]["conf"]) >= 1


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "bad_parameter"),
        ("ids[]=ab", 404, "unknown_price_id"),
        ("ids[]=" + "00" * 32, 404, "unknown_price_id"),
        ("ids[]=%FF%00", 404, "unknown_price_id"),
        (f"ids[]={BTC}&parsed=false", 400, "bad_parameter"),
        (f"ids[]={BTC}&parsed=perhaps", 400, "bad_parameter"),
        (f"ids[]={BTC}&encoding=morse", 400, "bad_parameter"),
        ("&".join(["ids[]=1"] * 2000), 400, "bad_parameter"),
    ],
)
async def test_wrong_requests_are_refused(
    optional_client: httpx.AsyncClient, query: str, status: int, code: str
) -> None:
    """With a status and a code, also on the stream."""
    for path in (LATEST, "/v2/updates/price/stream"):
        answer = await optional_client.get(f"{path}?{query}")
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_feeds_are_listed_and_found(optional_client: httpx.AsyncClient) -> None:
    """By symbol or name; of coins only."""
    feeds = (await optional_client.get("/v2/price_feeds")).json()
    assert len(feeds) == len(CATALOG.assets)
    (found,) = (await optional_client.get("/v2/price_feeds?query=BITCOIN&asset_type=crypto&new_option=1")).json()[:1]
    assert (found["id"], found["attributes"]["symbol"]) == (BTC, "Crypto.BTC/USD")
    assert found["attributes"] == {
        "asset_type": "Crypto",
        "base": "BTC",
        "description": "BITCOIN / US DOLLAR",
        "display_symbol": "BTC/USD",
        "generic_symbol": "BTCUSD",
        "quote_currency": "USD",
        "schedule": "America/New_York;O,O,O,O,O,O,O;",
        "symbol": "Crypto.BTC/USD",
    }
    assert (await optional_client.get("/v2/price_feeds?asset_type=equity")).json() == []


@pytest.fixture(scope="module")
def client_folder() -> Path:
    """The client out of the npm registry, installed once into the cache beside the compiled code."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    compiled = written_folder()
    assert compiled is not None
    folder = compiled.parent / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (CLIENT / "package-lock.json").read_text()
    done = folder / "installed"
    if not done.exists() or done.read_text() != lock:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(CLIENT / name, folder / name)
        install = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        result = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120)
        if result.returncode:
            pytest.skip(f"npm cannot install the client: {result.stderr[-300:]}")
        done.write_text(lock)
    return folder


async def ask(url: str, client_folder: Path, options: dict[str, Any], moment: int = 0) -> Any:
    """What the real client gets from this address for BTC and ETH."""
    process = await asyncio.create_subprocess_exec(
        "node", str(CLIENT / "ask.mjs"), url, json.dumps(options), str(moment), "0x" + BTC, ETH,
        env={**os.environ, "CLIENT_FOLDER": str(client_folder)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


@pytest.mark.parametrize(
    ("auth", "options"),
    [
        ("optional", {}),
        ("required", {"accessToken": ADMIN_KEY}),
        ("required", {"headers": {"X-API-Key": ADMIN_KEY}}),
    ],
)
async def test_the_real_client_moves_by_its_base_url(
    tmp_path: Path, client_folder: Path, auth: str, options: dict[str, Any]
) -> None:
    """@pythnetwork/hermes-client checks every answer against its own schema; a key is its access token, or a header."""
    async with live(tmp_path, auth=auth) as service:
        got = await ask(service.url, client_folder, options)
    assert [feed["attributes"]["symbol"] for feed in got["feeds"]] == ["Crypto.BTC/USD"]
    assert [of(feed["price"]) for feed in got["latest"]["parsed"]] == [Decimal("71002.5")] * 2
    assert "Price ids not found" in got["unknown"]
    assert len(got["ignored"]["parsed"]) == 1
    assert got["ignored"]["left_out"] == [{"id": "0x" + "ab" * 32, "code": "unknown_price_id"}]
    assert {feed["id"] for feed in got["streamed"]["parsed"]} == {BTC, ETH}


async def test_the_real_client_gets_the_past_and_averages_of_stored_minutes(
    tmp_path: Path, client_folder: Path, database_url: str
) -> None:
    """BTC stood at 70,000 for hours: its EMA is near that, in single answers and in streams; ETH has no minutes."""
    store_minutes(database_url, "BTC", "70000")
    moment = int(time.time()) - 600
    async with live(tmp_path, database_url=database_url) as service:
        got = await ask(service.url, client_folder, {}, moment)
    for answer in (got["latest"], got["streamed"]):
        feeds = {feed["id"]: feed for feed in answer["parsed"]}
        assert of(feeds[BTC]["price"]) == of(feeds[ETH]["ema_price"]) == Decimal("71002.5")
        assert 70_000 < of(feeds[BTC]["ema_price"]) < 70_100
        assert feeds[BTC]["ema_price"]["expo"] == feeds[BTC]["price"]["expo"] == -8
    (past,) = got["past"]["parsed"]
    assert (past["id"], of(past["price"])) == (BTC, 70_000)
    assert moment <= past["price"]["publish_time"] < moment + 60
    assert got["past"]["left_out"] == [{"id": ETH, "code": "no_price"}]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pyth_hermes")
async def test_the_python_client_moves_by_its_base_url(tmp_path: Path, database_url: str) -> None:
    """pyth-hermes: feeds by their symbol, prices now and past, and the stream; its key goes in as a bearer's."""
    store_minutes(database_url, "BTC", "70000")
    moment = int(time.time()) - 600
    async with (
        live(tmp_path, auth="required", database_url=database_url) as service,
        AsyncHermesClient(service.url, api_key=ADMIN_KEY, max_retries=0) as client,
    ):
        feed = await client.get_feed_id("Crypto.BTC/USD")
        assert feed == BTC
        assert await client.get_price_decimal(feed) == Decimal("71002.5")
        (past,) = (await client.get_price_at(moment, [feed])).parsed or []
        assert (past.to_decimal(), past.price.publish_time // 60) == (70_000, moment // 60)
        async for update in client.stream_prices([feed, ETH]):
            assert {found.id for found in update.parsed or []} == {BTC, ETH}
            break
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            await client.get_latest_price(["ab" * 32])


async def test_a_renamed_coin_is_found_by_both_names(service: Live, client: httpx.AsyncClient) -> None:
    """The list finds TON as GRAM, and the id that its old name gives means the same feed."""
    (found,) = (await client.get("/v2/price_feeds?query=ton")).json()
    assert found["attributes"]["base"] == "GRAM"
    old = own_feed_id_of("TON")
    assert old != found["id"]
    parsed = (await client.get(LATEST, params={"ids[]": old})).json()["parsed"]
    assert [feed["id"] for feed in parsed] == [found["id"]]
